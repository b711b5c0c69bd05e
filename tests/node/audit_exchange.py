"""An audit record repository for tests: a TLS syslog server on loopback (RFC 5425) that parses frames, headers (RFC 5424) and messages.

Every message is checked against the schema of PS3.15 A.5.1: elements, their order and number, attributes and their values.
"""

from __future__ import annotations

import base64
import re
import socket
import ssl
import threading
import xml.etree.ElementTree as ET
from contextlib import suppress

import trustme

HEADER = re.compile(
    rb"<(?P<pri>\d{1,3})>1 (?P<time>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}(Z|[+-]\d\d:\d\d)) (?P<host>[!-~]{1,255}) (?P<app>[!-~]{1,48}) "
    rb"(?P<process>[!-~]{1,128}) (?P<id>[!-~]{1,32}) - (?P<message>.*)", re.DOTALL)

# PS3.15 A.5.1: attributes (pattern; ? may be absent), and child elements in their order (least, most); | is one or the other
TEXT, TOKEN, UID, BASE64 = r".*", r"\S(.*\S)?", r"[0-9.]{1,64}", r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"
CODED = ({"csd-code": TOKEN, "codeSystemName": TOKEN, "displayName?": TOKEN, "originalText": TOKEN}, [])
SCHEMA = {
    "AuditMessage": ({}, [("EventIdentification", 1, 1), ("ActiveParticipant", 1, 99), ("AuditSourceIdentification", 1, 1),
                          ("ParticipantObjectIdentification", 0, 99)]),
    "EventIdentification": (
        {"EventActionCode?": "[CRUDE]", "EventDateTime": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
         "EventOutcomeIndicator": "0|4|8|12"},
        [("EventID", 1, 1), ("EventTypeCode", 0, 99), ("EventOutcomeDescription", 0, 1)]),
    "EventID": CODED, "EventTypeCode": CODED, "RoleIDCode": CODED, "ParticipantObjectIDTypeCode": CODED,
    "EventOutcomeDescription": ({}, []),
    "ActiveParticipant": (
        {"UserID": TEXT, "AlternativeUserID?": TEXT, "UserName?": TEXT, "UserIsRequestor": "true|false|0|1",
         "NetworkAccessPointID?": TOKEN, "NetworkAccessPointTypeCode?": "[1-5]"},
        [("RoleIDCode", 0, 99)]),
    "AuditSourceIdentification": ({"AuditEnterpriseSiteID?": TOKEN, "AuditSourceID": TOKEN}, [("AuditSourceTypeCode", 0, 99)]),
    "AuditSourceTypeCode": ({"csd-code": "[1-9]"}, []),
    "ParticipantObjectIdentification": (
        {"ParticipantObjectID": TOKEN, "ParticipantObjectTypeCode?": "[1-4]", "ParticipantObjectTypeCodeRole?": r"[1-9]|1\d|2[0-6]",
         "ParticipantObjectDataLifeCycle?": r"[1-9]|1[0-5]", "ParticipantObjectSensitivity?": TOKEN},
        [("ParticipantObjectIDTypeCode", 1, 1), ("ParticipantObjectName|ParticipantObjectQuery", 1, 1), ("ParticipantObjectDetail", 0, 99),
         ("ParticipantObjectDescription", 0, 99)]),
    "ParticipantObjectName": ({}, []), "ParticipantObjectQuery": ({}, []),
    "ParticipantObjectDetail": ({"type": TOKEN, "value": BASE64}, []),
    "ParticipantObjectDescription": ({}, [("SOPClass", 0, 99)]),
    "SOPClass": ({"UID?": UID, "NumberOfInstances": r"\d+"}, []),
}


def checked(xml: bytes) -> ET.Element:
    """The message, where it follows the schema; AssertionError says where it does not."""
    root = ET.fromstring(xml)
    assert root.tag == "AuditMessage"
    _check(root)
    return root


def _check(element: ET.Element) -> None:
    attributes, children = SCHEMA[element.tag]
    known = {name.rstrip("?"): pattern for name, pattern in attributes.items()}
    needed = {name for name in attributes if not name.endswith("?")}
    assert needed <= element.attrib.keys() <= known.keys(), f"{element.tag} has the attributes {sorted(element.attrib)}"
    for name, value in element.attrib.items():
        assert re.fullmatch(known[name], value, re.DOTALL), f"{element.tag} {name} is {value!r}"
    places = {tag: name for name, _, _ in children for tag in name.split("|")}
    tags, order = [places[child.tag] for child in element], list(dict.fromkeys(places.values()))
    assert tags == sorted(tags, key=order.index), f"{element.tag} holds {tags}"
    for tag, least, most in children:
        assert least <= tags.count(tag) <= most, f"{element.tag} holds {tags.count(tag)} {tag}"
    if element.tag == "ParticipantObjectQuery":
        assert re.fullmatch(BASE64, element.text or ""), "a query is base64"
    for child in element:
        _check(child)


class Said:
    """One audit message, as a test looks at it."""

    def __init__(self, frame: bytes) -> None:
        header = HEADER.fullmatch(frame)
        assert header, frame[:200]
        self.pri, self.id, self.frame = int(header["pri"]), header["id"].decode(), frame
        self.xml = checked(header["message"])
        event = self.xml.find("EventIdentification")
        self.event, self.action = event.find("EventID").get("csd-code"), event.get("EventActionCode")
        self.kinds = [one.get("csd-code") for one in event.findall("EventTypeCode")]
        self.outcome, self.why = event.get("EventOutcomeIndicator"), event.findtext("EventOutcomeDescription", "")
        roles = [(one, one.find("RoleIDCode")) for one in self.xml.findall("ActiveParticipant")]
        self.roles = {(role.get("csd-code") if role is not None else ""): one for one, role in roles}
        self.objects = {one.find("ParticipantObjectIDTypeCode").get("csd-code"): one.get("ParticipantObjectID")
                        for one in self.xml.findall("ParticipantObjectIdentification")}
        self.classes = {one.get("UID"): int(one.get("NumberOfInstances")) for one in self.xml.iter("SOPClass")}
        details = [(one.get("type"), base64.b64decode(one.get("value")).decode()) for one in self.xml.iter("ParticipantObjectDetail")]
        self.alerts, self.details = [value for kind, value in details if kind == "Alert Description"], dict(details)
        query = self.xml.find("ParticipantObjectIdentification/ParticipantObjectQuery")
        self.query = None if query is None else base64.b64decode(query.text or "")

    def __str__(self) -> str:
        return self.frame.decode()


class Repository:
    """Listens on a port of loopback; `said` is what came whole. It can go away, come back, and hang up in the middle of a frame."""

    def __init__(self, authority: trustme.CA, asks_for_certificate: bool = False) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("127.0.0.1").configure_cert(self.context)
        if asks_for_certificate:
            self.context.verify_mode = ssl.CERT_REQUIRED
            authority.configure_trust(self.context)
        self.said: list[Said] = []
        self.errors: list[str] = []
        self.cut_after: int | None = None
        self.port, self._server = 0, None
        self._open: list[socket.socket] = []
        self.come()

    def come(self) -> None:
        self._server = socket.create_server(("127.0.0.1", self.port))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._server,), daemon=True).start()

    def leave(self) -> None:
        for one in (self._server, *self._open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits there
            one.close()
        self._open.clear()

    def _accept(self, server: socket.socket) -> None:
        while True:
            try:
                plain, _ = server.accept()
                self._open.append(plain)
                threading.Thread(target=self._hear, args=(plain,), daemon=True).start()
            except OSError:
                return

    def _hear(self, plain: socket.socket) -> None:
        held = b""
        try:
            with self.context.wrap_socket(plain, server_side=True) as connection:
                self._open.append(connection)
                while chunk := connection.recv(1000 if self.cut_after is None else self.cut_after):
                    if self.cut_after is not None:
                        self.cut_after = None
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset, not an end
                        return
                    held = self._take(held + chunk)
        except OSError as error:
            self.errors.append(str(error))

    def _take(self, held: bytes) -> bytes:
        while match := re.match(rb"([1-9]\d*) ", held):
            end = match.end() + int(match[1])
            if len(held) < end:
                break
            self.said.append(Said(held[match.end():end]))
            held = held[end:]
        return held

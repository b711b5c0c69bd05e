"""Audit messages (PS3.15 A.5): what happened, who did it, and to which study of which patient; XML by the schema of A.5.1.

Pure functions from what happened to the bytes of one message. A message names a patient by the Patient ID alone, where the standard
demands it, and studies by their UID; names, dates of birth and descriptions are never in it. A query stands in its message as it was
sent, and the node asks for a patient by the Patient ID. Codes: PS3.16 CID 400 (event), 401 and 403
(its type), 402 (role). What comes from the network is freed of characters that XML does not have.

    Application Activity 110100            the node starts and stops
    Begin Transferring 110102              results are about to be sent
    DICOM Instances Transferred 110104     what arrived (an association, a study), what was sent (a destination, a study)
    DICOM Study Deleted 110105             betz purge
    Query 110112                           every query that was sent, by C-FIND or QIDO-RS
    Security Alert 110113                  an association refused, a TLS handshake failed, the settings changed, recording stopped
"""

from __future__ import annotations

import base64
import getpass
import os
import re
import socket
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

Code = tuple[str, str, str]
"""Value, coding scheme, meaning."""

APPLICATION_ACTIVITY: Code = ("110100", "DCM", "Application Activity")
BEGIN_TRANSFERRING: Code = ("110102", "DCM", "Begin Transferring DICOM Instances")
INSTANCES_TRANSFERRED: Code = ("110104", "DCM", "DICOM Instances Transferred")
STUDY_DELETED: Code = ("110105", "DCM", "DICOM Study Deleted")
QUERY: Code = ("110112", "DCM", "Query")
SECURITY_ALERT: Code = ("110113", "DCM", "Security Alert")
APPLICATION_START: Code = ("110120", "DCM", "Application Start")
APPLICATION_STOP: Code = ("110121", "DCM", "Application Stop")
NODE_AUTHENTICATION: Code = ("110126", "DCM", "Node Authentication")
NETWORK_CONFIGURATION: Code = ("110128", "DCM", "Network Configuration")
SECURITY_CONFIGURATION: Code = ("110129", "DCM", "Security Configuration")
SOFTWARE_CONFIGURATION: Code = ("110131", "DCM", "Software Configuration")
RESTRICTED_FUNCTION: Code = ("110132", "DCM", "Use of Restricted Function")
RECORDING_STOPPED: Code = ("110133", "DCM", "Audit Recording Stopped")
RECORDING_STARTED: Code = ("110134", "DCM", "Audit Recording Started")
_APPLICATION: Code = ("110150", "DCM", "Application")
_LAUNCHER: Code = ("110151", "DCM", "Application Launcher")
_DESTINATION: Code = ("110152", "DCM", "Destination Role ID")
_SOURCE: Code = ("110153", "DCM", "Source Role ID")
_STUDY_UID: Code = ("110180", "DCM", "Study Instance UID")
_SOP_CLASS: Code = ("110181", "DCM", "SOP Class UID")
_NODE_ID: Code = ("110182", "DCM", "Node ID")
_PATIENT_NUMBER: Code = ("2", "RFC-3881", "Patient Number")
_URI: Code = ("12", "RFC-3881", "URI")
CREATE, READ, DELETE, EXECUTE = "C", "R", "D", "E"
SUCCESS, MINOR_FAILURE, SERIOUS_FAILURE = "0", "4", "8"
_APPLICATION_SERVER = "4"  # Audit Source Type Code (A.5.1.2.1)
_NO_PATIENT_ID = "<none>"  # the attribute is mandatory; the word is dcm4chee's
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Node:
    """This node, as the source of its messages. `site`: the name of the hospital, may be empty. `process`: its number on this machine."""

    ae_title: str
    site: str = ""
    process: int = field(default_factory=os.getpid)
    host: str = field(default_factory=socket.gethostname)


@dataclass(frozen=True)
class Peer:
    """Another application entity, as far as it is known; a DICOMweb service has no title and a URL as its address."""

    ae_title: str
    address: str


@dataclass(frozen=True)
class Content:
    """What is said of one study: whose it is, and how many objects of each SOP class."""

    study: str
    patient_id: str
    classes: Mapping[str, int]


@dataclass(frozen=True)
class Query:
    """What was asked. By C-FIND: the UID of the SOP class, the data set as it was sent, and the UID of its transfer syntax. By QIDO-RS: the
    address of what was searched, the whole address with its parameters, and no transfer syntax."""

    subject: str
    content: bytes
    syntax: str = ""


def activity(node: Node, when: datetime, kind: Code) -> bytes:
    """The node starts (`APPLICATION_START`) or stops (A.5.3.1)."""
    return _message(node, when, APPLICATION_ACTIVITY, EXECUTE, SUCCESS, [kind], "",
                    [_self(node, _APPLICATION), _person(_LAUNCHER)])


def arrived(node: Node, when: datetime, sender: Peer, content: Content, action: str, failure: str = "") -> bytes:
    """Objects of one study came over one association (A.5.3.7). `action`: CREATE, or READ where they were there already."""
    participants = [_other(sender, _SOURCE, True), _self(node, _DESTINATION)]
    return _message(node, when, INSTANCES_TRANSFERRED, action, MINOR_FAILURE if failure else SUCCESS, [], failure, participants,
                    _contents(content))


def begun(node: Node, when: datetime, receiver: Peer, content: Content) -> bytes:
    """Results of one study are about to be sent (A.5.3.3); what does not follow as `sent` did not get there."""
    participants = [_self(node, _SOURCE, True), _other(receiver, _DESTINATION, False)]
    return _message(node, when, BEGIN_TRANSFERRING, EXECUTE, SUCCESS, [], "", participants, _contents(content))


def sent(node: Node, when: datetime, receiver: Peer, content: Content, failure: str = "") -> bytes:
    """Results of one study went to a destination, or were refused there for good. Whether it had them before is not known: READ."""
    participants = [_self(node, _SOURCE, True), _other(receiver, _DESTINATION, False)]
    return _message(node, when, INSTANCES_TRANSFERRED, READ, SERIOUS_FAILURE if failure else SUCCESS, [], failure, participants,
                    _contents(content))


def deleted(node: Node, when: datetime, content: Content) -> bytes:
    """A study, its results and all that is known of it were removed, by the person or the account under which it was done (A.5.3.8)."""
    return _message(node, when, STUDY_DELETED, DELETE, SUCCESS, [], "", [_person(None), _self(node, None)], _contents(content))


def queried(node: Node, when: datetime, receiver: Peer, query: Query, failure: str = "") -> bytes:
    """A query was sent (A.5.3.10). What was answered is not in it; `failure`: why nothing was.

    What identifies a query that is not DICOM is left open there (note 2): for QIDO-RS it is the URI, and the character set of the query is
    named as in the queries of IHE ITI.
    """
    participants = [_self(node, _SOURCE, True), _other(receiver, _DESTINATION, False)]
    kind, detail = (_SOP_CLASS, ("TransferSyntax", query.syntax)) if query.syntax else (_URI, ("QueryEncoding", "UTF-8"))
    subject = _object("2", "3", kind, query.subject)
    ET.SubElement(subject, "ParticipantObjectQuery").text = base64.b64encode(query.content).decode()
    _add_detail(subject, *detail)
    return _message(node, when, QUERY, EXECUTE, MINOR_FAILURE if failure else SUCCESS, [], failure, participants, [subject])


def alert(node: Node, when: datetime, kinds: Sequence[Code], description: str, peer: Peer | None = None, file: Path | None = None,
          outcome: str = MINOR_FAILURE) -> bytes:
    """A security alert (A.5.3.11) about a peer, a file, or the node itself."""
    participants = [_self(node, None), *([_other(peer, None, False)] if peer else [])]
    if file is not None:
        subject = _named(_object("2", "5", _URI, file.absolute().as_uri()), file.name)
    else:
        subject = _named(_object("2", "13", _NODE_ID, peer.address if peer else node.host), peer.ae_title if peer else node.ae_title)
    _add_detail(subject, "Alert Description", description)
    return _message(node, when, SECURITY_ALERT, EXECUTE, outcome, kinds, "", participants, [subject])


def now() -> datetime:
    return datetime.now(UTC)


def _message(node: Node, when: datetime, event: Code, action: str, outcome: str, kinds: Sequence[Code], description: str,
             participants: Sequence[ET.Element], objects: Sequence[ET.Element] = ()) -> bytes:
    message = ET.Element("AuditMessage")
    said = ET.SubElement(message, "EventIdentification", EventActionCode=action, EventDateTime=when.isoformat(timespec="milliseconds"),
                         EventOutcomeIndicator=outcome)
    said.extend([_coded("EventID", event), *(_coded("EventTypeCode", kind) for kind in kinds)])
    if description:
        ET.SubElement(said, "EventOutcomeDescription").text = _clean(description)
    message.extend(participants)
    site = {"AuditEnterpriseSiteID": _clean(node.site)} if node.site else {}
    source = ET.SubElement(message, "AuditSourceIdentification", AuditSourceID=f"{_clean(node.ae_title)}@{node.host}", **site)
    ET.SubElement(source, "AuditSourceTypeCode", {"csd-code": _APPLICATION_SERVER})
    message.extend(objects)
    return ET.tostring(message, encoding="utf-8", xml_declaration=True)


def _coded(name: str, code: Code) -> ET.Element:
    return ET.Element(name, {"csd-code": code[0], "codeSystemName": code[1], "originalText": code[2]})


def _participant(user: str, requestor: bool, role: Code | None, **more: str) -> ET.Element:
    one = ET.Element("ActiveParticipant", UserID=_clean(user), UserIsRequestor=str(requestor).lower(),
                     **{name: _clean(value) for name, value in more.items() if value})
    one.extend([_coded("RoleIDCode", role)] if role else [])
    return one


def _self(node: Node, role: Code | None, requestor: bool = False) -> ET.Element:
    """A process is named as in the logs of its system, its AE title beside it (A.5.2.1, A.5.2.2)."""
    return _participant(str(node.process), requestor, role, AlternativeUserID=f"AETITLES={node.ae_title}", NetworkAccessPointID=node.host,
                        NetworkAccessPointTypeCode="1")


def _other(peer: Peer, role: Code | None, requestor: bool) -> ET.Element:
    titles = f"AETITLES={peer.ae_title}" if peer.ae_title else ""
    place = {"NetworkAccessPointID": peer.address, "NetworkAccessPointTypeCode": _kind_of(peer.address)} if peer.address else {}
    return _participant(peer.ae_title or peer.address, requestor, role, AlternativeUserID=titles, **place)


def _kind_of(address: str) -> str:
    """A name (1), an IP address (2) or a URI (5)."""
    if "://" in address:
        return "5"
    return "2" if re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*(%.*)?", address) else "1"


def _person(role: Code | None) -> ET.Element:
    return _participant(f"{_login()}@{socket.gethostname()}", True, role)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run under a number without a name
        return str(os.getuid())


def _contents(content: Content) -> list[ET.Element]:
    study = _named(_object("2", "3", _STUDY_UID, content.study), "Study")
    if content.classes:
        described = ET.SubElement(study, "ParticipantObjectDescription")
        for uid, count in sorted(content.classes.items()):
            ET.SubElement(described, "SOPClass", UID=_clean(uid), NumberOfInstances=str(count))
    return [study, _named(_object("1", "1", _PATIENT_NUMBER, content.patient_id or _NO_PATIENT_ID), "Patient")]


def _object(kind: str, role: str, scheme: Code, name: str) -> ET.Element:
    """The schema demands a name or a query in it."""
    one = ET.Element("ParticipantObjectIdentification", ParticipantObjectID=_clean(name), ParticipantObjectTypeCode=kind,
                     ParticipantObjectTypeCodeRole=role)
    one.append(_coded("ParticipantObjectIDTypeCode", scheme))
    return one


def _named(one: ET.Element, described: str) -> ET.Element:
    """The name of a patient or of a study is not given away."""
    ET.SubElement(one, "ParticipantObjectName").text = _clean(described)
    return one


def _add_detail(one: ET.Element, kind: str, value: str) -> None:
    ET.SubElement(one, "ParticipantObjectDetail", type=kind, value=base64.b64encode(_clean(value).encode()).decode())


def _clean(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)

"""Audit messages: the schema and the tables of PS3.15 A.5 hold for each, and none says more of a patient than it must."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from node import audit
from node.audit import Content, Node, Peer, Query
from node.audit_trail import framed

NODE, PEER = Node("BETZ", "Clinic & Sons", 4711, "mri-node"), Peer("SCANNER", "192.0.2.10")
WHEN = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)
CONTENT = Content("1.2.3", "ID 4711", {"1.2.840.10008.5.1.4.1.1.4": 3})


@pytest.fixture
def said(audit_exchange):
    return lambda message: audit_exchange.Said(framed(NODE, WHEN, message))


def test_the_node_starts_and_stops(said):
    for kind, code in ((audit.APPLICATION_START, "110120"), (audit.APPLICATION_STOP, "110121")):
        one = said(audit.activity(NODE, WHEN, kind))
        assert (one.event, one.kinds, one.action, one.outcome, one.pri, one.objects) == ("110100", [code], "E", "0", 85, {})
        assert one.roles["110150"].get("AlternativeUserID") == "AETITLES=BETZ" and one.roles["110150"].get("UserIsRequestor") == "false"
        assert one.roles["110151"].get("UserIsRequestor") == "true"


def test_what_arrived_says_from_whom_how_much_and_whose(said):
    one = said(audit.arrived(NODE, WHEN, PEER, CONTENT, audit.CREATE))
    assert (one.event, one.action, one.outcome, one.why) == ("110104", "C", "0", "")
    source = one.roles["110153"]
    assert source.get("AlternativeUserID") == "AETITLES=SCANNER" and one.roles["110152"].get("UserID") == "4711"
    assert source.get("NetworkAccessPointID") == "192.0.2.10" and source.get("NetworkAccessPointTypeCode") == "2"
    assert one.objects == {"110180": "1.2.3", "2": "ID 4711"} and one.classes == {"1.2.840.10008.5.1.4.1.1.4": 3}


def test_what_was_sent_names_the_destination_and_what_was_refused_says_why(said):
    one = said(audit.sent(NODE, WHEN, Peer("PACS", "pacs.example.org"), CONTENT))
    assert (one.event, one.action, one.outcome) == ("110104", "R", "0")
    assert one.roles["110152"].get("NetworkAccessPointTypeCode") == "1" and one.roles["110153"].get("UserIsRequestor") == "true"
    one = said(audit.sent(NODE, WHEN, Peer("PACS", "::1"), CONTENT, "the peer refused: status 0122"))
    assert (one.outcome, one.why, one.pri) == ("8", "the peer refused: status 0122", 84)
    one = said(audit.sent(NODE, WHEN, Peer("", "https://pacs.example.org/dicom-web"), CONTENT))
    assert one.roles["110152"].get("NetworkAccessPointTypeCode") == "5"


def test_a_study_that_is_deleted_names_who_did_it(said):
    one = said(audit.deleted(NODE, WHEN, CONTENT))
    assert (one.event, one.action, one.objects) == ("110105", "D", {"110180": "1.2.3", "2": "ID 4711"})
    assert {person.get("UserIsRequestor") for person in one.xml.findall("ActiveParticipant")} == {"true", "false"}


STUDY_ROOT, IMPLICIT = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.1.2"


def test_a_query_says_whom_it_went_to_and_what_was_asked_as_it_was_sent(said):
    content = bytes(range(256))
    one = said(audit.queried(NODE, WHEN, Peer("PACS", "192.0.2.20"), Query(STUDY_ROOT, content, IMPLICIT)))
    assert (one.event, one.kinds, one.action, one.outcome, one.why, one.pri) == ("110112", [], "E", "0", "", 85)
    source, destination = one.roles["110153"], one.roles["110152"]
    assert (source.get("AlternativeUserID"), source.get("UserIsRequestor")) == ("AETITLES=BETZ", "true")
    assert (destination.get("UserID"), destination.get("NetworkAccessPointID")) == ("PACS", "192.0.2.20")
    assert destination.get("UserIsRequestor") == "false"
    assert one.objects == {"110181": STUDY_ROOT} and one.query == content and one.details == {"TransferSyntax": IMPLICIT}
    [asked] = one.xml.findall("ParticipantObjectIdentification")
    assert (asked.get("ParticipantObjectTypeCode"), asked.get("ParticipantObjectTypeCodeRole")) == ("2", "3")


def test_a_query_over_the_web_is_the_address_that_was_asked(said):
    service = "https://pacs.example.org/dicom-web"
    query = Query(f"{service}/studies", f"{service}/studies?PatientID=4711&includefield=00080020".encode())
    one = said(audit.queried(NODE, WHEN, Peer("", service), query))
    assert (one.event, one.outcome, one.objects) == ("110112", "0", {"12": f"{service}/studies"})
    assert one.query == query.content and one.details == {"QueryEncoding": "UTF-8"} and "4711&" not in str(one)
    assert one.roles["110152"].get("NetworkAccessPointTypeCode") == "5"


def test_a_query_that_was_not_answered_says_why(said):
    one = said(audit.queried(NODE, WHEN, PEER, Query(STUDY_ROOT, b"", IMPLICIT), "the peer did not answer C-FIND: status A700"))
    assert (one.outcome, one.why, one.pri) == ("4", "the peer did not answer C-FIND: status A700", 84)


def test_an_alert_is_about_a_peer_or_about_a_file(said):
    one = said(audit.alert(NODE, WHEN, [audit.NODE_AUTHENTICATION], "not on the list", PEER))
    assert (one.event, one.kinds, one.action, one.outcome) == ("110113", ["110126"], "E", "4")
    assert one.objects == {"110182": "192.0.2.10"} and one.alerts == ["not on the list"]
    assert all(person.get("UserIsRequestor") == "false" for person in one.xml.findall("ActiveParticipant"))
    one = said(audit.alert(NODE, WHEN, [audit.SOFTWARE_CONFIGURATION], "changed", file=Path("/etc/betz.toml"), outcome=audit.SUCCESS))
    assert (one.kinds, one.objects, one.outcome) == (["110131"], {"12": "file:///etc/betz.toml"}, "0")


def test_a_study_without_a_patient_id_is_said_to_have_none(said):
    assert said(audit.deleted(NODE, WHEN, Content("1.2.3", "", {}))).objects["2"] == "<none>"


@pytest.mark.parametrize("title", ["A<B>&\"'", "\x00\x01\x1f\x7f", "\ud800", "", "日本"])
def test_what_a_stranger_calls_himself_breaks_no_message(said, title):
    one = said(audit.alert(NODE, WHEN, [audit.NODE_AUTHENTICATION], f"{title}: unknown", Peer(title, "192.0.2.66")))
    assert one.objects == {"110182": "192.0.2.66"} and len(one.alerts) == 1


def test_the_schema_of_the_tests_refuses_what_is_wrong(audit_exchange):
    whole = audit.activity(NODE, WHEN, audit.APPLICATION_START)
    audit_exchange.checked(whole)
    for before, after in ((b'EventActionCode="E"', b'EventActionCode="X"'), (b"<EventID ", b"<EventTypeCode "),
                          (b'UserIsRequestor="true"', b""), (b"AuditSourceIdentification", b"ActiveParticipant"),
                          (b'csd-code="4"', b'csd-code="44"')):
        assert before in whole
        with pytest.raises((AssertionError, KeyError, ValueError)):
            audit_exchange.checked(whole.replace(before, after))
    whole = audit.queried(NODE, WHEN, PEER, Query(STUDY_ROOT, b"query", IMPLICIT))
    audit_exchange.checked(whole)
    query = re.search(b"<ParticipantObjectQuery>.*</ParticipantObjectQuery>", whole)[0]
    detail = re.search(b"<ParticipantObjectDetail .*?/>", whole)[0]
    name = b"<ParticipantObjectName>q</ParticipantObjectName>"
    for before, after in ((query, b""), (query + detail, detail + query), (query, name + query), (query, query + query),
                          (b">cXVlcnk=<", b">query<")):
        assert before in whole
        with pytest.raises((AssertionError, KeyError, ValueError)):
            audit_exchange.checked(whole.replace(before, after))

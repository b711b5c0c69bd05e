"""Every query that leaves the node is in its audit trail: as the peer got it, and with what became of it."""

from __future__ import annotations

import contextlib
import io
import json
from datetime import timedelta

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.dsutils import decode

from node import audit, audit_trail
from node.audit import Query
from node.audit_query import UNANSWERED, Asked, asking
from node.dicomweb import Web
from node.errors import DeliveryError
from node.query import STUDY_ROOT_FIND, images_of, matches_of, objects_of
from node.settings import Destination

EXPLICIT, IMPLICIT = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2"
STUDY = "1.2.3.4"


@pytest.fixture
def archive(peer_server):
    """Starts a peer that answers C-FIND with two series of two objects, or with a status; `heard` holds each query as it came."""
    started = []

    def start(syntax=EXPLICIT, status=0x0000, find=True, is_lost=False):
        heard = []

        def answer(event):
            heard.append((event.request.Identifier.getvalue(), str(event.context.transfer_syntax)))
            if is_lost:
                event.assoc.abort()
            elif status:
                yield status, None
            else:
                for number in (1, 2):
                    match = Dataset()
                    match.SeriesInstanceUID, match.SOPInstanceUID, match.Modality = f"{STUDY}.{number}", f"{STUDY}.{number}.1", "MR"
                    yield 0xFF00, match

        ae = AE("PACS")
        ae.add_supported_context("1.2.840.10008.1.1")
        if find:
            ae.add_supported_context(STUDY_ROOT_FIND, syntax)
        started.append(peer_server(ae, handlers=[(evt.EVT_C_FIND, answer)]))
        return Destination("pacs", "PACS", "127.0.0.1", started[-1].server_address[1]), heard

    yield start
    for one in started:
        one.shutdown()


@pytest.fixture
def web(dicomweb_service):
    """Starts a DICOMweb service."""
    with contextlib.ExitStack() as started:
        def start():
            service = dicomweb_service.Service()
            started.callback(service.stop)
            return service
        yield start


@pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT])
def test_each_query_by_c_find_is_a_message_with_the_bytes_that_the_peer_got(trail, kept, archive, syntax):
    trail()
    peer, heard = archive(syntax)
    assert len(images_of(peer, "BETZ", STUDY, 5.0)) == 2
    assert len(objects_of(peer, "BETZ", STUDY, [f"{STUDY}.1", f"{STUDY}.2"], 5.0)) == 2
    audit_trail.end()
    assert [(one.query, one.details["TransferSyntax"]) for one in kept()] == heard and len(heard) == 5
    assert {used for _, used in heard} == {syntax}
    for one in kept():
        assert (one.event, one.action, one.outcome, one.objects) == ("110112", "E", "0", {"110181": STUDY_ROOT_FIND})
        keys = decode(io.BytesIO(one.query), syntax == IMPLICIT, True)
        assert keys.StudyInstanceUID == STUDY and keys.QueryRetrieveLevel in ("SERIES", "IMAGE")
        receiver = one.roles["110152"]
        assert (receiver.get("AlternativeUserID"), receiver.get("NetworkAccessPointID")) == ("AETITLES=PACS", "127.0.0.1")


@pytest.mark.parametrize(("more", "why"), [({"status": 0xA700}, "status A700"), ({"status": 0x0122}, "status 0122"),
                                           ({"is_lost": True}, "did not answer")])
def test_a_query_that_is_refused_or_not_answered_is_a_failure(trail, kept, archive, capfd, more, why):
    trail()
    peer, heard = archive(**more)
    with pytest.raises(DeliveryError):
        matches_of(peer, "BETZ", "STUDY", {"PatientID": "SECRET1"}, 5.0)
    audit_trail.end()
    [one] = kept()
    assert (one.outcome, one.query) == ("4", heard[0][0]) and why in one.why
    assert b"SECRET1" in one.query and "SECRET1" not in str(one) + capfd.readouterr().err


def test_where_no_query_can_be_asked_there_is_none(trail, kept, archive, free_port):
    trail()
    for peer in (archive(find=False)[0], Destination("pacs", "PACS", "127.0.0.1", free_port)):
        with pytest.raises(DeliveryError):
            images_of(peer, "BETZ", STUDY, 5.0)
    audit_trail.end()
    assert kept() == []


@pytest.mark.parametrize(("status", "outcome", "why"), [(200, "0", ""), (404, "0", ""), (503, "4", "is not available (HTTP 503)"),
                                                        (401, "4", "(HTTP 401)"), (501, "4", "does not offer QIDO-RS")])
def test_a_query_over_the_web_is_a_message_with_its_address(trail, kept, web, status, outcome, why):
    trail()
    service = web()
    service.query_status = status
    with contextlib.suppress(DeliveryError):
        Web(Destination("pacs", url=service.url), 5.0).find(STUDY, [(f"{STUDY}.1", f"{STUDY}.1.1")])
    audit_trail.end()
    [one] = kept()
    assert one.query.decode() == service.url.removesuffix("/dicom-web") + service.searched[0] and b"?SOPInstanceUID=" in one.query
    assert one.objects == {"12": f"{service.url}/studies/{STUDY}/series/{STUDY}.1/instances"}
    assert (one.event, one.outcome, one.roles["110152"].get("UserID")) == ("110112", outcome, service.url)
    assert why in one.why and bool(why) == bool(one.why)


def test_what_the_sender_asks_over_the_web_is_told_and_what_it_stores_is_no_query(trail, kept, web, site):
    trail()
    service = web()
    peer = Destination("pacs", url=service.url, query=True)
    site.answer(peer)
    site.sender(peer).step()
    service.stop()
    with pytest.raises(DeliveryError):
        Web(peer, 5.0).reach()
    audit_trail.end()
    told = [(one.query.decode(), one.outcome) for one in kept() if one.event == "110112"]
    address = service.url.removesuffix("/dicom-web")
    assert told[:-1] == [(address + path, "0") for path in service.searched] and len(told) == 3
    assert told[-1] == (f"{service.url}/studies?StudyInstanceUID=2.25.0&limit=1", "4"), "how far it went is not known"


def test_a_request_that_follows_a_query_is_none(web, mr, tmp_path):
    heard, path = [], tmp_path / "a.dcm"
    mr(number=7).save_as(path, enforce_file_format=True)
    channel = Web(Destination("pacs", url=web().url), 5.0, lambda peer, query: heard.append(query) or str)
    channel.find(STUDY, [(f"{STUDY}.1", f"{STUDY}.1.1")])
    assert [sent.error for _, sent in channel.deliver([path])] == [None] and len(heard) == 1


def test_without_a_trail_nothing_is_kept(archive, tmp_path):
    assert len(images_of(archive()[0], "BETZ", STUDY, 5.0)) == 2
    assert list(tmp_path.iterdir()) == []


QUERY, PEER = Query(STUDY_ROOT_FIND, bytes(range(256)), IMPLICIT), Destination("pacs", "PACS", "192.0.2.20")


def test_what_was_noted_elsewhere_is_told_with_its_time(trail, kept):
    trail()
    when = audit.now() - timedelta(minutes=5)
    noted = Asked(when, QUERY)
    again = Asked.unpacked(json.loads(json.dumps(noted.packed())))
    assert again == noted
    again.tell(PEER)
    audit_trail.end()
    [one] = kept()
    assert (one.outcome, one.why, one.query) == ("4", UNANSWERED, QUERY.content)
    assert one.xml.find("EventIdentification").get("EventDateTime") == when.isoformat(timespec="milliseconds")


def test_an_error_that_nobody_foresaw_ends_a_query_too_and_is_not_quoted():
    ends = []
    with pytest.raises(ValueError, match="Secret"), asking(PEER, lambda peer, query: ends.append) as leaves:
        leaves(QUERY)
        raise ValueError("Secret^Patient")
    assert len(ends) == 1 and "ValueError" in ends[0] and "Secret" not in ends[0]

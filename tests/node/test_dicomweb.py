"""A destination over DICOMweb: a real small service on loopback that fails in every way, over HTTP and HTTPS."""

from __future__ import annotations

import json
import ssl
import threading
from dataclasses import replace

import pytest
import trustme
from pydicom.uid import generate_uid

from node.channel import channel_to
from node.check import checks
from node.circuit import FAILURES, is_open
from node.dicomweb import Web
from node.errors import DeliveryError, UnreachableError
from node.records import DELIVERED, PARKED, PENDING, PROVEN, STORED
from node.settings import Destination
from node.status import status_lines, why_lines

STUDY = "1.2.3.4"


@pytest.fixture
def service(dicomweb_service):
    started = []

    def start(context=None):
        started.append(dicomweb_service.Service(context))
        return started[-1]
    yield start
    for one in started:
        one.stop()


def _peer(service, **more):
    return Destination("pacs", url=service.url, **more)


def test_the_kept_bytes_are_what_arrives(site, service, mr):
    web = service()
    kept = site.answer(_peer(web), objects={"a": mr(number=7), "b": mr(number=8, size=1024)})
    site.sender(_peer(web)).step()
    assert set(site.states().values()) == {DELIVERED} and site.journal.study(STUDY).state == DELIVERED
    for name, number in (("a.dcm", 7), ("b.dcm", 8)):
        assert web.received[mr(number=number).SOPInstanceUID] == [site.outbox.path_of(STUDY, kept.name, name).read_bytes()]
    assert [head.get("Transfer-Encoding") for head in web.heads] == [None, "chunked"], "a large object is streamed"
    assert site.sender(_peer(web)).step() == 0


REFUSED, LATER, STORED_THERE, NO_WORD = "refused", "later", "stored", "no word of the object"
ANSWERS = [
    (200, STORED_THERE), ((200, None, 0xB000), STORED_THERE), ((200, b"", "text/plain"), STORED_THERE), ((202, None), STORED_THERE),
    ((200, b"<!doctype html><title>Log in</title>", "text/html"), LATER), ((200, b"[{\"login\": 1}]", "application/json"), LATER),
    ((202, b"", "text/plain"), LATER), ((204, b"", "text/plain"), LATER), ((200, 0xA700), LATER), ((409, 0xA700), LATER),
    ((409, 0x0110), LATER), ((409, 0x0122), REFUSED), ((409, 0xA900), REFUSED), ((409, 0xC000), REFUSED), ((409, 0x0124), REFUSED),
    ((202, 0xC122), REFUSED), ((409, b"not JSON", "application/dicom+json"), REFUSED), ((409, b"", "text/plain"), REFUSED),
    (400, REFUSED), (411, REFUSED), (413, REFUSED), (415, REFUSED), (500, LATER), (507, LATER),
    *((status, NO_WORD) for status in (401, 403, 404, 407, 408, 429, 502, 503, 504)),
]


@pytest.mark.parametrize(("planted", "meaning"), ANSWERS, ids=lambda one: str(one)[:20])
def test_every_answer_has_its_meaning(site, service, mr, planted, meaning, capsys):
    web = service()
    web.planted = [planted] if isinstance(planted, int) or len(planted) == 2 or isinstance(planted[1], bytes) else [_warned(planted)]
    site.answer(_peer(web), objects={"a": mr(number=7)})
    site.sender(_peer(web)).step()
    state = {REFUSED: PARKED, STORED_THERE: DELIVERED}.get(meaning, PENDING)
    assert site.states() == {"a.dcm": state} and len(web.heads) == 1, "one try, and no more in the library"
    assert (site.journal.circuit("pacs").failures == 1) == (meaning == NO_WORD)
    assert "SECRET" not in "".join(capsys.readouterr()).upper() and "SECRET" not in site.reason(state)


def _warned(planted):
    def handle(handler):
        ds, _ = handler._read_part()
        item = {"00081155": {"vr": "UI", "Value": [str(ds.SOPInstanceUID)]}, "00081196": {"vr": "US", "Value": [planted[2]]}}
        handler.say(planted[0], json.dumps([{"00081199": {"vr": "SQ", "Value": [item]}}]).encode(), "application/json")
    return handle


def test_an_answer_in_xml_is_read(site, service, mr):
    web = service()
    body = (b'<?xml version="1.0"?><NativeDicomModel><DicomAttribute tag="00081198" vr="SQ" keyword="FailedSOPSequence"><Item number="1">'
            b'<DicomAttribute tag="00081197" vr="US" keyword="FailureReason"><Value number="1">42752</Value></DicomAttribute>'
            b"</Item></DicomAttribute></NativeDicomModel>")
    web.planted = [(409, body, "application/dicom+xml")]
    site.answer(_peer(web), objects={"a": mr(number=7)})
    site.sender(_peer(web)).step()
    assert site.states() == {"a.dcm": PENDING} and "A700" in site.reason(PENDING)


def test_a_refused_object_holds_no_other(site, service):
    web = service()
    web.planted = [(409, 0xC000)]
    site.answer(_peer(web))
    site.sender(_peer(web)).step()
    assert sorted(site.states().values()) == [DELIVERED, PARKED] and len(web.received) == 1


def test_what_is_taken_for_later_is_delivered_when_it_is_found(site, service):
    web = service()
    peer = _peer(web, query=True)
    web.planted = [(202, b"", "text/plain")]
    site.answer(peer)
    site.sender(peer).step()
    assert sorted(site.states().values()) == [PROVEN, STORED] and "found by QIDO-RS" in site.reason(PROVEN)


def test_what_is_not_found_is_looked_for_again_then_sent_again(site, service, mr):
    web, lost = service(), mr(number=8).SOPInstanceUID
    web.hidden, peer = {lost}, _peer(web, query=True)
    site.answer(peer)
    sender = site.sender(peer)
    sender.step()
    assert site.states() == {"a.dcm": PROVEN, "b.dcm": STORED}
    assert "QIDO-RS does not find 1 of 2" in " ".join(why_lines(site.settings(peer), STUDY))
    for _ in range(2):
        site.now += 60.0
        sender.step()
    assert site.states()["b.dcm"] == PENDING
    web.hidden, site.now = set(), site.now + 60.0
    sender.step()
    assert set(site.states().values()) == {PROVEN} and len(web.received[lost]) == 2


def test_a_service_without_query_proves_nothing(site, service):
    web = service()
    peer, web.query_status = _peer(web, query=True), 501
    site.answer(peer)
    site.sender(peer).step()
    assert set(site.states().values()) == {STORED} and "does not offer QIDO-RS" in " ".join(why_lines(site.settings(peer), STUDY))
    Web(peer, 5.0).reach()


STALLS = ["before the answer", "in the answer", "an answer without end", "the connection ends", "the answer is cut off"]


@pytest.mark.parametrize("stall", STALLS)
def test_one_that_stalls_ends_at_the_time_limit_and_holds_no_other(site, service, pacs, mr, stall):
    web, over, reached = service(), threading.Event(), threading.Event()

    def stalled(handler):
        reached.set()
        if stall == "the connection ends":
            handler.close_connection = True
            return
        if stall == "the answer is cut off":
            handler.say(200, b"", "text/plain", length=100)
            handler.close_connection = True
            return
        if stall != "before the answer":
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000000\r\n\r\n[")
        while not over.wait(0.02):
            if stall == "an answer without end":
                handler.wfile.write(b" " * 16)

    web.planted = [stalled, stalled]
    other, received = pacs(title="ARCHIVE")
    other, peer = replace(other, name="archive"), _peer(web)
    site.answer(peer, other)
    thread = threading.Thread(target=site.sender(peer, timeout_s=0.5).step)
    thread.start()
    assert reached.wait(10)
    site.sender(other).step()
    assert len(received) == 2 and set(site.states("archive").values()) == {DELIVERED}
    thread.join(15)
    over.set()
    assert not thread.is_alive() and set(site.states().values()) == {PENDING} and site.journal.circuit("pacs").failures == 1
    site.now += 60.0
    site.sender(peer).step()
    assert set(site.states().values()) == {DELIVERED}


def test_one_that_stops_reading_ends_at_the_time_limit(site, service, mr):
    web, over = service(), threading.Event()
    web.planted = [lambda handler: over.wait(20)]
    site.answer(_peer(web), objects={"a": mr(number=7, size=4096)})
    site.sender(_peer(web), timeout_s=0.5).step()
    over.set()
    assert site.states() == {"a.dcm": PENDING} and web.received == {}


def test_one_that_is_away_is_asked_now_and_then_and_gets_everything_when_it_is_back(site, service):
    web = service()
    site.answer(_peer(web))
    sender, web.planted = site.sender(_peer(web)), [503] * 6
    for _ in range(FAILURES):
        assert sender.step() == 2
        site.now += 3600
    circuit = site.journal.circuit("pacs")
    assert is_open(circuit) and "not available (HTTP 503)" in " ".join(status_lines(site.settings(_peer(web))))
    web.query_status = 503
    assert sender.step() == 0 and site.journal.circuit("pacs").failures == FAILURES + 1
    web.query_status, site.now = 200, site.journal.circuit("pacs").next_try
    assert sender.step() == 2 and set(site.states().values()) == {DELIVERED} and site.journal.circuit("pacs").failures == 0


def test_one_that_only_stores_may_know_no_address_to_search_at(site, service):
    """The check takes that for a mistake in the address; the sender does not, as nothing would ever be sent again."""
    web = service()
    web.query_status = 404
    Web(_peer(web), 5.0).reach()
    assert any("has no such address (HTTP 404)" in sentence and not right for right, sentence in checks(site.settings(_peer(web))))


def test_a_redirect_is_not_followed(site, service):
    web, other = service(), service()

    def elsewhere(handler):
        handler._body()
        handler.send_response(307)
        handler.send_header("Location", f"{other.url}/studies")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    web.planted = [elsewhere, elsewhere]
    site.answer(_peer(web))
    site.sender(_peer(web)).step()
    assert other.heads == [] and "sends on to another address" in site.reason(PENDING)


def test_the_environment_changes_nothing(site, service, tmp_path, monkeypatch):
    """No proxy, no .netrc, no other certificates than the settings name."""
    (tmp_path / "netrc").write_text("default login someone password else\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    web = service()
    site.answer(_peer(web))
    site.sender(_peer(web)).step()
    assert set(site.states().values()) == {DELIVERED} and "Authorization" not in web.heads[0]


@pytest.mark.parametrize("kind", ["token", "password"])
def test_secrets_come_from_files_that_others_cannot_read(site, service, tmp_path, kind, capsys):
    web, file = service(), tmp_path / "secret"
    file.write_text("hush-hush\n")
    file.chmod(0o644)
    peer = _peer(web, **({"token_file": file} if kind == "token" else {"user": "betz", "password_file": file}))
    said = dict(reversed(one) for one in checks(site.settings(peer)))
    assert any("chmod 600" in sentence and not right for sentence, right in said.items())
    file.chmod(0o600)
    assert (True, f"destination pacs: answers at {web.url}") in checks(site.settings(peer))
    site.answer(peer)
    site.sender(peer).step()
    expected = "Bearer hush-hush" if kind == "token" else "Basic YmV0ejpodXNoLWh1c2g="
    assert {head["Authorization"] for head in web.heads} == {expected} and set(site.states().values()) == {DELIVERED}
    assert "hush" not in "".join(capsys.readouterr()) and "YmV0" not in "".join(capsys.readouterr())


def test_a_secret_that_is_gone_is_a_reason(site, service, tmp_path):
    peer = _peer(service(), token_file=tmp_path / "none")
    site.answer(peer)
    site.sender(peer).step()
    assert set(site.states().values()) == {PENDING} and "cannot be read" in site.reason(PENDING)
    assert any("cannot be read" in sentence and not right for right, sentence in checks(site.settings(peer)))


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


def _https(service, authority, name="127.0.0.1"):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    authority.configure_trust(context)
    return service(context)


def _files(authority, folder):
    mine = authority.issue_cert("betz.example.org")
    for name, blobs in (("ca.pem", [authority.cert_pem]), ("own.pem", mine.cert_chain_pems), ("own.key", [mine.private_key_pem])):
        (folder / name).write_bytes(b"".join(blob.bytes() for blob in blobs))
        (folder / name).chmod(0o600)
    return {"authorities": folder / "ca.pem", "client_certificate": folder / "own.pem", "client_key": folder / "own.key"}


def test_https_with_the_sites_authority_and_a_certificate_of_the_node(site, service, authority, tmp_path):
    web, files = _https(service, authority), _files(authority, tmp_path)
    peer = _peer(web, query=True, **files)
    assert (True, f"destination pacs: answers at {web.url}") in checks(site.settings(peer))
    site.answer(peer)
    site.sender(peer).step()
    assert set(site.states().values()) == {PROVEN}


@pytest.mark.parametrize(("name", "shown", "words"), [
    ("other.example.org", True, "for another host"), ("127.0.0.1", False, ""), ("127.0.0.1", None, "does not vouch"),
], ids=["another host", "no certificate of the node", "an authority that is not named"])
def test_https_that_cannot_be_trusted_gets_nothing(site, service, authority, tmp_path, name, shown, words):
    web, files = _https(service, authority, name), _files(authority, tmp_path)
    peer = _peer(web, **(files if shown else {"authorities": files["authorities"]} if shown is False else {}))
    site.answer(peer)
    site.sender(peer).step()
    assert set(site.states().values()) == {PENDING} and web.received == {} and words in site.reason(PENDING)


@pytest.mark.parametrize("key", ["authorities", "client_certificate", "client_key"])
def test_a_file_of_https_that_is_gone_is_a_reason(site, tmp_path, key):
    more = {} if key != "client_key" else {"client_certificate": tmp_path}
    peer = Destination("pacs", url="https://127.0.0.1:9/dicom-web", **{**more, key: tmp_path / "none.pem"})
    site.answer(peer)
    site.sender(peer).step()
    assert set(site.states().values()) == {PENDING} and "none.pem cannot be read" in site.reason(PENDING)
    assert any("none.pem" in sentence and not right for right, sentence in checks(site.settings(peer)))


def test_nobody_there():
    peer = Destination("pacs", url="http://127.0.0.1:9/dicom-web", query=True)
    with pytest.raises(UnreachableError, match="cannot be reached"):
        channel_to(peer, "BETZ", 1.0).reach()
    with pytest.raises(DeliveryError, match="cannot be reached"):
        channel_to(peer, "BETZ", 1.0).find(STUDY, [("1.2.3", generate_uid())])

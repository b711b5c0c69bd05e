"""`Secret^Patient` goes through every path and every failure; nothing that is written for people to read, but the answer, knows who it is.

Searched are stderr and stdout, every line of the log, the reasons in the journal, what `betz status` and `why` print, and the logs of
children. Audit messages hold the Patient ID, as PS3.15 A.5 demands, and nothing else of it.
"""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from node import audit_trail
from node.audit_spool import AuditSpool
from node.child import Limits, run_child
from node.journal import Journal
from node.outbox import Outbox
from node.settings import Audit, Destination, Settings, Storage
from node.spool import Spool
from node.status import status_lines, why_lines
from node.storage import deliver
from node.worker import Worker

ROOT = Path(__file__).parents[2]
SECRETS = {
    "PatientName": "Secret^Patient", "PatientID": "SECRET-ID-4711", "PatientBirthDate": "19481224", "AccessionNumber": "SECRET-ACC-77",
    "ReferringPhysicianName": "Geheimrat^Anna", "PerformingPhysicianName": "Geheimrat^Otto", "StudyDescription": "Secret description",
    "InstitutionName": "Secret Clinic", "OtherPatientNames": "Incognito^Ida", "PatientAddress": "Secret Road 1", "StudyID": "SECRETSTUDY",
    "SeriesDescription": "Secret series", "ProtocolName": "Secret protocol", "PatientComments": "Secret comment",
}  # fmt: skip
WORDS = re.compile(r"secret|geheimrat|incognito|id-4711|19481224|24\.12\.1948|1948-12-24|acc-77", re.IGNORECASE)
NAME = "Secret^Patient_SECRET-ID-4711"


@pytest.fixture
def secret(mr):
    """An MR image of the patient whom nobody may see."""
    return lambda *arguments, **elements: mr(*arguments, **{**SECRETS, **elements})


@pytest.fixture
def unseen(capfd, tmp_path):
    """Fails where something that was written so far knows the patient; returns what was written on the screen."""
    def unseen(*texts: str) -> str:
        out, err = capfd.readouterr()
        logs = [path.read_text(errors="replace") for path in (tmp_path / "log").glob("*")]
        found = [(word.group(), text[max(0, word.start() - 200):word.end() + 100]) for text in (out, err, *logs, *texts)
                 for word in WORDS.finditer(text)]
        assert not found, found[:3]
        return out + err
    return unseen


@pytest.fixture
def told(tmp_path):
    """What the journal and the commands say of everything."""
    def told(settings: Settings) -> str:
        journal = Journal(tmp_path / "journal.sqlite")
        rows = [*journal.all(), *(result for row in journal.all() for result in journal.results_of(row.study))]
        lines = [*status_lines(settings), *(line for row in journal.all() for line in why_lines(settings, row.study))]
        journal.close()
        return "\n".join([*map(str, rows), *lines])
    return told


# the listener

def _stored(call, listener, *images: Dataset) -> list[int]:
    association = call(listener)
    statuses = [association.send_c_store(ds).Status for ds in images]
    association.release()
    return statuses


def test_the_listener_knows_nobody(node, call, secret, unseen, soon):
    listener = node()
    new, other = secret(), secret(seed=1)
    assert _stored(call, listener, new, new, other, secret(number=2)) == [0] * 4
    seen = soon(lambda: unseen())
    assert "instance_conflicts" in seen and "association_ended" in seen


@pytest.mark.filterwarnings("ignore::UserWarning")  # stilled by `log.quiet` in a process of the node
def test_what_the_listener_refuses_is_not_quoted(node, call, secret, unseen, encoded, raw_peer):
    listener = node()
    data, module = encoded(secret()), raw_peer.module
    wrong = [data[:-1], data[:200], data + b"Secret^Patient", b"Secret^Patient", encoded(secret(StudyInstanceUID="1.2.3")).replace(
        b"1.2.3\0", b"SECRET")]
    for content in wrong:
        peer = raw_peer(listener.port, sent=module.request())
        peer.answer()
        assert peer.send(module.store(content, secret().SOPInstanceUID)).answer()
    for instance in (NAME, "1.2.3"):
        peer = raw_peer(listener.port, sent=module.request())
        peer.answer()
        peer.send(module.store(data, instance)).answer()
    assert "instance_refused" in unseen() and "(no valid UID)" not in "".join(listener.heard)


@pytest.mark.parametrize("cut", [20, 200, 2000])
def test_an_association_that_breaks_in_the_middle_is_not_quoted(node, secret, unseen, encoded, raw_peer, soon, cut):
    listener, module = node(), raw_peer.module
    peer = raw_peer(listener.port, sent=module.request())
    peer.answer()
    peer.send(module.store(encoded(secret(size=64)), secret().SOPInstanceUID)[:-cut])
    peer.socket.close()
    soon(lambda: not list((listener.spool.incoming).iterdir()))
    unseen()


def test_callers_and_bytes_that_name_a_patient_where_none_belongs(node, raw_peer, unseen, call):
    listener, module = node(), raw_peer.module
    for sent in (b"GET /Secret^Patient HTTP/1.0\r\n\r\n", b"\x01\x00\x00\x00\x00\x10Secret^Patient!!",
                 module.request() + module.data(b"Secret^Patient" * 20, command=True), module.request() + module.pdu(4, b"Secret^Patient"),
                 module.request() + module.pdu(9, b"Secret^Patient"), module.request(application=f"1.2.{NAME}")):
        raw_peer(listener.port, sent=sent).answer()
    unseen()


@pytest.mark.parametrize("failure", [
    ValueError("Secret^Patient"), OSError(5, "Input/output error", f"/x/{NAME}"), KeyError("SECRET-ID-4711"),
])
def test_a_node_that_fails_does_not_say_on_whom(node, call, secret, unseen, failure):
    def fail(_study):
        raise failure

    listener = node(on_stored=fail)
    assert _stored(call, listener, secret()) == [0]
    listener.spool.commit = fail
    assert _stored(call, listener, secret(number=2)) == [0x0110]
    seen = unseen()
    assert "journal_failed" in seen and "instance_refused" in seen and type(failure).__name__ in seen


# the worker

@pytest.fixture
def site_with(tmp_path, secret):
    """A worker whose analysis is a function, with one study of the patient."""
    def site(submit, answer_failure=None):
        settings = Settings(storage=Storage(tmp_path, 0.0), destination=(Destination("pacs", "PACS", "127.0.0.1", 11113),))
        journal, spool = Journal(tmp_path / "journal.sqlite"), Spool(tmp_path)
        folder = spool.studies_folder / "1.2.3"
        folder.mkdir()
        secret("1.2.3").save_as(folder / "1.2.3.1.dcm", enforce_file_format=True)
        journal.stored("1.2.3")
        journal.move("1.2.3", ("receiving",), "ready")
        worker = Worker(settings, journal, spool, Outbox(tmp_path), submit, answer_failure or submit)
        for study in worker.take():
            worker.run(study)
        journal.close()
        return settings
    return site


def test_an_analysis_that_fails_is_not_quoted(site_with, unseen, told):
    def crash(*_):
        raise ValueError("could not convert string to float: 'Secret^Patient'")

    assert "ValueError" in unseen(told(site_with(crash)))


@pytest.mark.parametrize("code", [
    "import sys; sys.stderr.write('Secret^Patient: cannot read\\n'); sys.exit(3)",
    "raise ValueError('invalid value for VR PN: Secret^Patient')",
    "import warnings; warnings.warn('Secret^Patient'); import os; os.abort()",
])
def test_what_a_child_says_at_its_end_is_a_sentence_of_ours_or_nothing(site_with, unseen, told, tmp_path, code):
    logs = tmp_path / "elsewhere"
    logs.mkdir()

    def child(study, out, *_):
        run_child([sys.executable, "-c", code], Limits(30, 4), logs / "said.txt", scratch=out.parent)

    unseen(told(site_with(child)))


def test_a_child_that_takes_too_long_is_not_quoted(site_with, unseen, told, tmp_path):
    (tmp_path / "elsewhere").mkdir()

    def child(study, out, *_):
        slow = "import time; print('Secret^Patient', flush=True); time.sleep(60)"
        run_child([sys.executable, "-c", slow], Limits(0.5, 4), tmp_path / "elsewhere" / "said.txt", scratch=out.parent)

    assert "longer than" in unseen(told(site_with(child)))


def _analyse(folder: Path, tmp_path: Path) -> str:
    """`betz process` in a process of its own; everything that it says."""
    command = [sys.executable, "-W", "always", "-m", "node.command", "process", str(folder), "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120)
    return done.stdout + done.stderr


def test_headers_that_a_library_would_complain_about_are_not_quoted(secret, unseen, tmp_path):
    folder = tmp_path / "study"
    folder.mkdir()
    for number, (right, wrong) in enumerate([(b"1234.5678", b"Secret^Pa"), (b"ISO_IR 100", b"SECRET-ID-"), (b"19481224", b"Secret^P"),
                                             (b"PRIMARY", b"Secret^"), (b"120000", b"Secret"), (b"4096.25", b"Secret^")]):
        path = folder / f"{number}.dcm"
        secret("1.2.3", number, RepetitionTime="1234.5678", EchoTime="4096.25", ImageType=["ORIGINAL", "PRIMARY"],
               SpecificCharacterSet="ISO_IR 100").save_as(path, enforce_file_format=True)
        content = path.read_bytes()
        assert right in content
        path.write_bytes(content.replace(right, wrong))
    unseen(_analyse(folder, tmp_path))


@pytest.mark.parametrize("damage", [
    lambda data: data[:400], lambda data: data[:132] + b"Secret^Patient" * 100, lambda data: b"Secret^Patient",
])
def test_a_damaged_file_is_named_and_not_quoted(secret, tmp_path, damage):
    """The name of a file is what the person who typed the command gave; the contents are not."""
    folder = tmp_path / "study"
    folder.mkdir()
    secret().save_as(folder / "whole.dcm", enforce_file_format=True)
    data = (folder / "whole.dcm").read_bytes()
    (folder / "whole.dcm").unlink()
    (folder / "bad.dcm").write_bytes(damage(data))
    said = _analyse(folder, tmp_path)
    assert "bad.dcm" in said and not WORDS.search(said)


# the sender

def _refusing(comment: str, status: int = 0xC000) -> tuple[AE, object]:
    def store(_event):
        answer = Dataset()
        answer.Status, answer.ErrorComment = status, comment
        return answer

    ae = AE("PACS")
    ae.add_supported_context("1.2.840.10008.1.1")
    for sop_class in ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"):
        ae.add_supported_context(sop_class, ["1.2.840.10008.1.2.1"])
    return ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])


@pytest.mark.parametrize("comment", [
    "patient Secret unknown", "no such id SECRET-ID-4711", "born 24.12.1948? 1948-12-24!", "1948 12 24", "accession SECRET-ACC-77",
    "Dr. Geheimrat did not ask for this", "also known as Incognito",
])
@pytest.mark.parametrize("status", [0xC000, 0xA700, 0xB000])
def test_a_peer_that_names_the_patient_is_not_quoted(site, secret, unseen, told, comment, status):
    server = _refusing(comment, status)
    peer = Destination("pacs", "PACS", "127.0.0.1", server.server_address[1])
    try:
        image = secret("1.2.3.4", 7)
        image.save_as(site.spool.studies_folder / "1.2.3.4" / "1.dcm", enforce_file_format=True)
        site.answer(peer, objects={"a": image})
        site.sender(peer).step()
    finally:
        server.shutdown()
    unseen(told(site.settings(peer)))
    site.journal.close()


def test_peers_that_are_away_and_objects_of_another_patient_name_nobody(site, secret, unseen, told):
    peer = Destination("pacs", "PACS", "127.0.0.1", 9)
    site.answer(peer, objects={"a": secret("1.2.3.4", 7), "b": secret("1.2.3.4", 8, PatientID="SECRET-ID-4712")})
    for _ in range(4):
        site.sender(peer).step()
        site.now += 100
    said = unseen(told(site.settings(peer)))
    assert "result_parked" in said and "patient or study differ" in said
    site.journal.close()


def test_an_object_that_cannot_be_encoded_is_not_quoted(pacs, secret, tmp_path):
    peer, _ = pacs(syntaxes=("1.2.840.10008.1.2",))
    path = tmp_path / "a.dcm"
    secret(RepetitionTime="1234.5678").save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes().replace(b"1234.5678", b"Secret^Pa"))
    for _, sent in deliver(peer, "BETZ", [path], 5.0):
        assert not WORDS.search(f"{sent.error}{sent.warning}")


# the rest

def test_a_thread_that_dies_and_a_library_that_warns_name_nobody(tmp_path):
    code = ("import sys, threading, warnings, logging; sys.argv = ['betz', 'markers']; from node.command import main; main(); "
            "t = threading.Thread(target=lambda: int('Secret^Patient')); t.start(); t.join(); "
            "warnings.warn('Secret^Patient'); logging.getLogger('pydicom').warning('Secret^Patient'); "
            "logging.getLogger('pynetdicom').error('Secret^Patient')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert '"event": "thread_failed"' in done.stderr and "ValueError" in done.stderr and not WORDS.search(done.stderr)


def test_the_audit_trail_has_the_patient_id_alone_and_the_log_not_even_that(node, call, secret, unseen, tmp_path, monkeypatch):
    audit_trail.begin(Settings(audit=Audit(keep_days=1.0), storage=Storage(tmp_path, 0.0)))
    try:
        listener = node()
        assert _stored(call, listener, secret()) == [0]
        listener.stop()
        audit_trail._trail.keep(lambda: (_ for _ in ()).throw(ValueError("Secret^Patient")), audit_trail.audit.now())
    finally:
        audit_trail.end()
    assert "audit_failed" in unseen()
    kept = b"".join(path.read_bytes() for path in AuditSpool(tmp_path).files()).decode()
    assert {word.lower() for word in WORDS.findall(kept)} == {"secret", "id-4711"} and kept.count("SECRET-ID-4711") == 1


def test_a_whole_node_says_nothing_of_its_patient(secret, tmp_path, unseen, told, pacs, soon, call):
    from node.service import serve
    from node.settings import Listener, StudyRules

    peer, received = pacs()
    settings = Settings(listener=Listener(port=0), storage=Storage(tmp_path, 0.0), study=StudyRules(0.0), destination=(peer,))
    stop, started, ports = threading.Event(), threading.Event(), []
    thread = threading.Thread(target=serve, args=(settings, stop, lambda port: (ports.append(port), started.set())))
    thread.start()
    try:
        assert started.wait(30)
        _stored(call, type("Node", (), {"port": ports[0]}), secret("1.2.3", RepetitionTime="500"), secret("1.2.3", 2))
        soon(lambda: received, 90.0)
    finally:
        stop.set()
        thread.join(60)
    assert "study_answered" in unseen(told(replace(settings)))


def test_what_a_library_says_of_a_damaged_header_is_in_no_reason(secret, tmp_path, monkeypatch):
    from node import study

    def fail(*_, **__):
        raise ValueError("could not convert string to float: 'Secret^Patient'")

    monkeypatch.setattr(study, "dcmread", fail)
    secret().save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(study.StudyError) as error:
        study.read_study(tmp_path)
    assert "ValueError" in str(error.value) and not WORDS.search(str(error.value))

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import pytest
from pydicom import dcmread
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt

from node.check import checks
from node.errors import BetzError
from node.journal import Journal
from node.outbox import Outbox
from node.records import DELIVERED, FAILED, READY, RECEIVING
from node.service import JOURNAL, is_running, only_node, serve
from node.settings import Accept, Destination, Listener, Settings, Storage, StudyRules
from node.settings_file import read_settings
from node.status import cancel, purge, resend, retry, status_lines, why_lines
from node.storage import send_folder

STUDY = "1.2.3.4"
WAIT_S = 60.0


def _until(true, what):
    deadline = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < deadline, f"{what} did not happen in {WAIT_S:g} s"
        time.sleep(0.05)


@pytest.fixture
def pacs():
    """A real peer on loopback that takes every kind of object."""
    received = []

    def store(event):
        received.append(event.dataset)
        return 0x0000

    ae = AE("PACS")
    ae.supported_contexts = [*AllStoragePresentationContexts, build_context("1.2.840.10008.1.1")]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    yield SimpleNamespace(peer=Destination("pacs", "PACS", "127.0.0.1", server.server_address[1]), received=received)
    server.shutdown()


@pytest.fixture
def settings(tmp_path, pacs):
    return Settings(listener=Listener(port=0), study=StudyRules(0.5), storage=Storage(tmp_path / "data", 0.0), destination=(pacs.peer,))


@pytest.fixture
def node(settings):
    """A serving node in threads of this process; stopped at the end."""
    stop, started = threading.Event(), threading.Event()
    running = SimpleNamespace(stop=stop)

    def begin(port):
        running.port = port
        started.set()

    thread = threading.Thread(target=serve, args=(settings, stop, begin))
    thread.start()
    assert started.wait(30)
    yield running
    stop.set()
    thread.join(30)
    assert not thread.is_alive()


def _images(folder, mr, count):
    folder.mkdir()
    for number in range(count):
        mr(number=number, seed=number).save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return folder


def _send(node, *images):
    """C-STORE in this order, on one association; every one is acknowledged."""
    ae = AE("SCANNER")
    ae.add_requested_context(images[0].SOPClassUID, "1.2.840.10008.1.2.1")
    association = ae.associate("127.0.0.1", node.port, ae_title="BETZ")
    assert [association.send_c_store(ds).Status for ds in images] == [0] * len(images)
    association.release()


@pytest.fixture
def journal(node, settings):
    """What the journal of the serving node says of the study."""
    one = Journal(settings.storage.folder / JOURNAL)
    yield lambda: one.study(STUDY)
    one.close()


def test_shuffled_duplicated_and_late_instances(node, settings, pacs, mr, journal):
    """One answer for what came in any order and twice; a late instance makes a new one; a repeat none."""
    images = [mr(number=number, seed=number) for number in range(9)]
    order = images[:8] * 2
    random.Random(1).shuffle(order)
    _send(node, *order)
    _until(lambda: journal() and journal().state == DELIVERED, "the delivery")
    first, count = journal(), len(pacs.received)
    assert len(list((settings.storage.folder / "spool" / STUDY).iterdir())) == 8
    _send(node, *order)
    assert journal() == first, "identical repeats change nothing"
    _send(node, images[8])
    _until(lambda: journal().state == DELIVERED and journal().version != first.version, "the delivery of the new answer")
    assert len({ds.SOPInstanceUID for ds in pacs.received}) == len(pacs.received) > count, "another answer, not the same one again"
    assert {(ds.StudyInstanceUID, ds.PatientID) for ds in pacs.received} == {(STUDY, "SECRET1")}


def test_two_patients_under_one_study_uid_are_told_and_nothing_is_sent(node, settings, pacs, mr, journal, capfd):
    _send(node, *(mr(number=number, PatientID=f"SECRET{number % 2}") for number in range(4)))
    _until(lambda: journal() and journal().state == FAILED, "the refusal")
    said = " ".join(why_lines(settings, STUDY))
    assert "more than one patient under one StudyInstanceUID" in said and said.count("more than one patient") == 1
    assert "nothing was sent" in said and str(settings.storage.folder / "spool" / STUDY) in said and "SECRET" not in said
    assert "more than one patient" in " ".join(status_lines(settings))
    assert pacs.received == [] and len(list((settings.storage.folder / "spool" / STUDY).iterdir())) == 4
    assert "SECRET" not in capfd.readouterr().err.upper()


def test_a_folder_with_all_kinds_of_files_is_sent_and_what_cannot_be_taken_is_named(node, settings, mr, tmp_path):
    """What the node has no use for or cannot take whole is refused by name; the rest arrives."""
    folder, said = _images(tmp_path / "in", mr, 2), []
    mr(number=8, SOPClassUID="1.2.840.10008.5.1.4.1.1.2", Modality="CT").save_as(folder / "ct.dcm", enforce_file_format=True)
    mr(number=9).save_as(folder / "cut.dcm", enforce_file_format=True)
    (folder / "cut.dcm").write_bytes((folder / "cut.dcm").read_bytes()[:-50])
    (folder / "notes.txt").write_text("a letter")
    with pytest.raises(BetzError, match="2 of 4 objects did not reach"):
        send_folder(folder, Destination("n", "BETZ", "127.0.0.1", node.port), "SCANNER", 10.0, said.append)
    assert [line.split(":")[0] for line in said] == ["1 files are no DICOM files and were not sent", "ct.dcm", "cut.dcm"]
    assert len(list((settings.storage.folder / "spool" / STUDY).iterdir())) == 2


def test_a_study_put_right_is_taken_up_again(node, settings, pacs, mr, journal):
    """What `betz why` advises is done: the folder goes, the corrected images come."""
    _send(node, mr(number=1), mr(number=2, PatientID="SECRET2"))
    _until(lambda: journal() and journal().state == FAILED, "the refusal")
    shutil.rmtree(settings.storage.folder / "spool" / STUDY)
    _send(node, mr(number=1), mr(number=2))
    _until(lambda: journal().state == DELIVERED, "the delivery")
    assert {ds.PatientID for ds in pacs.received} == {"SECRET1"}


def test_a_study_in_and_an_answer_back(node, settings, pacs, mr, tmp_path, capfd):
    """The whole river but the measuring: there is nothing to measure in images of 8 by 8, and the answer says so."""
    send_folder(_images(tmp_path / "in", mr, 3), Destination("n", "BETZ", "127.0.0.1", node.port), "SCANNER", 10.0, print)
    _until(lambda: pacs.received, "an answer")
    assert {ds.StudyInstanceUID for ds in pacs.received} == {STUDY} and {ds.PatientID for ds in pacs.received} == {"SECRET1"}
    journal = Journal(settings.storage.folder / JOURNAL)
    _until(lambda: journal.study(STUDY).state == DELIVERED, "the delivery")
    assert "is running" in status_lines(settings)[0] and "at every destination" in " ".join(why_lines(settings, STUDY))
    assert purge(settings, older_than_days=1)[0].startswith("0 studies removed")
    conflict = settings.storage.folder / "conflicts" / STUDY
    conflict.mkdir()
    (conflict / "1.2.abc.dcm").write_bytes(b"")
    assert "conflicting objects" in purge(settings, older_than_days=0)[-1]
    (conflict / "1.2.abc.dcm").unlink()
    assert purge(settings, older_than_days=0)[0].startswith("1 studies removed")
    assert not any(path.is_file() for name in ("spool", "outbox", "log", "work") for path in (settings.storage.folder / name).rglob("*"))
    written = capfd.readouterr().err
    events = [json.loads(line)["event"] for line in written.splitlines() if line.startswith("{")]
    assert {"association_ended", "analysis_started", "study_answered", "result_delivered"} <= set(events)
    assert "SECRET" not in written.upper()


def test_a_second_node_on_the_same_folder_is_refused(node, settings):
    assert is_running(settings.storage.folder)
    with pytest.raises(BetzError, match="Another node"), only_node(settings.storage.folder):
        pass


def test_sigterm_ends_a_node_cleanly(tmp_path):
    config = tmp_path / "betz.toml"
    config.write_text("[listener]\nport = 0\n[storage]\nfolder = 'data'\nminimum_free_gib = 0\n")
    command = [sys.executable, "-m", "node.command", "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert json.loads(process.stderr.readline())["event"] == "node_started"
        process.terminate()
        rest = process.stderr.read()
        assert process.wait(30) == 0 and json.loads(rest.splitlines()[-1])["event"] == "node_stopped"
    assert not is_running(tmp_path / "data")


def test_half_received_objects_of_a_killed_node_are_swept_at_start(settings, tmp_path, capfd):
    (settings.storage.folder / "incoming").mkdir(parents=True)
    (settings.storage.folder / "incoming" / "1.0.part").write_bytes(b"half")
    stop = threading.Event()
    serve(settings, stop, lambda port: stop.set())
    assert '"swept"' in capfd.readouterr().err and list((settings.storage.folder / "incoming").iterdir()) == []


def test_a_person_can_retry_resend_and_cancel(settings):
    settings.storage.folder.mkdir()
    journal = Journal(settings.storage.folder / JOURNAL)
    Outbox(settings.storage.folder)
    journal.stored(STUDY)
    journal.move(STUDY, (RECEIVING,), READY)
    with pytest.raises(BetzError, match="is ready"):
        resend(settings, STUDY)
    journal.start(STUDY)
    journal.answer(STUDY, "v", "x", ("a.dcm",), ("pacs",), "took too long")
    assert "took too long" in " ".join(why_lines(settings, "3.4"))
    assert "1 objects" in resend(settings, STUDY)[0]
    assert "ready" in retry(settings, STUDY)[0] and journal.study(STUDY).state == READY
    with pytest.raises(BetzError, match="retry --first"):
        retry(settings, STUDY)
    assert "before the others" in retry(settings, STUDY, first=True)[0] and journal.urgent() == {STUDY}
    assert "cancelled" in cancel(settings, STUDY)[0] and journal.urgent() == set()
    assert "betz retry" in " ".join(why_lines(settings, STUDY)) and "1 cancelled" in " ".join(status_lines(settings))
    assert purge(settings, 0)[1] == "Kept: 1 cancelled."


def test_a_failed_study_is_not_purged(settings):
    settings.storage.folder.mkdir()
    journal = Journal(settings.storage.folder / JOURNAL)
    journal.stored(STUDY)
    journal.move(STUDY, (RECEIVING,), FAILED, "crash")
    assert purge(settings, 0)[0].startswith("0 studies removed")


def test_the_check_names_what_is_wrong(settings, pacs):
    assert all(right for right, _ in checks(settings))
    lost = Settings(listener=Listener(port=pacs.peer.port), storage=Storage(settings.storage.folder, 2.0**30),
                    destination=(Destination("archive", "ARCHIVE", "127.0.0.1", 9),))
    wrong = [sentence for right, sentence in checks(lost) if not right]
    assert [sentence.split(":")[0] for sentence in wrong] == ["disk", "listener", "destination archive"]


def test_the_check_says_that_a_peer_asked_for_commitment_cannot_report(settings, pacs):
    asking = replace(settings, destination=(replace(pacs.peer, commitment=True),))
    assert all(right for right, _ in checks(asking)), "on loopback every caller is heard"
    listed = replace(asking, listener=replace(settings.listener, accept=(Accept("SCANNER", "127.0.0.1"),)))
    assert [sentence.split(";")[1] for right, sentence in checks(listed) if not right] == [" list PACS under [[listener.accept]]"]


def test_the_health_check_knows_whether_the_node_answers(node, settings):
    here = Settings(listener=Listener(port=node.port), storage=settings.storage)
    assert list(checks(here, only_listener=True)) == [(True, f"listener: answers C-ECHO on 127.0.0.1, port {node.port}")]
    gone = Settings(storage=Storage(settings.storage.folder / "other", 0.0))
    assert [right for right, _ in checks(gone, only_listener=True)] == [False]


def test_what_was_acknowledged_survives_sigkill(tmp_path, mr):
    """A node is killed while it receives; every object whose sender heard 0000 is whole, and the next node knows its study."""
    config = tmp_path / "betz.toml"
    config.write_text("[listener]\nport = 0\n[storage]\nfolder = 'data'\nminimum_free_gib = 0\n[study]\nquiet_s = 3600\n")
    images, heard = [mr(number=number, seed=number, size=256) for number in range(60)], []
    command = [sys.executable, "-m", "node.command", "serve", "--config", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        port = json.loads(process.stderr.readline())["port"]
        ae = AE("SCANNER")
        ae.add_requested_context(images[0].SOPClassUID, "1.2.840.10008.1.2.1")
        association = ae.associate("127.0.0.1", port, ae_title="BETZ")
        for ds in images:
            if len(heard) == 20:
                threading.Timer(0.05, process.kill).start()
            if not association.is_established or association.send_c_store(ds).get("Status") != 0:
                break
            heard.append(ds)
        process.kill()
    association.abort()
    stop = threading.Event()
    settings = read_settings(config)
    serve(settings, stop, lambda port: stop.set())
    stored = {path.stem: path for path in (settings.storage.folder / "spool" / STUDY).iterdir()}
    assert 20 <= len(heard) < 60 and set(stored) >= {ds.SOPInstanceUID for ds in heard}
    assert all(dcmread(stored[ds.SOPInstanceUID]).PixelData == ds.PixelData for ds in heard)
    assert Journal(settings.storage.folder / JOURNAL).study(STUDY).state == RECEIVING
    assert list((settings.storage.folder / "incoming").iterdir()) == []

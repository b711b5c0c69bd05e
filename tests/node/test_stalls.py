"""A destination that accepts and then stalls, at every step, and one that is away for a day: nothing is lost, nobody else is held."""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import replace

import pytest
from pydicom.uid import generate_uid
from pynetdicom import evt

from node.circuit import FAILURES, is_open
from node.commitment import SOP_CLASS
from node.query import STUDY_ROOT_FIND
from node.records import DELIVERED, PENDING, PROVEN, STORED
from node.settings import Destination

MR, SECONDARY = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7"
STUDY, HOUR_S = "1.2.3.4", 3600.0


@pytest.fixture
def stalling(pacs):
    """A peer that does no more, from a step on, until `over` is set; `reached` says that it is there."""
    over, reached = threading.Event(), threading.Event()

    def start(event, is_it=lambda event: True, answer=None, **more):
        def stall(now):
            if is_it(now) and not over.is_set():
                reached.set()
                over.wait(30)
            return answer
        peer, received = pacs(classes=(MR, SECONDARY, SOP_CLASS, STUDY_ROOT_FIND), handlers=[(event, stall)])
        return replace(peer, **more), received, reached, over
    yield start
    over.set()


def _is_release(event):
    return type(event.pdu).__name__ == "A_RELEASE_RQ"


def _is_data(event):
    return event.data[:1] == b"\x04"


STEPS = {
    "after the connection": (evt.EVT_CONN_OPEN, {}, PENDING, DELIVERED),
    "after A-ASSOCIATE": (evt.EVT_REQUESTED, {}, PENDING, DELIVERED),
    "in P-DATA": (evt.EVT_DATA_RECV, {"is_it": _is_data}, PENDING, DELIVERED),
    "after C-STORE": (evt.EVT_C_STORE, {"answer": 0x0000}, PENDING, DELIVERED),
    "on release": (evt.EVT_PDU_RECV, {"is_it": _is_release}, DELIVERED, DELIVERED),
    "on N-ACTION": (evt.EVT_N_ACTION, {"answer": (0x0000, None), "commitment": True}, STORED, STORED),
}


@pytest.mark.parametrize("step", STEPS)
def test_one_that_stalls_is_let_go_and_holds_no_other(site, stalling, pacs, step):
    event, how, while_it_stalls, when_it_is_over = STEPS[step]
    slow, received, reached, over = stalling(event, **how)
    other, others = pacs(title="ARCHIVE")
    other = replace(other, name="archive")
    site.answer(slow, other)
    thread = threading.Thread(target=site.sender(slow, timeout_s=0.5).step)
    thread.start()
    assert reached.wait(10)
    site.sender(other).step()
    assert len(others) == 2 and set(site.states("archive").values()) == {DELIVERED}
    thread.join(20)
    assert not thread.is_alive() and set(site.states().values()) == {while_it_stalls}
    over.set()
    site.now += HOUR_S
    site.sender(slow).step()
    assert set(site.states().values()) == {when_it_is_over}
    stored = {uid for uid, _, _ in received}
    assert stored == {uid for uid, _, _ in others} or step == "after C-STORE", "that handler keeps no list"


@pytest.mark.parametrize(("step", "may_be_there"), [("after the connection", False), ("after A-ASSOCIATE", False), ("after C-STORE", True)])
def test_what_was_taken_without_an_answer_counts_as_seen(site, stalling, step, may_be_there):
    event, how, *_ = STEPS[step]
    slow, _, _, over = stalling(event, **how)
    site.answer(slow)
    site.sender(slow, timeout_s=0.3).step()
    (answer,) = {row.answer for row in site.journal.results_of(STUDY, PENDING)}
    assert site.journal.latest_seen(STUDY) == (answer if may_be_there else None)
    over.set()


def test_one_that_stalls_on_c_find_is_asked_again(site, pacs):
    over, known = threading.Event(), []

    def find(event):
        from pydicom import Dataset

        over.wait(30)
        for uid in known:
            match = Dataset()
            match.SOPInstanceUID, match.QueryRetrieveLevel = uid, "IMAGE"
            yield 0xFF00, match

    peer, received = pacs(classes=(MR, SECONDARY, STUDY_ROOT_FIND), handlers=[(evt.EVT_C_FIND, find)])
    peer = replace(peer, query=True)
    site.answer(peer)
    sender = site.sender(peer, timeout_s=0.5)
    sender.step()
    assert set(site.states().values()) == {STORED} and site.journal.circuit("pacs").failures == 1
    over.set()
    known += [uid for uid, _, _ in received]
    site.now += HOUR_S
    sender.step()
    assert set(site.states().values()) == {PROVEN} and len(received) == 2


def test_a_listening_port_that_nobody_serves(site):
    """The system accepts the connection; the program behind it hangs."""
    with socket.create_server(("127.0.0.1", 0)) as hung:
        peer = Destination("pacs", "PACS", "127.0.0.1", hung.getsockname()[1])
        site.answer(peer)
        sender = site.sender(peer, timeout_s=0.3)
        for _ in range(FAILURES):
            sender.step()
            site.now += HOUR_S
        assert is_open(site.journal.circuit("pacs")) and sender.step() == 0 and set(site.states().values()) == {PENDING}


@pytest.mark.parametrize("said", [b"\x02", b"\x02\x00\x00\x00\x00\xb8\x00\x01", b"\xff" * 40], ids=["one byte", "a part", "noise"])
def test_half_an_answer_is_no_answer(site, said):
    with socket.create_server(("127.0.0.1", 0)) as half:
        def speak():
            connection, _ = half.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                connection.sendall(said)
                connection.settimeout(20)
                while connection.recv(65536):
                    pass
        threading.Thread(target=speak, daemon=True).start()
        peer = Destination("pacs", "PACS", "127.0.0.1", half.getsockname()[1])
        site.answer(peer)
        thread = threading.Thread(target=site.sender(peer, timeout_s=0.5).step)
        thread.start()
        thread.join(15)
        assert not thread.is_alive() and set(site.states().values()) == {PENDING} and site.journal.circuit("pacs").failures == 1


@pytest.fixture
def studies(site, mr, tmp_path):
    """Answers of one object each, one after the other; returns the SOP Instance UIDs in that order."""
    made = []

    def answer(*peers):
        number = len(made)
        study, ds = f"1.2.3.{100 + number}", mr(study=f"1.2.3.{100 + number}", SOPInstanceUID=generate_uid(entropy_srcs=[str(number)]))
        made.append(str(ds.SOPInstanceUID))
        (site.spool.studies_folder / study).mkdir()
        out = tmp_path / f"out{number}"
        out.mkdir()
        for path in (site.spool.studies_folder / study / "1.dcm", out / "a.dcm"):
            ds.save_as(path, enforce_file_format=True)
        site.answered(study, out, *peers)
        return made
    return answer


def test_one_that_is_away_for_a_day(site, pacs, studies, events):
    """A study an hour, a look at what is due, and another a minute later; the clock is set by hand."""
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        away = Destination("pacs", "PACS", "127.0.0.1", any_socket.getsockname()[1])
    other, others = pacs(title="ARCHIVE")
    other = replace(other, name="archive")
    sender, to_other = site.sender(away), site.sender(other)
    for _ in range(24):
        made = studies(away, other)
        to_other.step()
        assert len(others) == len(made), "the other has each at once"
        for pause_s in (60.0, 59 * 60.0):
            sender.step()
            site.now += pause_s
    waits = [one for one in events("result_waits") if one["destination"] == "pacs"]
    assert 24 <= site.journal.circuit("pacs").failures <= 24 + FAILURES, "called once, whatever waits, and not again a minute later"
    assert len(waits) <= FAILURES * 2 and site.journal.waiting() == {"pacs": 24}
    calls = []
    _, received = pacs(port=away.port, handlers=[(evt.EVT_ACCEPTED, calls.append)])
    assert sender.step() == 24 and [uid for uid, _, _ in received] == made, "all of it, in its order"
    assert len(calls) == 2, "one association for C-ECHO, one for everything"
    assert site.journal.waiting() == {} and {row.state for row in site.journal.all()} == {DELIVERED}


def test_what_waits_for_one_that_is_away_is_given_up_when_its_own_time_is_over(site, studies):
    away = Destination("pacs", "PACS", "127.0.0.1", 9)
    sender = site.sender(away, give_up_h=10.0)
    for _ in range(8):
        studies(away)
        sender.step()
        site.now += 2 * HOUR_S
    left = site.journal.waiting()["pacs"]
    assert 0 < left < 8
    site.now += 11 * HOUR_S
    sender.step()
    assert site.journal.waiting() == {} and all("given up after 10 hours" in row.reason for row in site.journal.all("parked"))

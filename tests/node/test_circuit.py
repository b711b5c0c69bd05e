"""A destination that is away, stalls or chokes on one object: it is left alone, and holds no other."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import pytest
from pynetdicom import evt

from node.circuit import FAILURES, is_open
from node.records import DELIVERED, PARKED, PENDING
from node.settings import Destination
from node.status import status_lines, why_lines

STUDY = "1.2.3.4"


@pytest.fixture
def away():
    """A destination at a port on which nobody listens, yet."""
    with socket.socket() as any_socket:
        any_socket.bind(("127.0.0.1", 0))
        return Destination("pacs", "PACS", "127.0.0.1", any_socket.getsockname()[1])


def _until_open(site, sender):
    for _ in range(FAILURES):
        assert sender.step() > 0
        site.now += 3600
    return site.journal.circuit("pacs")


def test_after_failures_in_a_row_it_is_called_now_and_then_and_gets_everything_when_it_is_back(site, pacs, away):
    site.answer(away)
    sender = site.sender(away)
    circuit = _until_open(site, sender)
    assert is_open(circuit) and circuit.failures == FAILURES and circuit.since == 1000.0
    site.now = circuit.next_try - 0.1
    assert sender.step() == 0 and site.journal.circuit("pacs") == circuit, "not called before its time"
    said = " ".join(status_lines(site.settings(away)))
    assert "pacs is away since" in said and "3 associations failed in a row" in said and "cannot be reached" in said
    site.now = circuit.next_try
    assert site.sender(away).step() == 0 and site.journal.circuit("pacs").failures == FAILURES + 1, "a restart forgets nothing"
    assert 5.0 < site.journal.circuit("pacs").next_try - site.now <= 300.0
    site.now = site.journal.circuit("pacs").next_try
    _, received = pacs(port=away.port)
    assert sender.step() == 2 and len(received) == 2 and set(site.states().values()) == {DELIVERED}
    assert site.journal.circuit("pacs").failures == 0 and "away" not in " ".join(status_lines(site.settings(away)))


def test_it_is_asked_by_c_echo_before_anything_else(site, pacs, away):
    site.answer(away)
    sender = site.sender(away)
    site.now = _until_open(site, sender).next_try
    asked = []
    _, received = pacs(port=away.port, handlers=[(evt.EVT_C_ECHO, lambda event: asked.append(event) or 0xC000)])
    assert sender.step() == 0 and len(asked) == 1 and received == []
    assert set(site.states().values()) == {PENDING} and "did not answer C-ECHO" in site.journal.circuit("pacs").reason


def test_a_clock_that_was_a_year_ahead_delays_nothing(site, pacs, away):
    site.answer(away)
    sender = site.sender(away)
    site.now += 365 * 86400.0
    _until_open(site, sender)
    site.now = 2000.0
    pacs(port=away.port)
    assert sender.step() == 2 and set(site.states().values()) == {DELIVERED}


def test_what_waits_by_a_wrong_clock_is_sent(site, pacs):
    peer, _ = pacs(statuses=(0xA700, 0xA700))
    site.answer(peer)
    site.now += 365 * 86400.0
    site.sender(peer).step()
    site.now = 2000.0
    assert site.sender(peer).step() == 2 and set(site.states().values()) == {DELIVERED}


def test_one_that_stays_away_is_given_up(site, away):
    site.answer(away)
    sender = site.sender(away, give_up_h=24.0)
    _until_open(site, sender)
    for _ in range(4):
        site.now += 6 * 3600.0
        sender.step()
    assert set(site.states().values()) == {PARKED} and "given up after 24 hours" in site.reason(PARKED)
    assert "given up after 24 hours" in " ".join(why_lines(site.settings(away), STUDY))


def test_one_that_stalls_in_a_c_store_holds_no_other(site, pacs):
    """The stalled destination holds its own thread until the time limit; the other has everything before that."""
    reached, let_go = threading.Event(), threading.Event()

    def stall(event):
        reached.set()
        let_go.wait(30)
        return 0x0000

    slow, _ = pacs(handlers=[(evt.EVT_C_STORE, stall)])
    other, received = pacs(title="ARCHIVE")
    other = replace(other, name="archive")
    site.answer(slow, other)
    stalled = threading.Thread(target=site.sender(slow, timeout_s=1.0).step)
    stalled.start()
    assert reached.wait(10)
    site.sender(other).step()
    assert stalled.is_alive() and len(received) == 2 and set(site.states("archive").values()) == {DELIVERED}
    stalled.join(20)
    let_go.set()
    assert not stalled.is_alive() and set(site.states().values()) == {PENDING} and "did not answer" in site.reason(PENDING)


def test_one_that_stops_reading_ends_at_the_time_limit(site, pacs, mr):
    """More than the network holds, to a peer that reads no more of it: the writer is not held for ever."""
    let_go = threading.Event()
    peer, received = pacs(handlers=[(evt.EVT_DATA_RECV, lambda event: event.data[:1] == b"\x04" and let_go.wait(30))])
    site.answer(peer, objects={"a": mr(number=7, size=4096)})
    began = time.monotonic()
    site.sender(peer, timeout_s=1.0).step()
    took_s = time.monotonic() - began
    let_go.set()
    assert took_s < 10 and received == [] and site.states() == {"a.dcm": PENDING}


def test_an_object_that_ends_the_association_holds_no_other(site, pacs, mr):
    bad = mr(number=7).SOPInstanceUID

    def store(event):
        if event.request.AffectedSOPInstanceUID == bad:
            event.assoc.abort()
        return 0x0000

    peer, _ = pacs(handlers=[(evt.EVT_C_STORE, store)])
    site.answer(peer, objects={name: mr(number=7 + index) for index, name in enumerate("abc")})
    site.sender(peer).step()
    assert site.states() == {"a.dcm": PENDING, "b.dcm": DELIVERED, "c.dcm": DELIVERED}
    assert site.journal.circuit("pacs").failures == 0


def test_a_node_that_stops_ends_after_the_object_at_hand(site, pacs, mr):
    peer, received = pacs()
    site.answer(peer, objects={name: mr(number=7 + index) for index, name in enumerate("abc")})
    site.sender(peer).step(lambda: len(received) >= 1)
    assert len(received) == 1 and sorted(site.states().values()) == [DELIVERED, PENDING, PENDING]
    site.sender(peer).step()
    assert len(received) == 3 and set(site.states().values()) == {DELIVERED}

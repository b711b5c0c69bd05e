"""Hostile and broken peers that have an association, and many that are only busy."""

from __future__ import annotations

import queue
import random
import select
import socket
import struct
import threading
import time

import pytest
from pynetdicom import AE
from pynetdicom.association import Association

from node.settings import Listener
from node.sockets import Socket
from node.upper_layer import MonotonicTimer

BY_PROVIDER, NOT_SPECIFIED, UNRECOGNISED, UNEXPECTED, INVALID = 2, 0, 1, 2, 6


def _abort(reason: int) -> bytes:
    return bytes((7, 0, 0, 0, 0, 4, 0, 0, BY_PROVIDER, reason))


@pytest.fixture
def peer(raw_peer):
    """A peer with an open association."""
    return lambda listener: raw_peer(listener.port, sent=raw_peer.module.request()).accepted()


@pytest.fixture
def ended(events, soon):
    """Why the node ended an association: the reasons in the log, one line each."""
    return lambda: [one["reason"] for one in soon(lambda: events("association_aborted"))]


@pytest.fixture
def instance(mr, encoded):
    """The bytes and the SOP Instance UID of an object."""
    def instance(**given):
        ds = mr(**given)
        return encoded(ds), ds.SOPInstanceUID
    return instance


def _incoming(listener) -> list[str]:
    return [path.name for path in listener.spool.incoming.iterdir()]


def test_a_pdu_that_is_not_whole_in_time_ends_the_association(node, peer, raw_peer, instance, ended, soon, costs, given_back):
    """Stock: it is waited for without end."""
    listener = node(pdu_timeout_s=0.5)
    before = costs()
    late = peer(listener).send(raw_peer.module.store(*instance(size=256))[:50000])
    assert late.answer() == _abort(NOT_SPECIFIED)
    assert ended() == ["a PDU was not whole after 0.5 s"]
    late.socket.close()
    soon(lambda: given_back(before))
    assert _incoming(listener) == []


def test_a_pdu_that_drips_ends_the_association(node, peer, ended):
    dripping = peer(node(pdu_timeout_s=0.5)).send(struct.pack(">BxL", 4, 1000))
    while not select.select([dripping.socket], [], [], 0.02)[0]:
        dripping.send(b"\0")
    assert dripping.answer() == _abort(NOT_SPECIFIED)
    assert ended() == ["a PDU was not whole after 0.5 s"]


@pytest.mark.parametrize(("header", "reason", "words"), [
    (struct.pack(">BxL", 4, 0xFFFFFFF0), INVALID, "a PDU of 4294967280 bytes, where 131136 are allowed"),
    (struct.pack(">BxL", 4, 131072 + 65), INVALID, "a PDU of 131137 bytes"),
    (struct.pack(">BxL", 7, 2000), INVALID, "a PDU of 2000 bytes"),
    (struct.pack(">BxL", 9, 4), UNRECOGNISED, "a PDU of the unknown type 09"),
    (b"GET / HTTP/1.1", UNRECOGNISED, "a PDU of the unknown type 47"),
])
def test_a_pdu_that_cannot_be_is_not_read(node, peer, ended, header, reason, words):
    """Stock: reads what is claimed, and says "reason not specified"."""
    assert peer(node()).send(header).answer() == _abort(reason)
    [why] = ended()
    assert words in why


def test_data_before_the_association_is_accepted_is_unexpected(node, raw_peer, ended):
    assert raw_peer(node().port, sent=raw_peer.module.request() + raw_peer.module.ECHO).answer() == _abort(UNEXPECTED)
    assert ended() == ["a PDU or message that may not come here"]


def test_a_pdu_that_cannot_be_understood_ends_the_association(node, peer, ended):
    assert peer(node()).send(struct.pack(">BxLL", 4, 4, 99)).answer() == _abort(INVALID)
    [why] = ended()
    assert "cannot be understood" in why


def test_an_object_larger_than_allowed_ends_the_association(node, peer, raw_peer, instance, ended, soon):
    listener = node(maximum_object_gib=0.001)
    large = peer(listener).send(raw_peer.module.store(*instance(size=1024)))
    assert large.answer() == _abort(NOT_SPECIFIED)
    assert "an object of more than 0.001 GiB" in ended()[0]
    soon(lambda: _incoming(listener) == [])
    assert peer(listener).send(raw_peer.module.store(*instance())).status() == 0


@pytest.mark.parametrize("kind", ["command set", "data set"])
def test_a_message_kept_in_memory_has_a_bound(node, peer, raw_peer, ended, kind):
    """Stock: both grow with what is sent."""
    wire, listener = raw_peer.module, node()
    large = peer(listener)
    if kind == "data set":
        large.send(wire.command(wire.C_FIND, wire.MR_IMAGE, with_data=True))
    for _ in range(40):
        large.send(wire.data(bytes(65000), command=kind == "command set", last=False))
    assert large.answer() == _abort(NOT_SPECIFIED)
    assert ended() == ["a message that is no C-STORE, of more than 1048576 bytes"]


def test_who_does_nothing_is_parted_with(node, peer, ended, soon, costs, given_back):
    listener = node(idle_timeout_s=1.0)
    before = costs()
    idle = peer(listener)
    assert idle.answer()[0] == 7 and idle.answer() == b""
    assert ended() == ["nothing happened on it for 1 s"]
    idle.socket.close()
    soon(lambda: given_back(before))


def test_nobody_is_idle_while_the_node_works_for_him(node, peer, raw_peer, instance):
    """Stock: an association is ended after the answer, because its timer runs while the node stores."""
    listener = node(idle_timeout_s=1.0, on_stored=lambda study: time.sleep(1.5))
    slow = peer(listener).send(raw_peer.module.store(*instance()))
    assert slow.status() == 0
    assert slow.send(raw_peer.module.ECHO).status() == 0


def test_requests_that_nobody_waits_for_do_not_pile_up(node, peer, raw_peer, instance, soon):
    """Stock: all of them are read, each with an open file, while the first is served."""
    gate = threading.Event()
    listener = node(on_stored=lambda study: gate.wait(20))
    hasty = peer(listener).send(b"".join(raw_peer.module.store(*instance(number=number)) for number in range(30)))
    soon(lambda: len(listener.spool.instances("1.2.3.4")) == 1)
    time.sleep(0.3)
    assert len(_incoming(listener)) <= 2  # one is served, one waits
    gate.set()
    assert [hasty.status() for _ in range(30)] == [0] * 30
    assert len(listener.spool.instances("1.2.3.4")) == 30


def test_echo_is_answered_while_twenty_associations_store(node, call, peer, raw_peer, instance):
    listener, enough = node(), threading.Event()
    stored, peers = [0] * 20, [peer(listener) for _ in range(20)]
    messages = [raw_peer.module.store(*instance(study=f"1.2.{number + 1}", size=256)) for number in range(20)]
    everyone_twice = threading.Barrier(21)

    def keep_storing(number):
        while not enough.is_set():
            assert peers[number].send(messages[number]).status() == 0
            stored[number] += 1
            if stored[number] == 2:
                everyone_twice.wait(20)

    threads = [threading.Thread(target=keep_storing, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    everyone_twice.wait(20)
    association = call(listener)
    assert association.send_c_echo().Status == 0
    assert all(thread.is_alive() for thread in threads)
    enough.set()
    for thread in threads:
        thread.join(20)
    assert min(stored) >= 2 and len(listener.spool.studies()) == 20


def test_garbage_and_hang_ups_cost_nothing_for_good(node, call, peer, raw_peer, instance, soon, costs, given_back):
    """Whole, cut, changed and invented bytes after an association; some peers reset the connection instead of closing it."""
    listener, chance = node(pdu_timeout_s=0.5, idle_timeout_s=1.0), random.Random(6)
    before = costs()
    for number in range(60):
        good = bytearray(raw_peer.module.store(*instance(number=number)))
        for _ in range(chance.choice((0, 1, 8))):
            good[chance.randrange(len(good))] = chance.randrange(256)
        broken = chance.choice((bytes(good), bytes(good[:chance.randrange(len(good))]), chance.randbytes(500)))
        caller = peer(listener).send(broken)
        if chance.random() < 0.3:
            caller.answer()
        if chance.random() < 0.5:
            caller.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        caller.socket.close()
    association = call(listener)
    assert association.send_c_echo().Status == 0
    association.release()
    soon(lambda: given_back(before), 30)
    assert _incoming(listener) == []


def test_a_peer_that_takes_no_answer_is_given_up(events):
    """Stock: the thread that sends waits without end."""
    ours, theirs = socket.socketpair()
    association = Association(AE("BETZ"), "acceptor")
    association.requestor.address_info = type("Address", (), {"address": "127.0.0.1"})
    full = Socket(association, ours, b"", send_timeout_s=0.2)
    full.send(bytes(2**24))
    assert [association.dul.event_queue.get(timeout=1) for _ in range(2)] == ["Evt5", "Evt17"]
    assert [one["reason"] for one in events("association_aborted")] == ["the peer took no answer for 0.2 s"]
    full.close()
    full.dismantle()
    theirs.close()
    with pytest.raises(queue.Empty):
        full.event_queue.get(block=False) and full.event_queue.get(block=False)


def test_a_step_of_the_clock_ends_nothing(monkeypatch):
    """Stock: the timers follow the wall clock."""
    timer = MonotonicTimer(60)
    timer.start()
    monkeypatch.setattr(time, "time", lambda: 4e9)
    assert not timer.expired and 59 < timer.remaining <= 60
    timer.timeout = -1
    assert timer.expired
    timer.stop()
    assert timer.expired and MonotonicTimer(None).remaining == 1 and not MonotonicTimer(0).expired


def test_the_defaults_leave_room_for_a_node_that_is_attacked():
    """Fewer associations than connections, from one address as in all: those that wait are what makes room."""
    rules = Listener()
    assert rules.associations_at_once < rules.connections_at_once
    assert rules.associations_per_address < rules.connections_per_address < rules.connections_at_once

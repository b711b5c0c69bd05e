"""Hostile and broken peers before they have an association. What stock pynetdicom does is in each docstring; it was seen with
`AE.start_server` of pynetdicom 3.0.4 on the machine that these tests were written on."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time

import pytest

from node.association import echo
from node.settings import Accept, Destination
from node.transport import allow_descriptors

LOCAL_LIMIT = b"\x03\x00\x00\x00\x00\x04\x00\x02\x03\x02"
ABORTED = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"


def _echo(call, listener, **more) -> bool:
    association = call(listener, **more)
    answered = association.is_established and association.send_c_echo().get("Status") == 0
    association.release()
    return answered


def _memory_mib() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def test_probe_1_peers_that_stop_within_the_first_header_keep_nobody_out(node, call, raw_peer, costs, given_back, soon, events):
    """Stock: with eleven such peers every association is rejected with "local limit exceeded", still so after 36 s; 22 threads stay."""
    listener = node(request_timeout_s=1.0)
    before = costs()
    peers = [raw_peer(listener.port, sent=b"\x01\x00\x00") for _ in range(11)]
    assert _echo(call, listener)
    assert [peer.answer() for peer in peers] == [b""] * 11
    for peer in peers:
        peer.socket.close()
    soon(lambda: given_back(before))
    listener.stop()
    assert sum(one.get("times", 1) for one in events("connection_refused")) == 11
    assert {one["reason"] for one in events("connection_refused")} == {"no association was asked for within 1 s"}


def test_probe_2_a_length_that_nobody_has_is_not_waited_for(node, call, raw_peer, events):
    """Stock: the node's memory grows with what is sent, 60 to 162 MiB for 100 MiB."""
    listener = node()
    before = _memory_mib()
    peer = raw_peer(listener.port, sent=b"\x01\x00\xff\xff\xff\xf0")
    assert peer.answer() == ABORTED
    for _ in range(64):
        peer.send(bytes(2**20))
    assert _memory_mib() - before < 16
    assert _echo(call, listener)
    assert [one["reason"] for one in events("connection_refused")] == ["its association request claims 4294967280 bytes"]


def test_probe_3_a_silent_peer_holds_nobody_up(node, call, raw_peer):
    """Stock: with TLS the one thread that accepts waits for the handshake of a silent peer; that of the next one timed out after 4 s.
    There is one thread here, too, and it waits for nobody."""
    listener = node()
    raw_peer(listener.port)
    assert _echo(call, listener)


def test_probe_4_three_hundred_idle_connections_cost_no_threads(node, call, raw_peer, costs, given_back, soon):
    """Stock: 6 threads become 348, and a real peer is rejected."""
    listener = node(connections_per_address=400, request_timeout_s=3.0)
    before = costs()
    peers = [raw_peer(listener.port) for _ in range(300)]
    assert _echo(call, listener)
    soon(lambda: costs()[0] <= before[0], within_s=1.0)
    assert costs()[1] >= before[1] + 600  # they are all still there, at both ends
    assert {peer.answer() for peer in peers} == {b""}
    for peer in peers:
        peer.socket.close()
    soon(lambda: given_back(before))


def test_a_request_that_drips_is_cut_off(node, call, raw_peer):
    listener = node(request_timeout_s=0.5)
    peer, whole = raw_peer(listener.port), raw_peer.module.request()
    with pytest.raises(OSError):
        for place in range(len(whole)):
            peer.send(whole[place:place + 1])
            time.sleep(0.02)
    assert _echo(call, listener)


def test_a_request_in_pieces_is_accepted(node, raw_peer):
    peer, whole = raw_peer(node().port), raw_peer.module.request()
    for place in range(0, len(whole), 40):
        peer.send(whole[place:place + 40])
        time.sleep(0.01)
    assert peer.accepted().send(raw_peer.module.ECHO).status() == 0


@pytest.mark.parametrize("garbage", [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 200,
    b"\x04\x00\x00\x00\x00\x06\x00\x00\x00\x02\x01\x03",
    b"\x01\x00\x00\x00\x00\x04\x00\x01\x00\x00", b"\x01\x00\x00\x00\x00\x46\x00\x01" + b"\x00" * 66 + b"\x10\x00",
], ids=["TLS", "HTTP", "zeros", "data first", "too short", "half an item"])
def test_what_is_no_request_is_aborted(node, call, raw_peer, events, garbage):
    listener = node()
    assert raw_peer(listener.port, sent=garbage).answer() == ABORTED
    assert len(events("connection_refused")) == 1
    assert _echo(call, listener)


@pytest.mark.parametrize("context", [
    b"\1\0\0\0" + b"\x40\0\0\x11" + b"1.2.840.10008.1.2", b"\1\0\0\0" + b"\x30\0\0\x11" + b"1.2.840.10008.1.1", b"\1\0\0\0", b"",
    b"\2\0\0\0" + b"\x30\0\0\x11" + b"1.2.840.10008.1.1" + b"\x40\0\0\x11" + b"1.2.840.10008.1.2",
], ids=["no abstract syntax", "no transfer syntax", "neither", "nothing", "an even number"])
def test_a_context_that_is_not_whole_is_aborted_and_leaves_nothing(node, call, raw_peer, events, costs, given_back, soon, context):
    """Stock: the thread of the association fails; connection and second thread stay as long as the peer likes, and nobody counts them."""
    listener = node()
    before, good = costs(), raw_peer.module.request()
    content = good[6:] + b"\x20\0" + len(context).to_bytes(2, "big") + context
    peer = raw_peer(listener.port, sent=raw_peer.module.pdu(1, content))
    assert peer.answer() == ABORTED
    assert "presentation context" in events("connection_refused")[0]["reason"]
    peer.socket.close()
    soon(lambda: given_back(before))
    assert _echo(call, listener)


def test_user_information_that_the_library_cannot_read_is_aborted(node, call, raw_peer, events):
    """Stock: the thread of the connection fails, and the peer hears nothing. Here an identity of a kind that is not defined."""
    listener = node()
    item = b"\x58\0\0\7" + b"\x09\1\0\1u\0\0"
    content = raw_peer.module.request()[6:]
    user = content.index(b"\x50\0", 68)
    length = int.from_bytes(content[user + 2:user + 4], "big") + len(item)
    peer = raw_peer(listener.port, sent=raw_peer.module.pdu(1, content[:user + 2] + length.to_bytes(2, "big") + content[user + 4:] + item))
    assert peer.answer()[0] == 7
    assert "cannot be understood" in events("association_aborted")[0]["reason"]
    assert _echo(call, listener)


@pytest.mark.parametrize(("given", "source", "codes", "reason"), [
    ({"calling": "OTHER"}, "127.0.0.1", (1, 1, 3), "accepted callers"),
    ({}, "127.0.0.2", (1, 1, 3), "accepted callers"),
    ({"called": "OTHER"}, "127.0.0.1", (1, 1, 7), "called AE title"),
    ({"application": "1.2.3"}, "127.0.0.1", (1, 1, 2), "application context"),
    ({"version": 2}, "127.0.0.1", (1, 2, 2), "protocol version"),
])
def test_who_may_not_come_in_hears_why(node, raw_peer, events, costs, given, source, codes, reason):
    """Stock: any application context is accepted, and no address is looked at."""
    listener = node(accept=(Accept("SCANNER", "127.0.0.1"),))
    before = costs()[0]
    peer = raw_peer(listener.port, source, raw_peer.module.request(**given))
    assert peer.answer() == bytes((3, 0, 0, 0, 0, 4, 0, *codes)) and peer.answer() == b""
    assert costs()[0] == before
    [line] = events("association_rejected")
    assert reason in line["reason"] and (line["address"], line["calling"]) == (source, given.get("calling", "SCANNER"))


def test_the_oldest_silent_connection_of_an_address_makes_room(node, raw_peer, events):
    listener = node(connections_per_address=3)
    held = raw_peer(listener.port, sent=raw_peer.module.request()).accepted()
    other = raw_peer(listener.port, "127.0.0.2")
    peers = [raw_peer(listener.port) for _ in range(3)]
    assert peers[0].answer() == b"" and len(events("connection_refused")) == 1
    for peer in (*peers[1:], other):
        assert peer.send(raw_peer.module.request()).accepted()
    assert held.send(raw_peer.module.ECHO).status() == 0
    assert raw_peer(listener.port).answer() == b""  # three associations: none is closed for a newcomer
    assert held.send(raw_peer.module.ECHO).status() == 0


def test_the_oldest_silent_connection_of_all_makes_room(node, raw_peer):
    listener = node(connections_at_once=3)
    peers = [raw_peer(listener.port, f"127.0.0.{number}") for number in (2, 3, 4, 5)]
    assert peers[0].answer() == b""
    assert all(peer.send(raw_peer.module.request()).accepted() for peer in peers[1:])


@pytest.mark.parametrize(("caps", "other"), [({"associations_at_once": 2}, False), ({"associations_per_address": 2}, True)])
def test_too_many_associations_are_a_transient_rejection(node, call, raw_peer, events, soon, caps, other):
    listener, request = node(**caps), raw_peer.module.request()
    peers = [raw_peer(listener.port, sent=request).accepted() for _ in range(2)]
    assert raw_peer(listener.port, sent=request).answer() == LOCAL_LIMIT
    assert raw_peer(listener.port, "127.0.0.2", request).answer()[0] == (2 if other else 3)
    assert "as many associations as allowed are open" in events("association_rejected")[0]["reason"]
    assert peers[0].send(raw_peer.module.RELEASE).answer()[0] == 6
    soon(lambda: _echo(call, listener))


def test_refused_peers_that_do_not_hang_up_are_no_associations(node, call, raw_peer):
    listener = node(associations_at_once=1)
    wrong = raw_peer.module.request(called="OTHER")
    peers = [raw_peer(listener.port, sent=wrong) for _ in range(20)]
    assert all(peer.answer()[0] == 3 for peer in peers)
    assert _echo(call, listener)


def test_beyond_1024_file_descriptors(node):
    """Stock: `select` raises ValueError for such a descriptor, and the connection is closed without an answer.
    One peer is a process of its own; the other is the node itself, which calls itself as `betz check` does."""
    listener = node()
    opened = [os.open(os.devnull, os.O_RDONLY)]
    try:
        while opened[-1] <= 1100:
            opened.append(os.dup(opened[0]))
        peer = [sys.executable, "-m", "pynetdicom", "echoscu", "127.0.0.1", str(listener.port), "-aec", "BETZ", "-v"]
        said = subprocess.run(peer, capture_output=True, text=True, timeout=60)
        echo(Destination("self", "BETZ", "127.0.0.1", listener.port), "BETZ", 10)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    assert "Received Echo Response (Status: 0x0000 - Success)" in said.stderr + said.stdout


def test_the_node_may_open_as_many_files_as_the_system_allows():
    now, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, hard), hard))
        allow_descriptors(at_most=4096)
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(4096, hard), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (now, hard))


def test_without_a_descriptor_left_the_oldest_silent_connection_makes_room(node, raw_peer, events, costs, soon):
    """Stock: `accept` fails, the connection stays in its queue, and the loop turns as fast as it can: 1.85 s of a core in 2 s."""
    listener = node()
    late, before = raw_peer.module.socket.socket(), costs()[1]
    silent = raw_peer(listener.port)
    soon(lambda: costs()[1] == before + 2)
    late.settimeout(15)
    limits, filled = resource.getrlimit(resource.RLIMIT_NOFILE), []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(int(name) for name in os.listdir("/proc/self/fd")) + 1, limits[1]))
        with pytest.raises(OSError):
            while True:
                filled.append(os.open(os.devnull, os.O_RDONLY))
        late.connect(("127.0.0.1", listener.port))
        late.sendall(raw_peer.module.request())
        assert silent.answer() == b""  # it made room
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for descriptor in filled:
            os.close(descriptor)
    assert late.recv(1) == b"\x02"
    late.close()
    assert len(events("connections_wait")) == 1

"""What comes over a connection is held until it is read, in whatever pieces it comes, plain or over TLS."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import time
import weakref
from types import SimpleNamespace

import pytest
import trustme
from pynetdicom import AE
from pynetdicom.association import Association

from node.sockets import Socket
from node.tls import Endpoint


def _plain():
    return socket.socketpair()


def _over_tls():
    """Both ends of a TLS connection, handshake done."""
    authority, ends = trustme.CA(), socket.socketpair()
    ours, theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.sslsocket_class = Endpoint
    authority.issue_cert("node.example").configure_cert(ours)
    authority.configure_trust(theirs)
    made = SimpleNamespace()
    peer = threading.Thread(target=lambda: setattr(made, "end", theirs.wrap_socket(ends[1], server_hostname="node.example")))
    peer.start()
    end = ours.wrap_socket(ends[0], server_side=True)
    peer.join(20)
    return end, made.end


@pytest.fixture(params=[_plain, _over_tls], ids=["plain", "TLS"])
def ends(request):
    """Our `Socket` that holds the bytes given, and the peer's end."""
    opened = []

    def connect(held=b""):
        ours, theirs = request.param()
        association = Association(AE("BETZ"), "acceptor")
        opened.extend((Socket(association, ours, held, send_timeout_s=5), theirs))
        return opened[-2:]

    yield connect
    for one in opened:
        one.close()
        if isinstance(one, Socket):
            one.dismantle()


def _take_all(ours: Socket, count: int) -> None:
    """A part of a TLS record wakes, but is nothing yet."""
    until = time.monotonic() + 20
    while len(ours.held) < count:
        ours.take(5000)
        assert time.monotonic() < until


def test_nothing_is_lost_whatever_the_pieces(ends):
    chance = random.Random(2)
    content = chance.randbytes(2**21)
    ours, theirs = ends(content[:1000])
    sender = threading.Thread(target=theirs.sendall, args=(content[1000:],))
    sender.start()
    got = bytearray()
    while len(got) < len(content):
        wanted = min(chance.choice((1, 6, 4096, 131078, 300000)), len(content) - len(got))
        _take_all(ours, wanted)
        got += ours.recv(wanted)
    sender.join(20)
    assert got == content and len(ours.held) == 0 and ours.recv(5) == b""


def test_it_is_ready_as_long_as_there_is_something_to_take(ends):
    """TLS takes a whole record from the connection, however little is asked for."""
    ours, theirs = ends()
    assert not ours.ready and not ours.take(0) and not ours.wait(1)
    theirs.sendall(bytes(16000))
    assert ours.wait(5000) and ours.ready
    ours._room = memoryview(bytearray(100))
    _take_all(ours, 100)
    ours.pass_over(100)
    assert ours.ready and ours.wait(0)
    _take_all(ours, 15900)
    ours.pass_over(15900)
    assert not ours.ready


def test_a_wait_ends_when_there_is_something_else_to_do(ends):
    ours, _ = ends()
    ours.wake()
    assert not ours.wait(20000)
    ours.wake()
    assert not ours.wait(20000, for_peer=False)


def test_a_peer_that_hangs_up_is_told_apart_from_one_that_is_silent(ends):
    ours, theirs = ends()
    assert not ours.take(1)
    theirs.close()
    with pytest.raises(OSError, match="hung up"):
        _take_all(ours, 1)


def test_an_answer_goes_out_though_the_peer_reads_late(ends):
    ours, theirs = ends()
    got = bytearray()

    def read():
        while len(got) < 2**22:
            got.extend(theirs.recv(65536))

    reader = threading.Thread(target=read)
    reader.start()
    ours.send(b"x" * 2**22)
    reader.join(20)
    assert len(got) == 2**22


def test_its_memory_goes_back_when_nobody_reads_from_it_any_more(ends):
    ours, _ = ends(b"half of a PDU")
    room = weakref.ref(ours._room.obj)
    ours.dismantle()
    assert room() is None and bytes(ours.held) == b""

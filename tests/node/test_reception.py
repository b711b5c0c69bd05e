"""Both ways in which a C-STORE is received: the short one, and the library's; what is stored and said is the same."""

from __future__ import annotations

import random
import struct

import pytest
from pydicom import dcmread
from pynetdicom import evt

ABORTED_INVALID = bytes((7, 0, 0, 0, 0, 4, 0, 0, 2, 6))


@pytest.fixture
def image(mr, encoded):
    def image(number=1, **given):
        ds = mr(number=number, **given)
        return encoded(ds), ds.SOPInstanceUID
    return image


@pytest.fixture
def watched(node):
    """A node, and the messages that came the library's way."""
    def start(**more):
        listener, seen = node(**more), []
        listener._server.bind(evt.EVT_DIMSE_RECV, lambda event: seen.append(type(event.message).__name__))
        return listener, seen
    return start


@pytest.fixture
def peer(raw_peer):
    """A peer with an open association; `at_most` is the length of PDUs that it takes."""
    def open_one(listener, at_most=16384):
        request = raw_peer.module.request().replace(struct.pack(">L", 16384), struct.pack(">L", at_most))
        return raw_peer(listener.port, sent=request).accepted()
    return open_one


def _value(content: bytes, control: int, context: int = 3) -> bytes:
    return struct.pack(">LBB", len(content) + 2, context, control) + content


def _values(pdus: bytes) -> list[bytes]:
    """The content of each PDU."""
    found = []
    while pdus:
        end = 6 + int.from_bytes(pdus[2:6], "big")
        found.append(pdus[6:end])
        pdus = pdus[end:]
    return found


def _contents(listener):
    return {path.stem: path.read_bytes() for path in listener.spool.instances("1.2.3.4")}


def _is_empty(listener):
    return list(listener.spool.incoming.iterdir()) == [] and listener.spool.studies() == []


def test_a_request_comes_the_short_way_and_an_odd_one_the_library_s(watched, peer, raw_peer, image):
    """Command set in two fragments; a peer that takes no PDU in which an answer has room. Same files, same answers."""
    wire, data, instance = raw_peer.module, *image(size=64)
    usual, answers, files = wire.store(data, instance), [], []
    command = _values(usual)[0][6:]
    in_two = wire.data(command[:40], command=True, last=False) + wire.data(command[40:], command=True) + usual[len(wire.data(command)):]
    for sent, at_most, way in ((usual, 16384, []), (usual, 0, []), (in_two, 16384, ["C_STORE_RQ"]), (usual, 64, ["C_STORE_RQ"])):
        listener, seen = watched()
        caller = peer(listener, at_most).send(sent)
        answers.append(caller.answer())
        files.append(_contents(listener))
        assert seen == way
        listener.spool.remove("1.2.3.4")
        if at_most == 64:
            assert len(answers[-1]) <= 64 + 6
    assert answers[0] == answers[1] == answers[2] and files[0] == files[1] == files[2] == files[3]
    assert dcmread(_written(listener, files[0])).SOPInstanceUID == instance


def _written(listener, files):
    path = listener.spool.incoming / "one.dcm"
    path.write_bytes(next(iter(files.values())))
    return path


def _whole_answer(caller):
    """The command set of an answer that may come in pieces."""
    said = [caller.answer()]
    while not said[-1][11] & 2:
        said.append(caller.answer())
    return b"".join(one[12:] for one in said)


@pytest.mark.parametrize("way", ["short", "the library's"])
def test_what_is_refused_is_refused_either_way(watched, peer, raw_peer, image, way):
    wire, data, instance = raw_peer.module, *image()
    listener, seen = watched()
    caller = peer(listener, 16384 if way == "short" else 64)
    expected = [(data[:-1], instance, 0xC000), (b"a letter", "1.2.3", 0xC000), (data, "1.2.3", 0xA900), (data, instance, 0)]
    for content, name, status in expected:
        caller.send(wire.store(content, name))
        assert b"\0\0\0\x09\x02\0\0\0" + status.to_bytes(2, "little") in _whole_answer(caller)
    assert bool(seen) == (way != "short") and len(_contents(listener)) == 1


def test_messages_that_share_a_pdu_are_all_received(watched, peer, raw_peer, image):
    """Two stores and an echo between them in one PDU; then a store after the echo."""
    wire, listener = raw_peer.module, watched()[0]
    first, second = (b"".join(_values(wire.store(*image(number)))) for number in (1, 2))
    caller = peer(listener).send(wire.pdu(4, first + second))
    assert [caller.status(), caller.status()] == [0, 0]
    third = b"".join(_values(wire.store(*image(3))))
    caller.send(wire.pdu(4, third + _values(wire.ECHO)[0]))
    assert [caller.status(), caller.status()] == [0, 0]
    caller.send(wire.pdu(4, _values(wire.ECHO)[0]) + wire.store(*image(4)))
    assert [caller.status(), caller.status()] == [0, 0]
    assert len(_contents(listener)) == 4


def test_data_may_come_in_any_pieces(watched, peer, raw_peer, image):
    wire, chance, listener = raw_peer.module, random.Random(4), watched()[0]
    data, instance = image(size=64)
    caller = peer(listener).send(wire.command(wire.C_STORE, wire.MR_IMAGE, instance, with_data=True))
    place = 0
    while place < len(data):
        pieces = [data[place:(place := place + chance.randint(0, 900))] for _ in range(chance.randint(1, 5))]
        caller.send(wire.pdu(4, b"".join(_value(piece, 0) for piece in pieces)))
    caller.send(wire.pdu(4, _value(b"", 2)))
    assert caller.status() == 0
    assert next(iter(_contents(listener).values())).endswith(data)


@pytest.mark.parametrize("broken", [
    _value(b"\0" * 10, 3), _value(b"\0" * 10, 0, context=1), b"\0\0\0\x09\x03\x00", b"\0\0", b"\0\0\0\x01\x03",
], ids=["a command within the data", "another context", "longer than its PDU", "no header", "too short"])
def test_what_may_not_come_within_an_object_ends_the_association_and_leaves_nothing(watched, peer, raw_peer, image, soon, events, broken):
    wire, listener = raw_peer.module, watched()[0]
    data, instance = image()
    caller = peer(listener).send(wire.command(wire.C_STORE, wire.MR_IMAGE, instance, with_data=True) + wire.data(data[:50], last=False))
    soon(lambda: len(list(listener.spool.incoming.iterdir())) == 1)
    assert caller.send(wire.pdu(4, broken)).answer() == ABORTED_INVALID
    soon(lambda: _is_empty(listener))
    assert len(events("association_aborted")) == 1


@pytest.mark.parametrize("method", ["begin", "commit"])
def test_a_node_that_fails_is_no_success(watched, peer, raw_peer, image, soon, events, method):
    """Something that nobody foresaw: the sender hears no 0000, and what failed is said without what it was about."""
    def fails(*arguments):
        raise RuntimeError("Secret^Patient")

    wire, listener = raw_peer.module, watched()[0]
    caller = peer(listener)
    setattr(listener.spool, method, fails)
    caller.send(wire.store(*image()))
    if method == "begin":
        assert caller.answer()[0] == 7
    else:
        assert caller.status() == 0x0110
    [line] = soon(lambda: events("association_aborted" if method == "begin" else "instance_refused"))
    assert "the node failed (RuntimeError" in line["reason"] and "Secret" not in str(line)
    soon(lambda: _is_empty(listener))
    del listener.spool.__dict__[method]
    assert peer(listener).send(wire.store(*image())).status() == 0


@pytest.mark.parametrize("how", ["hangs up", "aborts", "releases", "starts another"])
def test_an_object_that_is_not_finished_leaves_nothing(watched, peer, raw_peer, image, soon, how):
    wire, listener = raw_peer.module, watched()[0]
    data, instance = image()
    begun = wire.command(wire.C_STORE, wire.MR_IMAGE, instance, with_data=True)
    caller = peer(listener).send(begun + wire.data(data[:50], last=False))
    soon(lambda: len(list(listener.spool.incoming.iterdir())) == 1)
    if how == "hangs up":
        caller.socket.close()
    else:
        caller.send({"aborts": b"\x07\0\0\0\0\x04\0\0\0\0", "releases": wire.RELEASE, "starts another": begun}[how])
    soon(lambda: _is_empty(listener))


def test_a_class_that_was_not_agreed_on_is_not_stored(watched, peer, raw_peer, image, soon):
    """The command names another class than its context, or a context that there is not."""
    wire = raw_peer.module
    data, instance = image()
    listener = watched()[0]
    for context, sop_class in ((3, "1.2.840.10008.5.1.4.1.1.2"), (5, wire.MR_IMAGE)):
        command = _values(wire.command(wire.C_STORE, sop_class, instance, with_data=True))[0][6:]
        caller = peer(listener).send(wire.pdu(4, _value(command, 3, context)) + wire.pdu(4, _value(data, 2, context)))
        said = caller.answer()
        assert said[0] == 7 or (said[0] == 4 and b"\0\0\0\x09\x02\0\0\0\0\0" not in said)
        caller.socket.close()
        soon(lambda: _is_empty(listener))

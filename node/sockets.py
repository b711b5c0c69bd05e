"""The sockets of associations: they wait no longer than they are told, whatever their file descriptor.

pynetdicom 3.0.4 asks `select` whether a socket has something to read; from file descriptor 1024 on that raises ValueError, and the
association ends (seen). It reads in pieces of 4,096 bytes, waits in `recv` and `send` without end, and closes no descriptor where the
peer was first to hang up (its source).
"""

from __future__ import annotations

import contextlib
import mmap
import select
import socket
import time

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from node.log import log
from node.tls import Endpoint

_ROOM = 2**18  # bytes; grows where a PDU may be longer
_RINGS = 1024  # bytes; as many as may have been rung


class PolledSocket(AssociationSocket):
    """The library's socket of a caller, but its file descriptor may be 1024 or more."""

    @property
    def ready(self) -> bool:
        if self.socket is None or not self._is_connected:
            return False
        poll = select.poll()
        try:
            poll.register(self.socket, select.POLLIN)
        except (OSError, ValueError):  # closed
            self.event_queue.put("Evt17")
            return False
        return self.socket.is_ready() if isinstance(self.socket, Endpoint) else bool(poll.poll(0))


def use_poll(event: evt.Event) -> None:
    """For EVT_CONN_OPEN of a caller: `AE.associate` makes its socket itself and takes no other."""
    event.assoc.dul.socket.__class__ = PolledSocket


class Socket(AssociationSocket):
    """A socket that never waits for the peer longer than it is told, whatever its file descriptor. What comes is written to one place."""

    def __init__(self, association: Association, connection: socket.socket, held: bytes, send_timeout_s: float) -> None:
        super().__init__(association, client_socket=connection)
        connection.setblocking(False)
        self._room = _room(max(_ROOM, len(held)))
        self._room[:len(held)] = held
        self._first, self._end = 0, len(held)
        self._send_timeout_s = send_timeout_s
        self._bell, self._button = socket.socketpair()
        self._bell.setblocking(False)
        self._button.setblocking(False)
        self._readable, self._writable, self._rung, self._either = (select.poll() for _ in range(4))
        for poll, heard in ((self._readable, (connection,)), (self._rung, (self._bell,)), (self._either, (connection, self._bell))):
            for one in heard:
                poll.register(one, select.POLLIN)
        self._writable.register(connection, select.POLLOUT)

    @property
    def held(self) -> memoryview:
        """The bytes not yet read as a PDU; to be looked at before more is taken."""
        return self._room[self._first:self._end]

    def pass_over(self, count: int) -> None:
        """So many of those that are held were read."""
        self._first += count

    @property
    def ready(self) -> bool:
        return self._is_open() and (self._end > self._first or self._has_pending() or bool(self._readable.poll(0)))

    def _has_pending(self) -> bool:
        """TLS took more from the connection than was asked of it."""
        return isinstance(self.socket, Endpoint) and self.socket.pending() > 0

    def _is_open(self) -> bool:
        if self.socket is None or not self._is_connected:
            return False
        if self.socket.fileno() < 0:  # closed by the thread of the association
            self.event_queue.put("Evt17")
            return False
        return True

    def wait(self, wait_ms: int, for_peer: bool = True) -> bool:
        """Sleep until the peer sent something (where that is waited for: True), or `wake` is called."""
        if for_peer and self._has_pending():
            return True
        heard = [descriptor for descriptor, _ in (self._either if for_peer else self._rung).poll(wait_ms)]
        if self._bell.fileno() in heard:
            heard.remove(self._bell.fileno())
            with contextlib.suppress(OSError):
                self._bell.recv(_RINGS)
        return bool(heard)

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full: rung often enough; closed: nobody sleeps
            self._button.send(b"!")

    def dismantle(self) -> None:
        """Nobody sleeps on it or reads from it any more."""
        self._bell.close()
        self._button.close()
        self._room, self._first, self._end = memoryview(b""), 0, 0

    def take(self, wait_ms: int) -> bool:
        """Hold what has come; False where nothing came. ConnectionError where the peer hung up."""
        self._make_room()
        try:
            count = self.socket.recv_into(self._room[self._end:])
        except BlockingIOError:
            return wait_ms > 0 and self.wait(wait_ms) and self.take(0)
        if not count:
            raise ConnectionError("the peer hung up")
        self._end += count
        return True

    def _make_room(self) -> None:
        held = self._end - self._first
        if not held:
            self._first = self._end = 0
        elif self._end == len(self._room):
            room = self._room if self._first else _room(2 * held)
            room[:held] = self._room[self._first:self._end]
            self._room, self._first, self._end = room, 0, held

    def recv(self, nr_bytes: int) -> bytes:
        """The library asks only for what is held."""
        taken = bytes(self.held[:nr_bytes])
        self.pass_over(len(taken))
        return taken

    def send(self, bytestream: bytes) -> None:
        try:
            self._send_all(memoryview(bytestream))
            evt.trigger(self.assoc, evt.EVT_DATA_SENT, {"data": bytestream})
        except TimeoutError:
            log("association_aborted", **peer_of(self.assoc), reason=f"the peer took no answer for {self._send_timeout_s:g} s")
            self.event_queue.put("Evt17")
        except (OSError, AttributeError):
            self.event_queue.put("Evt17")

    def _send_all(self, rest: memoryview) -> None:
        until = time.monotonic() + self._send_timeout_s
        while rest:
            with contextlib.suppress(BlockingIOError):
                rest = rest[self.socket.send(rest):]
                continue
            left_ms = int((until - time.monotonic()) * 1000)
            if left_ms <= 0 or not self._writable.poll(left_ms):
                raise TimeoutError

    def _shutdown_socket(self) -> None:
        """The library leaves the descriptor open where the peer was first to hang up."""
        if endpoint := self.socket:
            with contextlib.suppress(OSError):
                endpoint.shutdown(socket.SHUT_RDWR)
            endpoint.close()


def _room(size: int) -> memoryview:
    """Memory that goes back to the system when nobody holds it: that of a thousand associations would leave the heap full of holes."""
    return memoryview(mmap.mmap(-1, size))


def peer_of(association: Association) -> dict[str, str]:
    """Who it is, for the log."""
    return {"calling": association.requestor.ae_title, "address": association.requestor.address}

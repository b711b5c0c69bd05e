"""The sockets of associations: they wait no longer than they are told, whatever their file descriptor.

pynetdicom 3.0.4 asks `select` whether a socket has something to read; from file descriptor 1024 on that raises ValueError, and the
association ends (seen). It reads in pieces of 4,096 bytes, waits in `recv` and `send` without end, and closes no descriptor where the
peer was first to hang up (its source).
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import time

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.transport import AssociationSocket

from node.log import log

_CHUNK = 2**17
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
        return bool(poll.poll(0)) or (isinstance(self.socket, ssl.SSLSocket) and self.socket.pending() > 0)


def use_poll(event: evt.Event) -> None:
    """For EVT_CONN_OPEN of a caller: `AE.associate` makes its socket itself and takes no other."""
    event.assoc.dul.socket.__class__ = PolledSocket


class Socket(AssociationSocket):
    """A socket that never waits for the peer longer than it is told, whatever its file descriptor. `held`: bytes not yet read as a PDU."""

    def __init__(self, association: Association, connection: socket.socket, held: bytes, send_timeout_s: float) -> None:
        super().__init__(association, client_socket=connection)
        connection.setblocking(False)
        self.held = bytearray(held)
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
    def ready(self) -> bool:
        return self._is_open() and bool(self.held or self._readable.poll(0))

    def _is_open(self) -> bool:
        if self.socket is None or not self._is_connected:
            return False
        if self.socket.fileno() < 0:  # closed by the thread of the association
            self.event_queue.put("Evt17")
            return False
        return True

    def wait(self, wait_ms: int, for_peer: bool = True) -> None:
        """Sleep until the peer sent something (where that is waited for), or `wake` is called."""
        heard = (self._either if for_peer else self._rung).poll(wait_ms)
        if any(descriptor == self._bell.fileno() for descriptor, _ in heard):
            with contextlib.suppress(OSError):
                self._bell.recv(_RINGS)

    def wake(self) -> None:
        with contextlib.suppress(OSError):  # full: rung often enough; closed: nobody sleeps
            self._button.send(b"!")

    def dismantle(self) -> None:
        """Nobody sleeps on it any more."""
        self._bell.close()
        self._button.close()

    def take(self, wait_ms: int) -> bool:
        """Hold what has come; False where nothing came. ConnectionError where the peer hung up."""
        try:
            chunk = self.socket.recv(_CHUNK)
        except BlockingIOError:
            if wait_ms:
                self.wait(wait_ms)
                return bool(self._readable.poll(0)) and self.take(0)
            return False
        if not chunk:
            raise ConnectionError("the peer hung up")
        self.held += chunk
        return True

    def recv(self, nr_bytes: int) -> bytearray:
        """The library asks only for what is held."""
        taken = self.held[:nr_bytes]
        del self.held[:nr_bytes]
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


def peer_of(association: Association) -> dict[str, str]:
    """Who it is, for the log."""
    return {"calling": association.requestor.ae_title, "address": association.requestor.address}

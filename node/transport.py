"""Transport connections: accepted, capped, and heard until they ask for an association; only then they get threads.

One thread looks after every connection that is no association yet (PS3.8 state 2) or that was refused and has not hung up (state 13).
A connection that asks for nothing in time is closed; one that sends anything but an A-ASSOCIATE-RQ is aborted; a caller that may not
come in hears why (PS3.8 9.3.4). Each is said in the log (`refusals`). Where there are too many, in all or from one address, the oldest
that has not asked yet makes room: an association is never closed for a newcomer. A TLS handshake is a part of that time: it goes on as
bytes come, in the same loop, and a caller without a certificate that is believed does not get past it.

What pynetdicom 3.0.4 does instead, seen on a plain `AE.start_server`: eleven connections that send three bytes and stop keep everyone
else out for good, as their threads wait in recv() and count as associations; a PDU that claims 4 GiB is read as far as the sender goes;
300 silent connections take 600 threads; too many open files end in a loop that uses a whole core.
"""

from __future__ import annotations

import contextlib
import errno
import resource
import selectors
import socket
import ssl
import threading
import time
from typing import Any

from pynetdicom.association import Association
from pynetdicom.transport import AssociationServer

from node.admission import (
    ABORTED_BY_USER,
    ABOUT_IDENTITY,
    REQUEST_AT_MOST,
    TOO_MANY,
    TOO_MANY_OF_ADDRESS,
    Rejection,
    Request,
    rejection_of,
    request_of,
)
from node.certificates import Identity
from node.log import log, unforeseen
from node.refusals import Refusals
from node.settings import Listener
from node.tls import HANDSHAKE, Credentials, Endpoint, reason_of

HANG_UP_S = 5.0  # how long a peer that was refused or aborted may take to close: the ARTIM timer of PS3.8 9.1.5
ANSWER_AFTER_S = 0.05  # pynetdicom as the caller takes an answer that comes at once for a connection that failed
_CHUNK = 2**16
_AT_ONCE = 64  # connections taken before those that wait are heard again
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


def allow_descriptors(at_most: int = 2**16) -> None:
    """Let this process open as many files as the system allows it; what it may open at first is 1,024 on many."""
    now, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = at_most if hard == resource.RLIM_INFINITY else min(hard, at_most)
    if now != resource.RLIM_INFINITY and now < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Connection:
    """A connection that is no association: what it sent so far, and until when it may stay."""

    def __init__(self, endpoint: socket.socket, peer: tuple, until: float, credentials: Credentials | None = None) -> None:
        self.endpoint, self.peer, self.until = endpoint, peer, until
        self.number = endpoint.fileno()
        self.credentials = credentials  # where a TLS handshake is still to be done
        self.identity: Identity | None = None
        self.address: str = peer[0]
        self.received = bytearray()
        self.refused = False
        self.answer: bytes | None = None


class _Contexts(list):
    """The contexts that the node takes. Negotiation only reads them, so associations share them: a copy for each takes the library 1 ms."""

    def __deepcopy__(self, _: dict) -> _Contexts:
        return self


class Server(AssociationServer):
    """The library's server with one loop of its own. `rules` are the settings of the listener.

    With `credentials` its port is for TLS, and `plain_port`, where the rules name one, for callers without.
    """

    request_queue_size = 256

    def __init__(self, *arguments: Any, rules: Listener, credentials: Credentials | None = None, **more: Any) -> None:
        self.rules, self.credentials = rules, credentials
        self._associations: list[Association] = []
        self._connections: dict[int, Connection] = {}
        self._selector = selectors.DefaultSelector()
        self._stopping = self._is_short = False
        self._over = threading.Event()
        self.refusals = Refusals()
        super().__init__(*arguments, **more)
        self.contexts = _Contexts(self.contexts)
        self.socket.setblocking(False)
        self._plain = self._plain_door()

    def _plain_door(self) -> socket.socket | None:
        if not self.rules.plain_port:
            return None
        door = socket.socket(self.address_family)
        try:
            door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            door.bind((self.server_address[0], self.rules.plain_port))
            door.listen(self.request_queue_size)
        except OSError:
            self.socket.close()
            door.close()
            raise
        door.setblocking(False)
        return door

    # --- the loop

    def serve_forever(self, poll_interval: float = 0.2) -> None:
        for door in filter(None, (self.socket, self._plain)):
            self._selector.register(door, selectors.EVENT_READ)
        try:
            while not self._stopping:
                for key, _ in self._selector.select(poll_interval):
                    self._attend(key.data, key.fileobj)
                self._look_at_clock()
        finally:
            for connection in list(self._connections.values()):
                self._close(connection)
            self._selector.close()
            self.refusals.tell_due(everything=True)
            self._over.set()

    def shutdown(self) -> None:
        """Take no more connections; associations go on."""
        self._stopping = True
        self._over.wait()
        self.server_close()
        if self._plain:
            self._plain.close()
        with contextlib.suppress(ValueError):
            self.ae._servers.remove(self)

    def _attend(self, connection: Connection | None, door: socket.socket) -> None:
        """Nothing that one peer sends may end the loop."""
        try:
            if connection is None:
                self._take_connections(door)
            elif self._connections.get(connection.number) is connection:  # not one that made room a moment ago
                self._hear(connection)
        except Exception as error:
            log("connection_failed", address=connection and connection.address, reason=unforeseen(error))
            if connection:
                self._close(connection)

    def _look_at_clock(self) -> None:
        """Say what is due to be said, and close what is late."""
        self.refusals.tell_due()
        now = time.monotonic()
        for connection in [one for one in self._connections.values() if one.answer and now >= one.until - HANG_UP_S]:
            self._say(connection)
        for connection in [one for one in self._connections.values() if now >= one.until]:
            reason = f"no association was asked for within {self.rules.request_timeout_s:g} s"
            self._close(connection, None if connection.refused else reason)

    # --- taking connections

    def _take_connections(self, door: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            try:
                endpoint, peer = door.accept()
            except BlockingIOError:
                return
            except OSError as error:
                return self._without_descriptor(error)
            self._is_short = False
            if self._has_room(peer[0]):
                self._add(endpoint, peer, None if door is self._plain else self.credentials)
            else:
                endpoint.close()
                self.refusals.note("connection_refused", peer[0], "as many connections as allowed are open")

    def _add(self, endpoint: socket.socket, peer: tuple, credentials: Credentials | None) -> None:
        endpoint.setblocking(False)
        endpoint.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        endpoint.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        connection = Connection(endpoint, peer, time.monotonic() + self.rules.request_timeout_s, credentials)
        self._connections[connection.number] = connection
        self._selector.register(endpoint, selectors.EVENT_READ, connection)

    def _has_room(self, address: str) -> bool:
        """True once there is a place, where need be that of the oldest connection that is no association."""
        waiting = [one for one in self._connections.values() if one.address == address]
        if len(waiting) + self._count(address) >= self.rules.connections_per_address:
            return self._evict(waiting)
        if len(self._connections) + self._count() >= self.rules.connections_at_once:
            return self._evict(list(self._connections.values()))
        return True

    def _evict(self, oldest_first: list[Connection]) -> bool:
        if oldest_first:
            self._close(oldest_first[0], "made room for a newer connection, as many as allowed are open")
        return bool(oldest_first)

    def _without_descriptor(self, error: OSError) -> None:
        """The system gives no more: the connection stays in its queue, so make room and do not spin."""
        if error.errno in _NO_DESCRIPTOR:
            if not self._is_short:
                log("connections_wait", reason=f"the system gives no more connections ({error.strerror})")
            self._is_short = True
            self._evict(list(self._connections.values()))
            time.sleep(0.1)

    # --- hearing a connection

    def _hear(self, connection: Connection) -> None:
        if connection.credentials and not connection.refused and not self._is_secure(connection):
            return
        try:
            chunk = connection.endpoint.recv(_CHUNK)
        except BlockingIOError:
            return
        except OSError:
            chunk = b""
        if not chunk:
            silent = connection.refused or not connection.received  # a port scan, a health check
            return self._close(connection, None if silent else "the peer hung up before its association request was whole")
        if not connection.refused:
            connection.received += chunk
            self._judge(connection)

    def _is_secure(self, connection: Connection) -> bool:
        """Go on with the handshake as far as what came allows; True once it is done."""
        try:
            if not isinstance(connection.endpoint, Endpoint) and not self._begins_tls(connection):
                return False
            connection.endpoint.do_handshake()
            connection.identity, connection.credentials = connection.endpoint.identity, None
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            waits = selectors.EVENT_WRITE if isinstance(error, ssl.SSLWantWriteError) else selectors.EVENT_READ
            self._selector.modify(connection.number, waits, connection)
            return False
        except OSError as error:
            is_alert = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)  # a peer that hung up is none
            self._refuse(connection, b"", f"no TLS: {reason_of(error)}", is_alert)
            self._say(connection)  # what there is to say, the handshake said
            return False
        self._selector.modify(connection.number, selectors.EVENT_READ, connection)
        return True

    def _begins_tls(self, connection: Connection) -> bool:
        """A port scan hangs up before its first byte; who asks without TLS is told in the only way that he understands."""
        first = connection.endpoint.recv(1, socket.MSG_PEEK)
        if not first:
            self._close(connection)
        elif first[0] != HANDSHAKE:
            self._refuse(connection, ABORTED_BY_USER, f"this port is for TLS, which does not begin with byte {first.hex()}")
        else:
            connection.endpoint = connection.credentials.accept(connection.endpoint)
        return isinstance(connection.endpoint, Endpoint)

    def _judge(self, connection: Connection) -> None:
        received = connection.received
        if received[0] != 1:
            reason = f"it does not begin with an association request, but with byte {received[0]:02x}"
            return self._refuse(connection, ABORTED_BY_USER, reason)
        length = int.from_bytes(received[2:6], "big")
        if len(received) >= 6 and length > REQUEST_AT_MOST:
            return self._refuse(connection, ABORTED_BY_USER, f"its association request claims {length} bytes")
        if len(received) < 6 or len(received) < 6 + length:
            return
        try:
            request = request_of(bytes(received[:6 + length]))
        except ValueError as error:
            return self._refuse(connection, ABORTED_BY_USER, str(error))
        if rejection := rejection_of(request, connection.address, self.rules, connection.identity) or self._full(connection.address):
            return self._reject(connection, request, rejection)
        self._admit(connection)

    def _full(self, address: str) -> Rejection | None:
        if self._count() >= self.rules.associations_at_once:
            return TOO_MANY
        return TOO_MANY_OF_ADDRESS if self._count(address) >= self.rules.associations_per_address else None

    def _count(self, address: str | None = None) -> int:
        """Associations that are open, in all or from one address. The library counts every connection."""
        self._associations = [one for one in self._associations if one.is_alive()]
        return sum(address in (None, one.requestor.address) for one in self._associations)

    # --- how it ends

    def _admit(self, connection: Connection) -> None:
        self._forget(connection)
        try:
            self.process_request((bytes(connection.received), connection.endpoint), connection.peer)
        except Exception as error:
            connection.endpoint.close()
            log("connection_failed", address=connection.address, reason=unforeseen(error))
        self.service_actions()

    def admitted(self, association: Association) -> None:
        """The handler made an association of the connection."""
        self._associations.append(association)

    def _reject(self, connection: Connection, request: Request, rejection: Rejection) -> None:
        shown = {"certificate": str(connection.identity)} if connection.identity else {}
        self.refusals.note("association_rejected", connection.address, rejection.reason, True, rejection in ABOUT_IDENTITY,
                          calling=request.calling, called=request.called, **shown)
        self._answer(connection, rejection.pdu)

    def _refuse(self, connection: Connection, pdu: bytes, reason: str, audited: bool = False) -> None:
        self.refusals.note("connection_refused", connection.address, reason, audited)
        self._answer(connection, pdu)

    def _answer(self, connection: Connection, pdu: bytes) -> None:
        connection.refused, connection.answer, connection.until = True, pdu, time.monotonic() + ANSWER_AFTER_S + HANG_UP_S
        connection.received.clear()

    def _say(self, connection: Connection) -> None:
        """Say why, and let the peer hang up first: closing at once could take the answer back (RFC 1122 4.2.2.13)."""
        pdu, connection.answer = connection.answer, None
        try:
            if pdu:
                connection.endpoint.send(pdu)
            if connection.identity:
                connection.endpoint.farewell()
            connection.endpoint.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)

    def _close(self, connection: Connection, reason: str | None = None) -> None:
        if reason:
            self.refusals.note("connection_refused", connection.address, reason)
        self._forget(connection)
        connection.endpoint.close()

    def _forget(self, connection: Connection) -> None:
        if self._connections.pop(connection.number, None):
            self._selector.unregister(connection.number)

"""Associations that the node opens to a peer, and C-ECHO over one.

A peer that does not answer, stops reading or goes away in the middle costs at most the time limit, twice: every wait of the library and
every read and write of the socket has it. What may pass (no connection, a transient rejection, an abort) is an UnreachableError; a
rejection for good (PS3.8 9.3.4) a RefusedError.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from collections.abc import Iterable, Iterator, Sequence

from node.errors import CertificateError, DeliveryError, RefusedError, UnreachableError
from node.settings import Destination
from node.sockets import use_poll
from node.tls import Caller, credentials_of

EXPLICIT, IMPLICIT, VERIFICATION = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.1"
_TRANSIENT = 2


def echo(peer: Destination, calling: str, timeout_s: float) -> None:
    """C-ECHO; DeliveryError with the reason where it is not answered with success."""
    with associated(peer, calling, [(VERIFICATION, IMPLICIT)], timeout_s) as association:
        try:
            status = association.send_c_echo()
        except (RuntimeError, ValueError) as error:
            raise UnreachableError(f"{called(peer)} does not take C-ECHO, or ended the association.") from error
        if "Status" not in status or status.Status != 0:
            raise UnreachableError(f"{called(peer)} did not answer C-ECHO with success.")


@contextlib.contextmanager
def associated(peer: Destination, calling: str, contexts: Sequence[tuple[str, str]], timeout_s: float,
               handlers: Sequence[tuple] = (), served: Iterable[str] = ()) -> Iterator:
    """An association with one context for each (SOP class, transfer syntax), released at the end. Contexts may have been refused.

    `served`: classes of which the peer may be the user (PS3.7 D.3.3.4), as C-GET wants it.
    """
    from pynetdicom import AE, _config, build_role, evt

    _config.STORE_SEND_CHUNKED_DATASET, _config.LOG_HANDLER_LEVEL = True, "none"
    ae = AE(calling)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = timeout_s
    ae.network_timeout = None  # with the same limit the library aborts twice where a release is not answered, which its own thread dies of
    for sop_class, syntax in contexts:
        ae.add_requested_context(sop_class, syntax)
    caller = _over_tls(peer)
    opened = [(evt.EVT_CONN_OPEN, act) for act in (functools.partial(_limit, timeout_s=timeout_s), use_poll, _take_turns)]
    roles = [build_role(sop_class, scp_role=True) for sop_class in served]
    try:
        association = ae.associate(peer.host, peer.port, ae_title=peer.ae_title, evt_handlers=[*opened, *handlers], ext_neg=roles,
                                   tls_args=caller and (caller, peer.host))
    except Exception as error:
        raise UnreachableError(f"{called(peer)} cannot be called: {error}.") from error
    try:
        if not association.is_established and not association.rejected_contexts:
            raise _refusal(peer, association, caller.trouble if caller else "")
        yield association
    finally:
        if association.is_established:
            with contextlib.suppress(RuntimeError):  # it ended meanwhile
                association.release()


class Turns:
    """The thread of an association and whoever sends over it take turns in reading what comes: it sleeps here while an answer is due.

    pynetdicom 3.0.4 takes a thread that has just been woken for one that sleeps: of a thousand answers of a quick peer one went to that
    thread, which dropped it, and the sender waited in vain (seen with storescp on a busy machine). It serves a report on storage commitment
    in a thread of its own, which at its end calls that of the association awake, asleep or not: a sender that then wanted to release waited
    for ever, and one that released earlier cut off the answer to the report. So a turn begins when nothing is being served.
    """

    def __init__(self, association: threading.Thread) -> None:
        self._association = association
        self._change = threading.Condition()
        self._is_free, self._sleeps, self._served = True, False, 0
        self._serve, association._serve_request = association._serve_request, self.serve

    def serve(self, message: object, context_id: int) -> None:
        """Answer a request of the peer."""
        with self._change:
            self._served += 1
        try:
            self._serve(message, context_id)
        finally:
            with self._change:
                self._served -= 1
                if threading.current_thread() is not self._association:
                    self._association._is_paused = True  # whether it is, `clear` sees to
                self._change.notify_all()

    def wait(self) -> None:
        """The thread of the association waits for its turn."""
        with self._change:
            self._sleeps = True
            self._change.notify_all()
            self._change.wait_for(lambda: self._is_free)
            self._sleeps = False

    def clear(self) -> None:
        """It is the sender's turn from now on. RuntimeError where the association has ended."""
        with self._change:
            self._is_free = False
            while (not self._sleeps or self._served) and threading.current_thread() is not self._association:
                if not self._association.is_alive():
                    raise RuntimeError("the association has ended")
                self._change.wait(0.05)

    def set(self) -> None:
        """The sender's turn is over."""
        with self._change:
            self._is_free = True
            self._change.notify_all()


def _take_turns(event) -> None:
    event.assoc._reactor_checkpoint = Turns(event.assoc)


def _over_tls(peer: Destination) -> Caller | None:
    if not peer.tls or peer.shown is None:
        return None
    try:
        return Caller(credentials_of(peer.shown), peer.certificate)
    except CertificateError as error:
        raise UnreachableError(f"{called(peer)} cannot be called over TLS: {error}") from error


def _refusal(peer: Destination, association, trouble: str) -> DeliveryError:
    answer = association.acceptor.primitive
    if trouble:
        return UnreachableError(f"{called(peer)} cannot be called over TLS: {trouble}.")
    if not association.is_rejected or answer is None:
        return UnreachableError(f"{called(peer)} cannot be reached, or ended the association at once.")
    kind = UnreachableError if answer.result == _TRANSIENT else RefusedError
    return kind(f"{called(peer)} rejected the association: {answer.reason_str.lower()}.")


def called(peer: Destination) -> str:
    return f"{peer.ae_title} at {peer.host}, port {peer.port}"


def _limit(event, timeout_s: float) -> None:
    """The library takes the time limit off the socket: a peer that stops reading would hold the thread that writes for ever."""
    with contextlib.suppress(OSError, AttributeError):
        own = event.assoc.dul.socket.socket
        own.settimeout(timeout_s)
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

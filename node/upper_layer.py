"""The upper layer of one association (PS3.8 9), with bounds: on each PDU, on how long it takes, on what a peer can pile up.

The library's state machine, its threads and its PDUs stay; the socket (`sockets`), two timers and the reading of PDUs are put in their
place. A peer that breaks a bound hears A-ABORT from the service provider with the reason of PS3.8 table 9-26, and the log says it in one
line.

What pynetdicom 3.0.4 does instead. Seen on a plain `AE.start_server`: the rest of a PDU is waited for without end; an abort says "reason
not specified" whatever it was; two threads of each association look for work a thousand times a second (eight that did nothing took 22 %
of a core). Read in its source: a PDU may be longer than was negotiated; requests that nobody waits for pile up in memory, each with an
open file; a step of the wall clock ends every association, as the timers follow it.
"""

from __future__ import annotations

import threading
import time

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dul import DULServiceProvider
from pynetdicom.fsm import InvalidEventError
from pynetdicom.pdu import A_ABORT_RQ
from pynetdicom.timer import Timer

from node.admission import REQUEST_AT_MOST
from node.log import log, unforeseen
from node.settings import Listener
from node.sockets import peer_of
from node.transport import HANG_UP_S

NOT_SPECIFIED, UNRECOGNISED_PDU, UNEXPECTED_PDU, INVALID_VALUE = 0, 1, 2, 6  # PS3.8 table 9-26, source 2
P_DATA_TF = 4
_HEADER = 6  # bytes: type, reserved, length
_MARGIN = 64  # bytes; some senders count the negotiated length without the headers inside the PDU
_LITTLE = 1024  # bytes; the PDUs that release, reject and abort have four
_WAIT_MS = 50  # how long a thread sleeps where a deadline runs ...
_SLEEP_MS = 1000  # ... and where none does, unless there is something to do


class MonotonicTimer(Timer):
    """The library's timer, but a step of the wall clock does not move it."""

    @property
    def remaining(self) -> float:
        if self.timeout is None:
            return 1.0
        if self._start_time is None:
            return self.timeout
        return self.timeout - ((self._end_time or time.monotonic()) - self._start_time)

    def start(self) -> None:
        self._start_time, self._end_time = time.monotonic(), None

    def stop(self) -> None:
        self._end_time = time.monotonic()


class Checkpoint(threading.Event):
    """Where the thread of an association passes in each turn: it sleeps there until there is something to do."""

    def __init__(self) -> None:
        super().__init__()
        self._work = threading.Event()

    def stir(self) -> None:
        self._work.set()

    @staticmethod
    def stir_for(event: evt.Event) -> None:
        """The state machine did something (EVT_FSM_TRANSITION): is it for the association?"""
        if event.assoc.dimse.msg_queue.queue or event.assoc.dul.to_user_queue.queue:
            event.assoc._reactor_checkpoint.stir()

    def set(self) -> None:
        super().set()
        self.stir()

    def wait(self, timeout: float | None = None) -> bool:
        self._work.wait(_SLEEP_MS / 1000)
        self._work.clear()
        return super().wait(timeout)


def end_whole(association: Association, error: Exception) -> None:
    """What nobody foresaw in the thread of an association ends all of it; else the connection would stay, with nobody to look after it."""
    association.dul.end(f"the node failed ({unforeseen(error)})", INVALID_VALUE)
    association.kill()  # waits until the peer has hung up, or the ARTIM timer ends


class UpperLayer(DULServiceProvider):
    """The library's provider of the upper layer service, bounded by the settings of the listener."""

    def __init__(self, association: Association, rules: Listener) -> None:
        super().__init__(association)
        self.daemon = True
        self._idle_timer, self.artim_timer = MonotonicTimer(rules.idle_timeout_s), MonotonicTimer(HANG_UP_S)
        self._rules = rules
        self._whole_by: float | None = None  # the deadline of the PDU that is being received
        self._reason: int | None = None

    def run_reactor(self) -> None:
        try:
            super().run_reactor()
        except InvalidEventError:
            pass  # the association thread had something to say when the association was over
        except Exception as error:
            log("association_aborted", **peer_of(self.assoc), reason=f"the node failed ({unforeseen(error)})")
        finally:
            self.assoc.dimse.drop()
            self.socket.dismantle()
            self.assoc._reactor_checkpoint.stir()

    def kill_dul(self) -> None:
        super().kill_dul()
        self.socket.wake()

    @property
    def has_ended(self) -> bool:
        """A bound was broken."""
        return self._reason is not None

    def restart_idle_timer(self) -> None:
        self._idle_timer.restart()

    def end(self, reason: str, diagnostic: int = NOT_SPECIFIED) -> None:
        """A bound is broken: A-ABORT by the service provider (PS3.8 table 9-10, event 19), once."""
        if self._reason is None:
            self._blame(reason, diagnostic)
            self.event_queue.put("Evt19")

    def _blame(self, reason: str, diagnostic: int) -> None:
        self._reason = diagnostic
        log("association_aborted", **peer_of(self.assoc), reason=reason)
        self.assoc.dimse.drop()

    def _decode_pdu(self, bytestream):
        try:
            pdu, event = super()._decode_pdu(bytestream)
            if event == "Evt6":
                pdu.to_primitive()  # the state machine does so unguarded
            return pdu, event
        except Exception as error:  # the library makes event 19 of it
            self._blame(f"a PDU cannot be understood ({type(error).__name__})", INVALID_VALUE)
            raise

    def _send(self, pdu) -> None:
        if isinstance(pdu, A_ABORT_RQ) and pdu.source == 2:
            if self._reason is None:
                self._blame("a PDU or message that may not come here", UNEXPECTED_PDU)
            pdu.reason_diagnostic = self._reason
        super()._send(pdu)

    def send_pdu(self, primitive) -> None:
        self._idle_timer.restart()
        super().send_pdu(primitive)
        self.socket.wake()

    def idle_timer_expired(self) -> bool:
        """Nobody is idle while we work for him."""
        works = self.assoc.dimse.is_storing or self.assoc.dimse.msg_queue.queue or self.to_provider_queue.queue
        expired = super().idle_timer_expired() and not works
        if expired:
            log("association_aborted", **peer_of(self.assoc), reason=f"nothing happened on it for {self._rules.idle_timeout_s:g} s")
        return expired

    def _is_transport_event(self) -> bool:
        if self.state_machine.current_state == "Sta13":
            if self._reason is not None and not self.socket.ready:
                self.socket.wait(_WAIT_MS)
                return False  # the peer hangs up first, or the ARTIM timer ends: closing at once could take the A-ABORT back
            return super()._is_transport_event()
        if self._whole_by and time.monotonic() > self._whole_by:
            self.end(f"a PDU was not whole after {self._rules.pdu_timeout_s:g} s")
            return False
        may_send = self.assoc.dimse.msg_queue.empty()  # one request is served, one waits: the peer waits, too
        if self._is_quiet():
            self.socket.wait(_WAIT_MS if self._whole_by else _SLEEP_MS, may_send)
        return may_send and super()._is_transport_event()

    def _is_quiet(self) -> bool:
        waiting = self.socket and self.socket.held and self.assoc.dimse.msg_queue.empty()
        return not (waiting or self._kill_thread) and self.to_provider_queue.empty() and self.event_queue.empty()

    def _read_pdu_data(self) -> None:
        """Read one PDU once it is whole; meanwhile what this side wants to send is not held up."""
        try:
            if self.state_machine.current_state == "Sta13":
                self.socket.take(0)
                self.socket.pass_over(len(self.socket.held))
            else:
                self._read_whole()
        except OSError:
            self.event_queue.put("Evt17")

    def _read_whole(self) -> None:
        """Stay here as long as C-STORE requests come: the library's loop sleeps between two events."""
        while self._is_whole():
            self._whole_by = None
            if not self._is_taken():
                return super()._read_pdu_data()
            if not self._is_more():
                return None

    def _is_taken(self) -> bool:
        """True where the data of this PDU is received without the library."""
        held = self.socket.held
        if held[0] != P_DATA_TF or self.state_machine.current_state != "Sta6":
            return False
        end = _HEADER + int.from_bytes(held[2:_HEADER], "big")
        if taken := self.assoc.dimse.take(held[_HEADER:end]):
            self.socket.pass_over(end)
        return taken

    def _is_more(self) -> bool:
        """Wait here for what comes next, unless there is something else to do."""
        self._idle_timer.restart()
        return self._is_undisturbed() and (bool(self.socket.held) or self.socket.take(_WAIT_MS)) and self._is_undisturbed()

    def _is_undisturbed(self) -> bool:
        other = self.to_provider_queue.queue or self.event_queue.queue or self.assoc.dimse.msg_queue.queue
        return not (other or self._kill_thread)

    def _is_whole(self) -> bool:
        self._whole_by = self._whole_by or time.monotonic() + self._rules.pdu_timeout_s
        while True:
            held = self.socket.held
            if len(held) >= _HEADER and not self._is_allowed(held[0], length := int.from_bytes(held[2:_HEADER], "big")):
                return False
            if len(held) >= _HEADER + (length if len(held) >= _HEADER else 0):
                return True
            if not self.socket.take(_WAIT_MS) or not self.to_provider_queue.empty() or self._kill_thread:
                return False
            if time.monotonic() > self._whole_by:
                return False

    def _is_allowed(self, kind: int, length: int) -> bool:
        at_most = self._rules.max_pdu + _MARGIN if kind == P_DATA_TF else REQUEST_AT_MOST if kind in (1, 2) else _LITTLE
        if not 1 <= kind <= 7:
            self.end(f"a PDU of the unknown type {kind:02x}", UNRECOGNISED_PDU)
        elif length > at_most:
            self.end(f"a PDU of {length} bytes, where {at_most} are allowed", INVALID_VALUE)
        return self._reason is None

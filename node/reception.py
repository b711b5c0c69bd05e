"""The reception of messages: the data sets of C-STORE go straight into the spool as they come, and every message has its bounds.

A C-STORE request as nearly every sender makes it (its command set in one fragment) is received, stored and answered in the thread that
reads the association, without an object of the library. Every other message, and a request about which anything is odd, goes the
library's way: its data set ends in the same `Part`, and both ways end in the same `keep`. pynetdicom 3.0.4 would keep a command set, and
every data set but that of a C-STORE, in memory without a limit (its source); for one instance it takes four times the time of a core.
"""

from __future__ import annotations

import functools
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from pynetdicom import evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from node.arrivals import Arrivals
from node.command_set import StoreRequest, store_request, store_response
from node.copies import NOT_AUTHORIZED, Copies
from node.errors import SpoolError
from node.incoming import Part
from node.log import log, uid_in_log, unforeseen
from node.spool import CANNOT_UNDERSTAND, Placed, Spool
from node.upper_layer import INVALID_VALUE

PROCESSING_FAILURE, NOT_SUPPORTED = 0x0110, 0x0122
REPORT = "1.2.840.10008.5.1.4.1.1.88.34"  # Comprehensive 3D SR
IN_MEMORY_AT_MOST = 2**20  # bytes of a command set, and of a data set that is not stored
_COMMAND, _LAST = 1, 2  # bits of the message control header (PS3.8 E.2)
_VALUE = struct.Struct(">LBB")
_ANSWER_AT_MOST = 512  # bytes of a C-STORE-RSP; who takes no PDU of that length is answered by the library, in pieces


@dataclass(slots=True)
class Incoming:
    """A C-STORE whose data set is coming."""

    context: int
    request: StoreRequest
    part: Part
    length: int = 0


class Reception(DIMSEServiceProvider):
    """The DIMSE service provider of the library, bounded, and with a shorter way for C-STORE.

    `on_stored` hears the study of every new instance. What comes because the node itself asked for it by C-MOVE goes to the `copies`, and
    is no new study; coded reports come in no other way.
    """

    def __init__(self, association: Association, spool: Spool, object_at_most: int, on_stored: Callable[[str], None],
                 copies: Copies | None = None) -> None:
        super().__init__(association)
        self.copies = copies
        self.spool, self.object_at_most, self.on_stored = spool, object_at_most, on_stored
        self.counts: Counter[Placed] = Counter()
        self.arrivals = Arrivals(association.requestor, spool)
        self.is_storing = False
        self._incoming: Incoming | None = None
        self._parts: list[Part] = []
        self._command_bytes = self._data_bytes = 0

    # --- the short way

    def take(self, values: memoryview) -> bool:
        """Receive what a P-DATA-TF holds; False, and nothing was done, where the library is to read it."""
        try:
            return self._take(_fragments(values))
        except Exception as error:
            self.dul.end(f"the node failed ({unforeseen(error)})")
            return True

    def _take(self, fragments: list[tuple[int, int, memoryview]] | None) -> bool:
        if fragments is None and self._incoming:
            self.dul.end("a PDU cannot be understood", INVALID_VALUE)
        for number, fragment in enumerate(fragments or ()):
            if self.dul.has_ended:
                break
            if self._incoming:
                self._go_on(*fragment)
            elif not self._begin(*fragment):
                if not number:
                    return False
                self._hand_over(fragments[number:])
                break
        return bool(fragments) or self.dul.has_ended

    def _begin(self, context: int, control: int, content: memoryview) -> bool:
        """True where a C-STORE begins that is received this way."""
        if self.message is not None or control != _COMMAND | _LAST or 0 < self.maximum_pdu_size < _ANSWER_AT_MOST:
            return False
        request, accepted = store_request(bytes(content)), self.assoc._accepted_cx.get(context)
        if not request or not accepted or not accepted.as_scp or accepted.abstract_syntax != request.sop_class_uid:
            return False
        if not _is_storage(request.sop_class_uid):
            return False
        part = self.spool.begin(request.sop_class_uid, request.sop_instance_uid, accepted.transfer_syntax[0])
        self._incoming = Incoming(context, request, part)
        return True

    def _go_on(self, context: int, control: int, content: memoryview) -> None:
        incoming = self._incoming
        incoming.length += len(content)
        if control & _COMMAND or context != incoming.context:
            self.dul.end("a DIMSE message cannot be understood (it is mixed with another)", INVALID_VALUE)
        elif incoming.length > self.object_at_most:
            self._end_large()
        else:
            incoming.part.write(content)
            if control & _LAST:
                self._finish()

    def _finish(self) -> None:
        incoming, self._incoming = self._incoming, None
        self.is_storing = True
        try:
            status = keep(self, incoming.part, incoming.request.sop_instance_uid, incoming.request.originator)
            self.dul.socket.send(store_response(incoming.context, incoming.request, status))
        finally:
            self.dul.restart_idle_timer()
            self.is_storing = False

    def _hand_over(self, fragments: list[tuple[int, int, memoryview]]) -> None:
        """What follows on a C-STORE within its PDU begins another message: the library's."""
        primitive = P_DATA()
        primitive.presentation_data_value_list = [[context, bytes((control,)) + content] for context, control, content in fragments]
        self.receive_primitive(primitive)
        self.assoc._reactor_checkpoint.stir()

    # --- the library's way

    def receive_primitive(self, primitive: P_DATA) -> None:
        try:
            for value in primitive.presentation_data_value_list:
                if not self._is_bounded(value[1]):
                    return
                single = P_DATA()
                single.presentation_data_value_list.append(value)
                super().receive_primitive(single)
                self._open_part()
        except Exception as error:
            self.dul.end(f"a DIMSE message cannot be understood ({type(error).__name__})", INVALID_VALUE)

    def _is_bounded(self, fragment: bytes) -> bool:
        """Count what the message has so far; its first byte says whether a fragment is of the command set (PS3.8 E.2)."""
        if self.message is None:
            self._command_bytes = self._data_bytes = 0
        if fragment[0] & _COMMAND:
            self._command_bytes += len(fragment) - 1
        else:
            self._data_bytes += len(fragment) - 1
        stored = isinstance(self.message, C_STORE_RQ)
        if stored and self._data_bytes > self.object_at_most:
            self._end_large()
        elif self._command_bytes > IN_MEMORY_AT_MOST or (not stored and self._data_bytes > IN_MEMORY_AT_MOST):
            self.dul.end(f"a message that is no C-STORE, of more than {IN_MEMORY_AT_MOST} bytes")
        else:
            return True
        return False

    def _end_large(self) -> None:
        self.dul.end(f"an object of more than {self.object_at_most / 2**30:.3g} GiB, which [listener] maximum_object_gib allows")

    def _open_part(self) -> None:
        message = self.message
        if isinstance(message, C_STORE_RQ) and message._data_set_file is None:
            command = message.command_set
            syntax = self.assoc._accepted_cx[message.context_id].transfer_syntax[0]
            part = self.spool.begin(str(command.AffectedSOPClassUID), str(command.AffectedSOPInstanceUID), str(syntax))
            message._data_set_file, message._data_set_path = part, part.path
            self._parts.append(part)
            self.drop(but=3)  # received, waiting, served: an older one came with a request that the library answered itself

    def place_of(self, part: Part, originator: str) -> Spool:
        """Where an object belongs; SpoolError where nowhere. `originator`: who asked for it by C-MOVE; some archives name themselves."""
        if self.copies and originator and self.copies.wants(part):
            return self.copies
        if self.copies and originator == self.assoc.acceptor.ae_title:
            part.close()
            raise SpoolError("Nobody asked for an object of this study.", NOT_AUTHORIZED)
        if part.sop_class_uid == REPORT:
            part.close()
            raise SpoolError("A report comes only when the node asked for it.", NOT_SUPPORTED)
        return self.spool

    def claim(self, part: Part) -> bool:
        """Take a part out of those that go with the association; False where it went already."""
        with suppress(ValueError):
            self._parts.remove(part)
            return True
        return False

    def drop(self, but: int = 0) -> None:
        """Let go of what was received for nothing: all of it when the association is over."""
        if self._incoming and not but:
            self._incoming.part.close()
            self._incoming = None
        with suppress(IndexError):
            while len(self._parts) > but:
                self._parts.pop(0).close()


def _fragments(values: memoryview) -> list[tuple[int, int, memoryview]] | None:
    """Context, message control header and content of each presentation data value (PS3.8 9.3.5.1); None where they do not add up."""
    found, place = [], 0
    while place < len(values):
        if len(values) - place < _VALUE.size:
            return None
        length, context, control = _VALUE.unpack_from(values, place)
        begin, place = place + _VALUE.size, place + 4 + length
        if length < 2 or place > len(values):
            return None
        found.append((context, control, values[begin:place]))
    return found


@functools.cache
def _is_storage(sop_class_uid: str) -> bool:
    """Asked only of classes that were accepted."""
    return uid_to_service_class(sop_class_uid) is StorageServiceClass


def store(event: evt.Event) -> int:
    """For EVT_C_STORE: the status of an instance that came the library's way."""
    reception, part, instance = event.assoc.dimse, event.request._dataset_file, str(event.request.AffectedSOPInstanceUID)
    if not isinstance(part, Part):
        _refused(reception, instance, CANNOT_UNDERSTAND, "the command came without a data set")
        return CANNOT_UNDERSTAND
    if not reception.claim(part):
        return PROCESSING_FAILURE  # the association is over, nobody hears it
    return keep(reception, part, instance, str(event.request.MoveOriginatorApplicationEntityTitle or "").strip())


def keep(reception: Reception, part: Part, instance: str, originator: str = "") -> int:
    """Put an instance that is all there into its place, durably; the status that its sender hears."""
    try:
        place = reception.place_of(part, originator)
        stored = place.commit(part)
    except SpoolError as error:
        _refused(reception, instance, error.status, str(error))
        return error.status
    except Exception as error:
        part.close()
        _refused(reception, instance, PROCESSING_FAILURE, f"the node failed ({unforeseen(error)})")
        return PROCESSING_FAILURE
    if place is not reception.spool:
        return 0x0000  # whoever asked for it tells of it
    reception.counts[stored.placed] += 1
    reception.arrivals.add(stored, part.sop_class_uid)
    if stored.placed is Placed.NEW:
        _tell(reception.on_stored, stored.study_instance_uid)
    if stored.placed is Placed.CONFLICT:
        calling = reception.assoc.requestor.ae_title
        log("instance_conflicts", calling=calling, instance=instance, study=stored.study_instance_uid, reason=stored.placed.value)
    return 0x0000


def _refused(reception: Reception, instance: str, status: int, reason: str) -> None:
    calling = reception.assoc.requestor.ae_title
    log("instance_refused", calling=calling, instance=uid_in_log(instance), status=f"{status:04X}", reason=reason)


def _tell(on_stored: Callable[[str], None], study: str) -> None:
    """The instance is safe whatever the journal says: `Journal.recover` finds it again."""
    try:
        on_stored(study)
    except Exception as error:
        log("journal_failed", study=study, reason=unforeseen(error))

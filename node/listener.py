"""The listener: C-ECHO, and C-STORE of MR objects into the spool.

A sender hears 0000 only when the object is whole and durable in the spool; what cannot be stored is refused with the right status, and
C-ECHO is answered all the same. Data goes to the disk as it comes, so memory does not grow with the object. pynetdicom does the talking;
what it leaves open to a network is mended beside it: `transport` looks after connections until they ask for an association, `admission`
says who may have one, `upper_layer` and `sockets` bound PDUs and time, and here the bytes of a message are bounded (the library keeps a
command set, and every data set but that of a C-STORE, in memory without a limit). The traffic is not encrypted: the network must be one
that can be trusted.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import _STORAGE_CLASSES, register_uid
from pynetdicom.transport import RequestHandler

from node.errors import BetzError, SpoolError
from node.log import log
from node.settings import Listener as Rules
from node.settings import Settings
from node.sockets import Socket
from node.spool import Part, Placed, Spool
from node.transport import HANG_UP_S, Server, allow_descriptors
from node.upper_layer import INVALID_VALUE, Checkpoint, UpperLayer

VERIFICATION = "1.2.840.10008.1.1"
SIEMENS_CSA_NON_IMAGE = "1.3.12.2.1107.5.9.1"
SOP_CLASSES = (
    "1.2.840.10008.5.1.4.1.1.4",  # MR Image
    "1.2.840.10008.5.1.4.1.1.4.1",  # Enhanced MR Image
    "1.2.840.10008.5.1.4.1.1.4.2",  # MR Spectroscopy
    "1.2.840.10008.5.1.4.1.1.4.3",  # Enhanced MR Color Image
    "1.2.840.10008.5.1.4.1.1.4.4",  # Legacy Converted Enhanced MR Image
    SIEMENS_CSA_NON_IMAGE,  # spectroscopy of older Siemens software
    "1.2.840.10008.5.1.4.1.1.66",  # Raw Data
    "1.2.840.10008.5.1.4.1.1.7",  # Secondary Capture Image
    "1.2.840.10008.5.1.4.1.1.7.1",  # Multi-frame Single Bit Secondary Capture Image
    "1.2.840.10008.5.1.4.1.1.7.2",  # Multi-frame Grayscale Byte Secondary Capture Image
    "1.2.840.10008.5.1.4.1.1.7.3",  # Multi-frame Grayscale Word Secondary Capture Image
    "1.2.840.10008.5.1.4.1.1.7.4",  # Multi-frame True Color Secondary Capture Image
)
TRANSFER_SYNTAXES = (
    "1.2.840.10008.1.2.1",  # Explicit VR Little Endian
    "1.2.840.10008.1.2",  # Implicit VR Little Endian
    "1.2.840.10008.1.2.1.99",  # Deflated Explicit VR Little Endian
    "1.2.840.10008.1.2.2",  # Explicit VR Big Endian
    "1.2.840.10008.1.2.5",  # RLE Lossless
    "1.2.840.10008.1.2.4.57",  # JPEG Lossless, process 14
    "1.2.840.10008.1.2.4.70",  # JPEG Lossless, process 14, selection value 1
    "1.2.840.10008.1.2.4.80",  # JPEG-LS Lossless
    "1.2.840.10008.1.2.4.90",  # JPEG 2000, lossless only
    "1.2.840.10008.1.2.4.201",  # High-throughput JPEG 2000, lossless only
    "1.2.840.10008.1.2.4.202",  # High-throughput JPEG 2000 with RPCL, lossless only
)
PROCESSING_FAILURE = 0x0110
IN_MEMORY_AT_MOST = 2**20  # bytes of a command set, and of a data set that is not stored
_NO_LIMIT = 10**6  # associations are counted by `transport`: the library counts every connection


class Listener:
    """A node that listens. `stop` lets the open associations end for a moment, then ends them."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.port: int = server.server_address[1]

    def stop(self, patience_s: float = 5.0) -> None:
        if self._server not in self._server.ae._servers:
            return
        open_ones = self._server.active_associations
        self._server.shutdown()
        for association in open_ones:
            association.join(patience_s / len(open_ones))
            if association.is_alive():
                association.abort()


def listen(settings: Settings, spool: Spool, on_stored: Callable[[str], None],
           reports: tuple[str, list[tuple]] | None = None) -> Listener:
    """Listen as the settings say. `on_stored` hears the study of every new instance, durable by then, before its sender hears 0000.

    `reports`: a SOP class that callers may use as its SCP, and its handlers, as `commitment.services` gives them.
    """
    _quiet()
    allow_descriptors()
    handlers = [(evt.EVT_C_STORE, _store, [spool, on_stored]), (evt.EVT_CONN_CLOSE, _end), (evt.EVT_C_ECHO, lambda event: 0x0000)]
    ae, rules = _entity(settings), settings.listener
    if reports:
        ae.add_supported_context(reports[0], scu_role=True, scp_role=True)
        handlers += reports[1]
    place = (rules.host, rules.port)
    try:
        server = ae.make_server(place, evt_handlers=handlers, server_class=Server, request_handler=_handler(spool, rules), rules=rules)
    except OSError as error:
        raise BetzError(_why_not(error, *place)) from error
    threading.Thread(target=server.serve_forever, args=(0.2,), name="listener", daemon=True).start()
    ae._servers.append(server)  # as AE.start_server does; `shutdown` takes it out
    return Listener(server)


def _quiet() -> None:
    """The library logs every element it sees, and warns on stderr with values: neither may leave the node."""
    _config.LOG_HANDLER_LEVEL = "none"
    logging.getLogger("pynetdicom").propagate = False
    if SIEMENS_CSA_NON_IMAGE not in _STORAGE_CLASSES.values():
        register_uid(SIEMENS_CSA_NON_IMAGE, "SiemensCSANonImageStorage", StorageServiceClass)


def _entity(settings: Settings) -> AE:
    ae = AE(settings.listener.ae_title)
    ae.maximum_pdu_size = settings.listener.max_pdu
    ae.maximum_associations = _NO_LIMIT
    ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = HANG_UP_S, settings.listener.idle_timeout_s, settings.listener.idle_timeout_s
    ae.add_supported_context(VERIFICATION)
    for sop_class in SOP_CLASSES:
        ae.add_supported_context(sop_class, list(TRANSFER_SYNTAXES))
    return ae


def _why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use by another program; stop it, or give [listener] port another number."
    if error.errno == errno.EACCES:
        return f"Port {port} needs a privilege that this user has not; give [listener] port a number of 1024 or more."
    return f"The node cannot listen on {host}, port {port}: {error.strerror or error}."


class _ToSpool(DIMSEServiceProvider):
    """DIMSE messages as the library receives them, but the data sets of C-STORE go straight into the spool, and each has its bounds."""

    def __init__(self, association: Association, spool: Spool, object_at_most: int) -> None:
        super().__init__(association)
        self.spool, self.object_at_most = spool, object_at_most
        self.counts: Counter[Placed] = Counter()
        self._parts: list[Part] = []
        self._command_bytes = self._data_bytes = 0

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
        if fragment[0] & 1:
            self._command_bytes += len(fragment) - 1
        else:
            self._data_bytes += len(fragment) - 1
        stored = isinstance(self.message, C_STORE_RQ)
        if stored and self._data_bytes > self.object_at_most:
            self.dul.end(f"an object of more than {self.object_at_most / 2**30:.3g} GiB, which [listener] maximum_object_gib allows")
        elif self._command_bytes > IN_MEMORY_AT_MOST or (not stored and self._data_bytes > IN_MEMORY_AT_MOST):
            self.dul.end(f"a message that is no C-STORE, of more than {IN_MEMORY_AT_MOST} bytes")
        else:
            return True
        return False

    def _open_part(self) -> None:
        message = self.message
        if isinstance(message, C_STORE_RQ) and message._data_set_file is None:
            command = message.command_set
            syntax = self.assoc._accepted_cx[message.context_id].transfer_syntax[0]
            part = self.spool.begin(str(command.AffectedSOPClassUID), str(command.AffectedSOPInstanceUID), str(syntax))
            message._data_set_file, message._data_set_path = part, part.path
            self._parts.append(part)
            self.drop(but=3)  # received, waiting, served: an older one came with a request that the library answered itself

    def claim(self, part: Part) -> bool:
        """Take a part out of those that go with the association; False where it went already."""
        with suppress(ValueError):
            self._parts.remove(part)
            return True
        return False

    def drop(self, but: int = 0) -> None:
        """Let go of what was received for nothing: all of it when the association is over."""
        with suppress(IndexError):
            while len(self._parts) > but:
                self._parts.pop(0).close()


def _handler(spool: Spool, rules: Rules) -> type[RequestHandler]:
    class Handler(RequestHandler):
        def _create_association(self) -> Association:
            held, self.request = self.request
            association = super()._create_association()
            association.dul = UpperLayer(association, rules)
            association.set_socket(Socket(association, self.request, held, rules.pdu_timeout_s))
            association.dimse = _ToSpool(association, spool, int(rules.maximum_object_gib * 2**30))
            association._reactor_checkpoint = Checkpoint()
            association._reactor_checkpoint.set()
            association.bind(evt.EVT_FSM_TRANSITION, Checkpoint.stir_for)
            self.server.admitted(association)
            return association
    return Handler


def _store(event: evt.Event, spool: Spool, on_stored: Callable[[str], None]) -> int:
    part = event.request._dataset_file
    fields = {"calling": event.assoc.requestor.ae_title, "instance": str(event.request.AffectedSOPInstanceUID)}
    if not isinstance(part, Part):
        log("instance_refused", **fields, status="C000", reason="the command came without a data set")
        return 0xC000
    if not event.assoc.dimse.claim(part):
        return PROCESSING_FAILURE  # the association is over, nobody hears it
    try:
        stored = spool.commit(part)
    except SpoolError as error:
        log("instance_refused", **fields, status=f"{error.status:04X}", reason=str(error))
        return error.status
    except Exception as error:
        log("instance_refused", **fields, status=f"{PROCESSING_FAILURE:04X}", reason=f"the node failed ({type(error).__name__}: {error})")
        return PROCESSING_FAILURE
    event.assoc.dimse.counts[stored.placed] += 1
    if stored.placed is Placed.NEW:
        _tell(on_stored, stored.study_instance_uid)
    if stored.placed is Placed.CONFLICT:
        log("instance_conflicts", **fields, study=stored.study_instance_uid, reason=stored.placed.value)
    return 0x0000


def _tell(on_stored: Callable[[str], None], study: str) -> None:
    """The instance is safe whatever the journal says: `Journal.recover` finds it again."""
    try:
        on_stored(study)
    except Exception as error:
        log("journal_failed", study=study, reason=f"{type(error).__name__}: {error}")


def _end(event: evt.Event) -> None:
    if counts := event.assoc.dimse.counts:
        peer = event.assoc.requestor
        how = "aborted" if event.assoc.is_aborted else "released"
        stored = {placed.name.lower(): count for placed, count in counts.items()}
        log("association_ended", calling=peer.ae_title, address=peer.address, how=how, **stored)

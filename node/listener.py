"""The listener: C-ECHO, and C-STORE of MR objects into the spool.

A sender hears 0000 only when the object is whole and durable in the spool; what cannot be stored is refused with the right status, and
C-ECHO is answered all the same. Data goes to the disk as it comes, so memory does not grow with the object. Who may call is decided by
AE title and address before anything is negotiated. This is pynetdicom as it is, but that data sets are written into the spool.
It belongs behind a network that can be trusted; `listen` is the seam for a hardened one.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import threading
from collections import Counter
from collections.abc import Callable

from pynetdicom import AE, _config, evt
from pynetdicom.dimse import DIMSEServiceProvider
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import _STORAGE_CLASSES, register_uid
from pynetdicom.transport import RequestHandler, ThreadedAssociationServer

from node.errors import BetzError, SpoolError
from node.log import log
from node.settings import Settings, is_loopback
from node.spool import Part, Placed, Spool

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
_REJECTED_PERMANENT, _BY_USER, _CALLING_NOT_RECOGNISED = 1, 1, 3


class Listener:
    """A node that listens. `stop` lets the open associations end for a moment, then ends them."""

    def __init__(self, server: ThreadedAssociationServer) -> None:
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
    handlers = [
        (evt.EVT_REQUESTED, _admit, [settings]), (evt.EVT_C_STORE, _store, [spool, on_stored]), (evt.EVT_CONN_OPEN, _no_delay),
        (evt.EVT_CONN_CLOSE, _end), (evt.EVT_C_ECHO, lambda event: 0x0000),
    ]
    ae = _entity(settings)
    if reports:
        ae.add_supported_context(reports[0], scu_role=True, scp_role=True)
        handlers += reports[1]
    place = (settings.listener.host, settings.listener.port)
    try:
        server = ae.make_server(place, evt_handlers=handlers, server_class=ThreadedAssociationServer, request_handler=_handler(spool))
    except OSError as error:
        raise BetzError(_why_not(error, *place)) from error
    server.request_queue_size = 64
    server.socket.listen(64)
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
    ae.require_called_aet = True
    ae.maximum_pdu_size = settings.listener.max_pdu
    ae.maximum_associations = settings.listener.associations_at_once
    ae.acse_timeout, ae.dimse_timeout, ae.network_timeout = 30, settings.listener.idle_timeout_s, settings.listener.idle_timeout_s
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
    """DIMSE messages as the library receives them, but the data sets of C-STORE go straight into the spool."""

    spool: Spool
    counts: Counter[Placed]

    def receive_primitive(self, primitive: P_DATA) -> None:
        try:
            for value in primitive.presentation_data_value_list:
                single = P_DATA()
                single.presentation_data_value_list.append(value)
                super().receive_primitive(single)
                self._open_part()
        except Exception as error:
            log("message_refused", reason=f"a DIMSE message cannot be understood ({type(error).__name__})")
            self.drop()
            self.dul.event_queue.put("Evt19")  # PS3.8 table 9-10: an invalid PDU; the library answers it with A-ABORT

    def _open_part(self) -> None:
        message = self.message
        if isinstance(message, C_STORE_RQ) and message._data_set_file is None:
            command = message.command_set
            syntax = self.assoc._accepted_cx[message.context_id].transfer_syntax[0]
            part = self.spool.begin(str(command.AffectedSOPClassUID), str(command.AffectedSOPInstanceUID), str(syntax))
            message._data_set_file, message._data_set_path = part, part.path

    def drop(self) -> None:
        """The association is over: what was half received goes."""
        part = getattr(self.message, "_data_set_file", None)
        self.message = None
        if isinstance(part, Part):
            part.close()


def _handler(spool: Spool) -> type[RequestHandler]:
    class Handler(RequestHandler):
        def _create_association(self):
            association = super()._create_association()
            association.dimse = _ToSpool(association)
            association.dimse.spool, association.dimse.counts = spool, Counter()
            return association
    return Handler


def _admit(event: evt.Event, settings: Settings) -> None:
    """Reject a caller that is not on the list; the library then checks the called title and the number of associations."""
    caller = event.assoc.requestor
    title, address = caller.primitive.calling_ae_title, caller.address
    known = settings.listener.accept
    if any(one.allows(title, address) for one in known) or (not known and is_loopback(settings.listener.host)):
        return
    log("association_rejected", calling=title, address=address, reason="not on the list of accepted callers")
    event.assoc.acse.send_reject(_REJECTED_PERMANENT, _BY_USER, _CALLING_NOT_RECOGNISED)
    event.assoc.kill()


def _store(event: evt.Event, spool: Spool, on_stored: Callable[[str], None]) -> int:
    part = event.request._dataset_file
    fields = {"calling": event.assoc.requestor.ae_title, "instance": str(event.request.AffectedSOPInstanceUID)}
    if not isinstance(part, Part):
        log("instance_refused", **fields, status="C000", reason="the command came without a data set")
        return 0xC000
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


def _no_delay(event: evt.Event) -> None:
    with contextlib.suppress(OSError, AttributeError):
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _end(event: evt.Event) -> None:
    event.assoc.dimse.drop()
    if counts := event.assoc.dimse.counts:
        peer = event.assoc.requestor
        how = "aborted" if event.assoc.is_aborted else "released"
        stored = {placed.name.lower(): count for placed, count in counts.items()}
        log("association_ended", calling=peer.ae_title, address=peer.address, how=how, **stored)

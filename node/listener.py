"""The listener: C-ECHO, and C-STORE of MR objects into the spool.

A sender hears 0000 only when the object is whole and durable in the spool; what cannot be stored is refused with the right status, and
C-ECHO is answered all the same. Data goes to the disk as it comes, so memory does not grow with the object. pynetdicom does the talking;
what it leaves open to a network is mended beside it: `transport` looks after connections until they ask for an association, `admission`
says who may have one, `upper_layer` and `sockets` bound PDUs and time, `reception` the bytes of a message. With certificates under [tls]
all of it goes over TLS (`tls`); without them the network must be one that can be trusted.
"""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable

from pynetdicom import AE, _config, evt
from pynetdicom.association import Association
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import _STORAGE_CLASSES, register_uid
from pynetdicom.transport import RequestHandler

from node.copies import Copies
from node.errors import BetzError
from node.log import log
from node.reception import REPORT, Reception, store
from node.settings import Listener as Rules
from node.settings import Settings
from node.sockets import Socket
from node.spool import Spool
from node.tls import credentials_of
from node.transport import HANG_UP_S, Server, allow_descriptors
from node.upper_layer import Checkpoint, UpperLayer, end_whole

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
           reports: tuple[str, list[tuple]] | None = None, copies: Copies | None = None) -> Listener:
    """Listen as the settings say. `on_stored` hears the study of every new instance, durable by then, before its sender hears 0000.

    `reports`: a SOP class that callers may use as its SCP, and its handlers, as `commitment.services` gives them.
    `copies`: where what the node asks for by C-MOVE goes; None where it never does.
    """
    _quiet()
    allow_descriptors()
    handlers = [(evt.EVT_C_STORE, store), (evt.EVT_CONN_CLOSE, _end), (evt.EVT_C_ECHO, lambda event: 0x0000)]
    ae, rules = _entity(settings), settings.listener
    if reports:
        ae.add_supported_context(reports[0], scu_role=True, scp_role=True)
        handlers += reports[1]
    if copies:
        ae.add_supported_context(REPORT)
    place, handler = (rules.host, rules.port), _handler(spool, rules, on_stored, copies)
    credentials = credentials_of(settings.tls) if settings.tls.is_on else None
    try:
        server = ae.make_server(place, evt_handlers=handlers, server_class=Server, request_handler=handler, rules=rules,
                                credentials=credentials)
    except OSError as error:
        raise BetzError(_why_not(error, *place, rules.plain_port)) from error
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


def _why_not(error: OSError, host: str, port: int, plain_port: int) -> str:
    port, setting = (f"{port} or {plain_port}", "port or plain_port") if plain_port else (port, "port")
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} on {host} is in use by another program; stop it, or give [listener] {setting} another number."
    if error.errno == errno.EACCES:
        return f"Port {port} needs a privilege that this user has not; give [listener] port a number of 1024 or more."
    return f"The node cannot listen on {host}, port {port}: {error.strerror or error}."


def _handler(spool: Spool, rules: Rules, on_stored: Callable[[str], None], copies: Copies | None) -> type[RequestHandler]:
    class Handler(RequestHandler):
        def _create_association(self) -> Association:
            held, self.request = self.request
            association = super()._create_association()
            association.dul = UpperLayer(association, rules)
            association.set_socket(Socket(association, self.request, held, rules.pdu_timeout_s))
            association.dimse = Reception(association, spool, int(rules.maximum_object_gib * 2**30), on_stored, copies)
            association._reactor_checkpoint = Checkpoint()
            association._reactor_checkpoint.set()
            association.bind(evt.EVT_FSM_TRANSITION, Checkpoint.stir_for)
            association.run = _guarded(association, association.run)
            self.server.admitted(association)
            return association
    return Handler


def _guarded(association: Association, run: Callable[[], None]) -> Callable[[], None]:
    def guarded() -> None:
        try:
            run()
        except Exception as error:  # for example a presentation context without an abstract syntax
            end_whole(association, error)
    return guarded


def _end(event: evt.Event) -> None:
    if counts := event.assoc.dimse.counts:
        peer = event.assoc.requestor
        how = "aborted" if event.assoc.is_aborted else "released"
        stored = {placed.name.lower(): count for placed, count in counts.items()}
        log("association_ended", calling=peer.ae_title, address=peer.address, how=how, **stored)
        event.assoc.dimse.arrivals.tell()

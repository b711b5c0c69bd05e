"""The methods of pynetdicom that are overridden or relied on are those that were read: another version is looked at first.

Where this fails, read what changed in the methods that it names, see whether node/upper_layer.py, sockets.py, reception.py, transport.py
and listener.py still do what they say, run their tests, and only then write the new numbers down.
"""

from __future__ import annotations

import hashlib
import inspect

import pynetdicom
from pynetdicom import acse, association, dimse, dimse_messages, dul, events, fsm, service_class, timer, transport

READ_IN = "3.0.4"
READ = {
    "dul.DULServiceProvider.__init__": "c82dafa9438d",
    "dul.DULServiceProvider.run_reactor": "e3a10eb3a093",
    "dul.DULServiceProvider._is_transport_event": "8725ed03bb8f",
    "dul.DULServiceProvider._read_pdu_data": "19f2d4e38c13",
    "dul.DULServiceProvider._decode_pdu": "fc71dd1bf853",
    "dul.DULServiceProvider._process_recv_primitive": "4c0ebbb3e646",
    "dul.DULServiceProvider._send": "a850a7919e68",
    "dul.DULServiceProvider.send_pdu": "7cbce5da8594",
    "dul.DULServiceProvider.idle_timer_expired": "0150c19fda68",
    "dul.DULServiceProvider.kill_dul": "5ceccf8dd01c",
    "dul.DULServiceProvider.stop_dul": "28a7e0be126e",
    "dimse.DIMSEServiceProvider.__init__": "bbecd186810e",
    "dimse.DIMSEServiceProvider.receive_primitive": "5f99c86b14a1",
    "dimse.DIMSEServiceProvider.send_msg": "a839cf2fb469",
    "dimse.DIMSEServiceProvider.get_msg": "890e3e04283f",
    "dimse.DIMSEServiceProvider.maximum_pdu_size": "600fc7073d35",
    "dimse_messages.DIMSEMessage.decode_msg": "f51c777e841a",
    "association.Association.__init__": "eb07516b8009",
    "association.Association.run_reactor": "ed8bbbe3b3d6",
    "association.Association._run_reactor": "f28838c5559e",
    "association.Association._serve_request": "2f24c1759cdf",
    "association.Association.abort": "de1cee39dfe3",
    "association.Association.kill": "8f9713666a7f",
    "association.Association.set_socket": "235681dc7517",
    "association.Association.network_timeout": "a07caedf3f03",
    "acse.ACSE._negotiate_as_acceptor": "fffd360957c4",
    "fsm.StateMachine.do_action": "9a883f44c7f3",
    "fsm.DT_2": "9ec543394e0b",
    "fsm.AA_8": "06c83317f088",
    "transport.AssociationSocket.__init__": "1f0325fdef2c",
    "transport.AssociationSocket.ready": "3eb58e3d39dc",
    "transport.AssociationSocket.recv": "6bc20a33b1b7",
    "transport.AssociationSocket.send": "1ea8158c0b51",
    "transport.AssociationSocket.close": "c726c8db5381",
    "transport.AssociationSocket._shutdown_socket": "e2b2628faa81",
    "transport.RequestHandler._create_association": "05c8d12b7986",
    "transport.RequestHandler.handle": "034823fb4df3",
    "transport.AssociationServer.__init__": "edacb98bdfb7",
    "transport.AssociationServer.process_request": "4fa44ac5b54b",
    "transport.AssociationServer.server_bind": "cf69278a05a5",
    "transport.AssociationServer.server_close": "3fa1b358badb",
    "transport.AssociationServer.service_actions": "0a0853a3615a",
    "transport.AssociationServer.get_request": "925a4f3a3042",
    "timer.Timer.expired": "66a10fac524f",
    "timer.Timer.remaining": "4556c335c34e",
    "timer.Timer.restart": "30af96b32eef",
    "timer.Timer.start": "b780943e3976",
    "timer.Timer.stop": "0d5473220f73",
    "service_class.StorageServiceClass.SCP": "63afca7fc6c6",
    "events.trigger": "b97f8a75e8af",
}


def _digest(what: object) -> str:
    return hashlib.sha256(inspect.getsource(what).encode()).hexdigest()[:12]


def _named(name: str) -> object:
    module, _, rest = name.partition(".")
    found = {"acse": acse, "association": association, "dimse": dimse, "dimse_messages": dimse_messages, "dul": dul, "events": events,
             "fsm": fsm, "service_class": service_class, "timer": timer, "transport": transport}[module]
    for part in rest.split("."):
        found = found.__dict__[part] if isinstance(found, type) else getattr(found, part)
    return found.fget if isinstance(found, property) else found


def test_the_library_is_the_one_that_was_read():
    changed = [name for name, digest in READ.items() if _digest(_named(name)) != digest]
    assert not changed, f"pynetdicom {pynetdicom.__version__}, but these were read in {READ_IN}: {', '.join(changed)}"

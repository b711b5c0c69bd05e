"""The node calls over TLS: its own listener, a server that is only half a peer, DCMTK; and a PACS that reports over TLS."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest
import trustme
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role

from node.association import echo
from node.commitment import SOP_CLASS, SOP_INSTANCE, services
from node.errors import UnreachableError
from node.listener import listen
from node.settings import Accept, Destination, Listener, Settings, Storage
from node.spool import Spool
from node.storage import deliver
from node.tls import Caller, credentials_of
from node.tls_settings import fingerprint_in

DCMTK = pytest.mark.skipif(not (shutil.which("storescp") and shutil.which("echoscu")), reason="dcmtk is not installed")


def _peer(port, shown, certificate="", host="127.0.0.1", title="BETZ"):
    return Destination("pacs", title, host, port, tls=True, certificate=certificate, shown=shown)


def _fails(peer) -> str:
    with pytest.raises(UnreachableError) as error:
        echo(peer, "SCANNER", 5.0)
    return str(error.value)


def test_the_peers_certificate_is_for_the_name_that_is_called(node, certified):
    port, other = (node(tls=certified("pacs"), host=host).port for host in ("127.0.0.1", "127.0.0.2"))
    echo(_peer(port, certified()), "SCANNER", 5.0)
    echo(_peer(port, certified(), host="localhost"), "SCANNER", 5.0)
    assert "IP address mismatch, certificate is not valid for '127.0.0.2'" in _fails(_peer(other, certified(), host="127.0.0.2"))


def test_a_peer_is_bound_to_its_certificate(node, certified):
    pacs = certified("pacs")
    port, shown = node(tls=pacs, host="127.0.0.2").port, certified()
    fingerprint = subprocess.run(["openssl", "x509", "-noout", "-fingerprint", "-sha256", "-in", pacs.certificate], capture_output=True,
                                 text=True, check=True).stdout.strip().partition("=")[2]
    assert fingerprint_in(fingerprint)
    for binding in ("pacs", "PACS", "localhost", fingerprint):
        echo(_peer(port, shown, binding, "127.0.0.2"), "SCANNER", 5.0)
    for binding in ("other", "127.0.0.2", "AB:" * 31 + "AB"):
        assert "it is that of pacs, localhost, 127.0.0.1" in _fails(_peer(port, shown, binding, "127.0.0.2"))


def test_a_peer_of_another_authority_is_not_called(node, certified):
    port = node(tls=certified("pacs", ca=trustme.CA())).port
    assert "its certificate is not accepted: unable to get local issuer certificate" in _fails(_peer(port, certified()))


def test_a_peer_that_does_not_believe_the_node_says_so(node, certified):
    port = node(tls=certified("pacs")).port
    assert "does not know the authority of this node's certificate" in _fails(_peer(port, certified(ca=trustme.CA())))


def test_a_peer_without_tls(node, certified):
    assert "over TLS: " in _fails(_peer(node().port, certified()))


def test_a_silent_peer_costs_no_more_than_the_time_limit(certified):
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(UnreachableError, match="it took too long"):
        echo(_peer(silent.getsockname()[1], certified()), "SCANNER", 0.5)


def test_files_that_cannot_be_used_are_a_reason_to_wait(certified):
    shown = certified("unused")
    shown.key.write_text("x")
    assert "cannot be called over TLS: " in _fails(_peer(104, shown)) and "unused.key" in _fails(_peer(104, shown))


def test_a_record_without_data_is_not_waited_for(certified):
    """A server with TLS 1.3 sends session tickets that no reader asked for; a read would wait for data that is not due."""
    pacs, shown, done = certified("pacs"), certified(), threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pacs.certificate, pacs.key)
    with socket.create_server(("127.0.0.1", 0)) as server:
        def serve():
            with context.wrap_socket(server.accept()[0], server_side=True) as peer:
                done.wait(10)
                peer.sendall(b"abc")
                peer.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        plain = socket.create_connection(server.getsockname(), 10)
        own = Caller(credentials_of(shown)).wrap_socket(plain, False, "127.0.0.1")
        with own:
            own.do_handshake()
            assert not own.is_ready() and own.gettimeout() == 10
            done.set()
            until = time.monotonic() + 10
            while not own.is_ready() and time.monotonic() < until:
                time.sleep(0.01)
            assert (own.recv(2), own.recv(2)) == (b"ab", b"c")
        thread.join(10)


@pytest.fixture
def file(tmp_path, mr):
    mr(size=600).save_as(tmp_path / "one.dcm", enforce_file_format=True)
    return tmp_path / "one.dcm"


def test_objects_go_to_a_node_over_tls(node, certified, file):
    listener = node(tls=certified("pacs"))
    [(path, sent)] = deliver(_peer(listener.port, certified()), "SCANNER", [file], 5.0)
    assert path == file and sent.error is None and len(listener.spool.instances("1.2.3.4")) == 1


@pytest.fixture
def storescp(tmp_path, certified, authority, soon, free_port):
    """DCMTK's receiver over TLS, which wants a certificate of whoever calls; where it puts what it gets."""
    started = []

    def start(*options):
        tls, folder = certified("dcmtk", key_type=trustme.KeyType.RSA), tmp_path / "got"
        folder.mkdir()
        command = ["storescp", "+tls", tls.key, tls.certificate, "+cf", tls.authorities, *options, "-od", folder, "+xa", str(free_port)]
        started.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        soon(lambda: _listens(free_port))
        return free_port, folder

    yield start
    for one in started:
        one.kill()
        one.wait(10)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@DCMTK
@pytest.mark.parametrize("options", [(), ("+px",), ("+pz",)], ids=["non-downgrading", "BCP 195", "extended"])
def test_objects_go_to_dcmtk(storescp, certified, file, options):
    port, folder = storescp(*options)
    shown = certified(profile="b.13" if options == ("+pz",) else "b.12", key_type=trustme.KeyType.RSA)
    peer = _peer(port, shown, "dcmtk", title="STORESCP")
    echo(peer, "BETZ", 10.0)
    [(_, sent)] = deliver(peer, "BETZ", [file], 10.0)
    assert sent.error is None and len(list(folder.iterdir())) == 1


@DCMTK
@pytest.mark.parametrize("options", [(), ("+px",), ("+pz",)], ids=["non-downgrading", "BCP 195", "extended"])
@pytest.mark.parametrize("profile", ["b.12", "b.13"])
def test_dcmtk_calls_the_node(node, certified, options, profile):
    rsa = {"key_type": trustme.KeyType.RSA}
    listener = node(tls=certified(profile=profile, **rsa), accept=(Accept("SCANNER", "127.0.0.1", "scanner"),))
    for name, status in (("scanner", 0), ("other", 1)):
        tls = certified(name, **rsa)
        command = ["echoscu", "+tls", tls.key, tls.certificate, "+cf", tls.authorities, *options, "-aet", "SCANNER", "-aec", "BETZ"]
        said = subprocess.run([*command, "127.0.0.1", str(listener.port)], capture_output=True, text=True, timeout=20)
        assert bool(said.returncode) == bool(status), said.stderr
        assert not status or "Calling AE Title Not Recognized" in said.stderr


def test_a_pacs_reports_on_storage_commitment_over_an_association_that_it_opens(tmp_path, certified):
    heard = []

    def hear(report, title):
        heard.append((report.transaction, report.proven, title))
        return True

    rules = Listener(port=0, accept=(Accept("PACS", "127.0.0.1", "pacs"),))
    pacs = certified("pacs")
    settings = Settings(rules, certified(), storage=Storage(tmp_path, 0.0))
    listener = listen(settings, Spool(tmp_path, 0.0), lambda study: None, services(hear))
    try:
        ae, report = AE("PACS"), Dataset()
        ae.add_requested_context(SOP_CLASS)
        report.TransactionUID, report.ReferencedSOPSequence = "1.2.9", [Dataset()]
        report.ReferencedSOPSequence[0].ReferencedSOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        report.ReferencedSOPSequence[0].ReferencedSOPInstanceUID = "1.2.3"
        association = ae.associate("127.0.0.1", listener.port, ae_title="BETZ", ext_neg=[build_role(SOP_CLASS, scp_role=True)],
                                   tls_args=(Caller(credentials_of(pacs)), "127.0.0.1"))
        status, _ = association.send_n_event_report(report, 1, SOP_CLASS, SOP_INSTANCE)
        association.release()
    finally:
        listener.stop()
    assert status.Status == 0x0000 and heard == [("1.2.9", frozenset({"1.2.3"}), "PACS")]

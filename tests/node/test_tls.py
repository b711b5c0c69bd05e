"""TLS against raw peers, the node's own sender and DCMTK. What stock pynetdicom does is said where it was seen (3.0.4)."""

from __future__ import annotations

import datetime
import hashlib
import socket
import ssl

import pytest
import trustme

from node.errors import BetzError, CertificateError
from node.settings import Accept
from node.tls import Credentials, credentials_of

ABORTED = b"\x07\x00\x00\x00\x00\x04\x00\x00\x00\x00"


@pytest.fixture
def tls_peer(raw_peer):
    """A raw peer whose handshake is done. `tls` are the settings of its certificate, None for none."""
    def connect(port, tls, version=None, ciphers=None, source="127.0.0.1"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_ciphers(ciphers or "DEFAULT")
        if version:
            context.minimum_version = context.maximum_version = version
        if tls:
            context.load_cert_chain(tls.certificate, tls.key)
        peer = raw_peer(port, source)
        peer.socket = context.wrap_socket(peer.socket)
        return peer
    return connect


def _fingerprint(pem_path) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem_path.read_text())).hexdigest()


def _echoes(peer) -> bool:
    return peer.send(type(peer).module.request()).accepted().send(type(peer).module.ECHO).status() == 0


def _is_turned_away(peer) -> bool:
    """With TLS 1.3 a client thinks that its handshake is done before the node has seen its certificate."""
    try:
        return peer.send(b"\0").answer() == b""
    except OSError:
        return True


# --- the listener


@pytest.mark.parametrize("profile", ["b.12", "b.13"])
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_caller_with_a_certificate_is_heard(node, certified, tls_peer, profile, version):
    peer = tls_peer(node(tls=certified(profile=profile)).port, certified("scanner"), version)
    assert _echoes(peer) and peer.socket.version() == version.name.replace("_", ".")


def test_tls_1_3_is_preferred(node, certified, tls_peer):
    peer = tls_peer(node(tls=certified()).port, certified("scanner"))
    assert peer.socket.version() == "TLSv1.3" and _echoes(peer)


@pytest.mark.parametrize(("profile", "cipher", "taken"), [
    ("b.12", "ECDHE-ECDSA-AES128-GCM-SHA256", True), ("b.12", "ECDHE-ECDSA-CHACHA20-POLY1305", False),
    ("b.13", "ECDHE-ECDSA-AES256-GCM-SHA384", True), ("b.13", "ECDHE-ECDSA-CHACHA20-POLY1305", True),
    ("b.12", "ECDHE-ECDSA-AES128-SHA256", False), ("b.13", "ECDHE-ECDSA-AES128-SHA256", False),
])
def test_the_profile_decides_on_the_suites_of_tls_1_2(node, certified, tls_peer, events, soon, profile, cipher, taken):
    listener, scanner = node(tls=certified(profile=profile)), certified("scanner")
    if taken:
        peer = tls_peer(listener.port, scanner, ssl.TLSVersion.TLSv1_2, cipher)
        assert _echoes(peer) and peer.socket.cipher()[0] == cipher
    else:
        with pytest.raises(ssl.SSLError):
            tls_peer(listener.port, scanner, ssl.TLSVersion.TLSv1_2, cipher)
        [line] = soon(lambda: events("connection_refused"))
        assert line["reason"] == "no TLS: it offers no cipher suite of the profile"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_than_tls_1_2_is_refused(node, certified, tls_peer, events, soon):
    listener = node(tls=certified())
    with pytest.raises(ssl.SSLError):
        tls_peer(listener.port, certified("scanner"), ssl.TLSVersion.TLSv1_1, "ALL:@SECLEVEL=0")
    [line] = soon(lambda: events("connection_refused"))
    assert line["reason"] == "no TLS: it offers no TLS 1.2 or newer"


def test_without_a_certificate_the_handshake_fails_and_is_one_line(node, certified, tls_peer, events, soon):
    listener = node(tls=certified())
    assert _is_turned_away(tls_peer(listener.port, None))
    [line] = soon(lambda: events("connection_refused"))
    assert (line["reason"], line["address"]) == ("no TLS: it showed no certificate", "127.0.0.1")
    assert _echoes(tls_peer(listener.port, certified("scanner")))
    assert len(events("connection_refused")) == 1


def test_a_certificate_of_another_authority_is_not_accepted(node, certified, tls_peer, events, soon):
    listener = node(tls=certified())
    assert _is_turned_away(tls_peer(listener.port, certified("scanner", ca=trustme.CA())))
    [line] = soon(lambda: events("connection_refused"))
    assert line["reason"].startswith("no TLS: its certificate is not accepted: unable to get")


def test_probe_3_peers_that_stop_in_the_handshake_hold_nobody_up(node, certified, tls_peer, raw_peer, costs, given_back, soon, events):
    """Stock: the one thread that accepts waits for the handshake of a silent peer; that of the next one timed out after 4 s."""
    listener, scanner = node(tls=certified(), request_timeout_s=1.0), certified("scanner")
    before = costs()
    begun = (b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    silent = [raw_peer(listener.port, sent=sent) for sent in begun for _ in range(7)]
    caller = tls_peer(listener.port, scanner)
    assert _echoes(caller)
    assert {peer.answer() for peer in silent} == {b""}
    for peer in (*silent, caller):
        peer.socket.close()
    soon(lambda: given_back(before))
    listener.stop()
    assert sum(one.get("times", 1) for one in events("connection_refused")) == len(silent)
    assert {one["reason"] for one in events("connection_refused")} == {"no association was asked for within 1 s"}


def test_after_its_handshake_a_silent_peer_is_cut_off_as_any(node, certified, tls_peer):
    peer = tls_peer(node(tls=certified(), request_timeout_s=0.5).port, certified("scanner"))
    assert peer.answer() == b""


def test_a_handshake_in_single_bytes_is_heard(node, certified, raw_peer):
    listener, scanner = node(tls=certified()), certified("scanner")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(scanner.certificate, scanner.key)
    coming, going, peer = ssl.MemoryBIO(), ssl.MemoryBIO(), raw_peer(listener.port)
    tls = context.wrap_bio(coming, going)

    def drip():
        for byte in going.read():
            peer.send(bytes([byte]))

    while True:
        try:
            tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            drip()
            coming.write(peer.socket.recv(2**16))
    tls.write(raw_peer.module.request())
    drip()
    coming.write(peer.socket.recv(2**16))
    assert tls.read(1) == b"\x02"


def test_who_asks_without_tls_is_told(node, certified, raw_peer, events):
    listener = node(tls=certified())
    assert raw_peer(listener.port, sent=raw_peer.module.request()).answer() == ABORTED
    assert [one["reason"] for one in events("connection_refused")] == ["this port is for TLS, which does not begin with byte 01"]


def test_a_port_scan_is_no_event(node, certified, raw_peer, tls_peer, events):
    listener = node(tls=certified())
    raw_peer(listener.port).socket.close()
    assert _echoes(tls_peer(listener.port, certified("scanner"))) and not events("connection_refused")


def test_both_ports_at_once(node, certified, raw_peer, tls_peer, free_port):
    listener = node(tls=certified(), plain_port=free_port)
    assert _echoes(tls_peer(listener.port, certified("scanner"))) and _echoes(raw_peer(free_port))
    assert raw_peer(free_port, sent=b"\x16\x03\x01").answer() == ABORTED


@pytest.mark.parametrize("size", [8, 600])
def test_objects_arrive_whole(node, certified, tls_peer, mr, encoded, size):
    """Many PDUs lie in one TLS record, and one PDU in many."""
    listener, ds = node(tls=certified()), mr(size=size)
    peer = tls_peer(listener.port, certified("scanner"))
    peer.send(peer.module.request()).accepted()
    for number in range(3):
        ds = mr(number=number, size=size)
        assert peer.send(peer.module.store(encoded(ds), ds.SOPInstanceUID)).status() == 0
    assert len(listener.spool.instances("1.2.3.4")) == 3
    assert peer.send(peer.module.RELEASE).answer()[0] == 6


# --- who may come in


@pytest.mark.parametrize(("binding", "shown", "reason"), [
    ("fingerprint", "scanner", None), ("scanner", "scanner", None), ("SCANNER", "scanner", None), ("localhost", "scanner", None),
    ("127.0.0.1", "scanner", None), ("", "other", None),
    ("fingerprint", "other", "another certificate"), ("scanner", "other", "another certificate"),
    ("scanner", None, "without TLS"), ("", None, None),
])
def test_a_caller_is_bound_to_its_certificate(node, certified, raw_peer, tls_peer, events, free_port, binding, shown, reason):
    scanner = certified("scanner")
    binding = binding.replace("fingerprint", _fingerprint(scanner.certificate))
    listener = node(tls=certified(), plain_port=free_port, accept=(Accept("SCANNER", "127.0.0.1", binding),))
    peer = tls_peer(listener.port, certified(shown) if shown == "other" else scanner) if shown else raw_peer(free_port)
    if reason is None:
        assert _echoes(peer)
        return
    assert peer.send(peer.module.request()).answer() == bytes((3, 0, 0, 0, 0, 4, 0, 1, 1, 3)) and peer.answer() == b""
    [line] = events("association_rejected")
    assert reason in line["reason"] and (line["calling"], line["called"], line["address"]) == ("SCANNER", "BETZ", "127.0.0.1")
    assert line.get("certificate", "").startswith("other" if shown else "")


def test_one_title_may_have_two_certificates(node, certified, tls_peer):
    accept = tuple(Accept("SCANNER", "127.0.0.1", name) for name in ("old", "new"))
    listener = node(tls=certified(), accept=accept)
    assert all(_echoes(tls_peer(listener.port, certified(name))) for name in ("old", "new"))


# --- new certificates


def test_new_files_are_read_without_a_restart_and_broken_ones_are_not_used(node, certified, tls_peer, events):
    tls, scanner = certified(), certified("scanner")
    listener = node(tls=tls)

    def shown(peer=None):
        peer = peer or tls_peer(listener.port, scanner)
        return hashlib.sha256(peer.socket.getpeercert(True)).hexdigest()

    first, held = _fingerprint(tls.certificate), tls_peer(listener.port, scanner)
    assert shown(held) == first and held.send(held.module.request()).accepted()
    certified()
    second = _fingerprint(tls.certificate)
    assert shown() == second != first and len(events("certificates_read")) == 1
    tls.certificate.write_text("nothing")
    assert shown() == second == shown()
    assert len(events("certificates_kept")) == 1 and "betz.pem" in events("certificates_kept")[0]["reason"]
    tls.certificate.unlink()
    assert shown() == second and len(events("certificates_kept")) == 2
    certified()
    assert shown() == _fingerprint(tls.certificate) != second
    assert held.send(held.module.ECHO).status() == 0


def test_an_authority_that_is_taken_out_is_believed_no_more(node, certified, tls_peer, authority):
    tls, other = certified(), trustme.CA()
    listener, scanner = node(tls=tls), certified("scanner")
    assert _echoes(tls_peer(listener.port, scanner))
    other.cert_pem.write_to_path(tls.authorities)
    assert _is_turned_away(tls_peer(listener.port, scanner))
    assert credentials_of(tls) is credentials_of(tls)


@pytest.mark.parametrize(("harm", "words"), [
    (lambda tls, other: tls.key.write_bytes(other.key.read_bytes()), "betz.key is not the key of the certificate in"),
    (lambda tls, other: tls.key.unlink(), "betz.key cannot be read: No such file"),
    (lambda tls, other: tls.certificate.write_text("x"), "both must be PEM files"),
    (lambda tls, other: tls.authorities.write_text("x"), "authorities.pem holds no certificate"),
])
def test_the_node_does_not_start_with_files_that_cannot_be_used(node, certified, harm, words):
    tls, other = certified(), certified("other")
    harm(tls, other)
    with pytest.raises(CertificateError, match=words):
        node(tls=tls)


def test_a_key_with_a_password_is_not_asked_for(certified):
    from cryptography.hazmat.primitives import serialization as forms

    tls = certified()
    key = forms.load_pem_private_key(tls.key.read_bytes(), None)
    closed = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(b"secret"))
    tls.key.write_bytes(closed)
    with pytest.raises(CertificateError, match="has a password"):
        Credentials(tls)


def test_the_log_says_once_a_day_that_the_certificate_ends(certified, events):
    begun = datetime.datetime(2030, 6, 1, tzinfo=datetime.UTC)
    tls, now = certified(not_before=begun, not_after=begun + datetime.timedelta(days=32)), [begun.timestamp()]
    own = Credentials(tls, lambda: now[0])
    said = []
    for day in (0, 1, 2.5, 3, 3.4, 3.6, 40):
        now[0] = begun.timestamp() + day * 86400
        assert own.current
        said.append(len(events("certificate_ends")))
    assert said == [0, 0, 1, 1, 1, 2, 3]
    reasons = [one["reason"] for one in events("certificate_ends")]
    assert "see to a new one" in reasons[0] and "ended on 2030-07-03" in reasons[-1]


def test_the_plain_port_hears_both_families(node, certified, raw_peer, free_port):
    node(tls=certified(), host="::", plain_port=free_port, accept=(Accept("SCANNER", "127.0.0.1"),))
    assert _echoes(raw_peer(free_port))


def test_a_plain_port_that_is_taken_is_named(node, certified, free_port):
    with socket.create_server(("127.0.0.1", free_port)), pytest.raises(BetzError, match=f"{free_port}.*plain_port another number"):
        node(tls=certified(), plain_port=free_port)

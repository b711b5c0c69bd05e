"""TLS by PS3.15 B.12 (BCP 195) and B.13 (the modified BCP 195): both sides show a certificate, TLS 1.2 at least, 1.3 where both can.

A socket of this module behaves as a plain one to whoever waits with `poll`: where it has nothing yet, it raises BlockingIOError, and a
read of 16 KiB or more (the longest TLS record) leaves nothing decrypted behind. Files that changed are read before the next connection;
where the new ones cannot be used the old ones stay in force, and the log says so once. That the node's own certificate ends soon it says
once a day. There is no resumption: each connection shows its certificate anew.

Of the suites that B.13 wants for TLS 1.3 Python 3.11 offers the three with GCM and ChaCha20; for the two with CCM it has no switch. Keys
and signatures below 112 bits of strength (RSA of less than 2048 bits, SHA-1) are refused in both profiles.
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from node.certificates import Identity, identity_of, warning_of
from node.errors import CertificateError
from node.log import log
from node.settings import Tls

EVERY_S = 86400.0  # how often the log says that the node's certificate ends soon
RECORD_AT_MOST = 2**14  # bytes of data in a TLS record (RFC 8446 5.1)
HANDSHAKE = 0x16  # the first byte of every TLS connection
SUITES = {  # of TLS 1.2; OpenSSL's names, the best first
    "b.12": "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384",
    "b.13": "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305:"
            "ECDHE-ECDSA-AES256-CCM:ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-CCM:"
            "ECDHE-ECDSA-AES256-CCM8:ECDHE-ECDSA-AES128-CCM8",
}  # fmt: skip
_REASONS = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "it showed no certificate",
    "UNSUPPORTED_PROTOCOL": "it offers no TLS 1.2 or newer",
    "NO_SHARED_CIPHER": "it offers no cipher suite of the profile",
    "WRONG_VERSION_NUMBER": "it does not speak TLS",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer does not accept the certificate of this node (bad certificate)",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer does not accept the certificate of this node (it ended)",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer does not accept the certificate of this node",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the peer does not accept the certificate of this node (its kind or its use)",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer found no way in common, or wants a certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not know the authority of this node's certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer got no certificate of this node",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer wants another version of TLS",
}


def reason_of(error: Exception) -> str:
    """Why TLS did not come about, in words."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {getattr(error, 'verify_message', error.args[-1]).rstrip('.')}"
    if isinstance(error, (ssl.SSLEOFError, ConnectionError, ssl.SSLZeroReturnError)):
        return "the peer hung up"
    if isinstance(error, ssl.SSLError) and error.reason:
        return _REASONS.get(error.reason, error.reason.lower().replace("_", " "))
    return "it took too long" if isinstance(error, TimeoutError) else str(error.strerror if isinstance(error, OSError) else error)


class Endpoint(ssl.SSLSocket):
    """A TLS socket that raises BlockingIOError where a plain one would. `expected`: what the peer's certificate must be, for a caller."""

    expected: str = ""
    trouble: str = ""
    _ahead: bytes | None = None

    @property
    def identity(self) -> Identity:
        """Who the peer is, after the handshake."""
        return identity_of(self.getpeercert(binary_form=True))

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
            if self.expected and not (found := self.identity).has(self.expected):
                raise ssl.SSLCertVerificationError(1, f"it is that of {found}, not of {self.expected}")
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise
        except OSError as error:
            self.trouble = reason_of(error)
            raise

    def is_ready(self) -> bool:
        """Is there data, or the end of it? What makes `poll` call a socket readable may be a record without either, a session ticket."""
        if self._ahead is None:
            patience_s = self.gettimeout()
            self.setblocking(False)
            try:
                self._ahead = self._plainly(super().recv, RECORD_AT_MOST)
            except BlockingIOError:
                return False
            except OSError:
                self._ahead = b""
            finally:
                self.settimeout(patience_s)
        return True

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        if self._ahead is None:
            return self._plainly(super().recv, buflen, flags)
        taken, self._ahead = self._ahead[:buflen], self._ahead[buflen:] or None
        return taken

    def recv_into(self, buffer, nbytes: int | None = None, flags: int = 0) -> int:
        return self._plainly(super().recv_into, buffer, nbytes, flags)

    def send(self, data, flags: int = 0) -> int:
        return self._plainly(super().send, data, flags)

    def _plainly(self, act, *arguments) -> Any:
        try:
            return act(*arguments)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ValueError:
            raise ConnectionAbortedError("closed by another thread") from None
        except ssl.SSLError as error:
            self.trouble = reason_of(error)
            raise

    def farewell(self) -> None:
        """Say that nothing more comes (RFC 8446 6.1); the peer may still speak."""
        with contextlib.suppress(OSError, ValueError):
            self.unwrap()


class Contexts(NamedTuple):
    """For callers; for calling a peer by its host name; for calling one that is bound to a certificate."""

    listening: ssl.SSLContext
    calling: ssl.SSLContext
    calling_bound: ssl.SSLContext


class Credentials:
    """What the node shows of itself and whom it believes, as the files say now."""

    def __init__(self, rules: Tls, clock: Callable[[], float] = time.time) -> None:
        self.rules, self.clock = rules, clock
        self._lock, self._state, self._looked = threading.Lock(), self._files(), -inf
        self._contexts = self._read()

    @property
    def current(self) -> Contexts:
        """What is in force now."""
        with self._lock:
            if (state := self._files()) != self._state:
                self._state = state
                self._renew()
            if abs(self.clock() - self._looked) >= EVERY_S:
                self._look_at_end()
            return self._contexts

    def _look_at_end(self) -> None:
        self._looked = self.clock()
        if warning := warning_of(self.rules, datetime.fromtimestamp(self._looked, UTC)):
            log("certificate_ends", reason=warning)

    def _renew(self) -> None:
        try:
            self._contexts = self._read()
            log("certificates_read", certificate=self.rules.certificate)
        except CertificateError as error:
            log("certificates_kept", reason=f"{error} The old ones stay in force.")

    def _files(self) -> list[tuple[int, ...] | None]:
        return [_stamp(path) for path in (self.rules.certificate, self.rules.key, self.rules.authorities)]

    def _read(self) -> Contexts:
        contexts = Contexts(*(_context(self.rules, kind) for kind in (ssl.PROTOCOL_TLS_SERVER, *[ssl.PROTOCOL_TLS_CLIENT] * 2)))
        contexts.calling_bound.check_hostname = False
        return contexts

    def accept(self, connection: socket.socket) -> Endpoint:
        """A connection that a peer opened; the handshake is still to be done, and waits for nobody."""
        return self.current.listening.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)


@functools.cache
def credentials_of(rules: Tls) -> Credentials:
    """The same ones for everybody in this process. CertificateError where they cannot be used."""
    return Credentials(rules)


def _stamp(path: Path) -> tuple[int, ...] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _context(rules: Tls, protocol: int) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_NO_TICKET | ssl.OP_CIPHER_SERVER_PREFERENCE
    context.set_ciphers(f"{SUITES[rules.profile]}:@SECLEVEL=2")
    context.sslsocket_class = Endpoint
    if protocol == ssl.PROTOCOL_TLS_SERVER:
        context.num_tickets = 0
    context.hostname_checks_common_name = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a single peer's certificate may stand among the authorities
    _load(context, rules)
    return context


def _load(context: ssl.SSLContext, rules: Tls) -> None:
    def no_password() -> str:
        raise CertificateError(f"The private key {rules.key} has a password; the node needs it without one.")
    for path in (rules.certificate, rules.key, rules.authorities):
        try:
            path.read_bytes()
        except OSError as error:
            raise CertificateError(f"{path} cannot be read: {error.strerror}.") from None
    try:
        context.load_verify_locations(rules.authorities)
    except ssl.SSLError:
        raise CertificateError(f"{rules.authorities} holds no certificate that can be read; it must be a PEM file.") from None
    try:
        context.load_cert_chain(rules.certificate, rules.key, no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise CertificateError(f"{rules.key} is not the key of the certificate in {rules.certificate}.") from None
        raise CertificateError(f"{rules.certificate} or {rules.key} cannot be used ({reason_of(error)}); both must be PEM files.") from None


class Caller:
    """Stands where the library takes an SSLContext: it makes the socket of one call, and knows afterwards what was wrong with it."""

    def __init__(self, credentials: Credentials, expected: str = "") -> None:
        self._credentials, self._expected = credentials, expected
        self._endpoint: Endpoint | None = None

    @property
    def trouble(self) -> str:
        return self._endpoint.trouble if self._endpoint else ""

    def wrap_socket(self, connection: socket.socket, server_side: bool, server_hostname: str) -> Endpoint:
        """RFC 9325 7.1: the certificate must be for the name that was called, unless the settings bind the peer to another."""
        contexts = self._credentials.current
        context = contexts.calling_bound if self._expected else contexts.calling
        self._endpoint = context.wrap_socket(connection, server_side=server_side, server_hostname=server_hostname)
        self._endpoint.expected = self._expected
        return self._endpoint

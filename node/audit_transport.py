"""Delivery of audit messages to the repository: syslog over TLS (RFC 5425, PS3.15 A.6), in their order, from the disk.

The protocol has no acknowledgement. A message counts as sent when the peer's TCP has taken every byte of it and the connection then stood
for `settle_s` without an end or an error; what was under way when a connection broke is sent again, whole, over the next. So a message may
arrive twice, and none is lost without a trace. The repository must prove who it is; the node shows its certificate where it has one. A
repository that is away is called again with growing pauses, and the log says so once, and again when it is back.
"""

from __future__ import annotations

import contextlib
import fcntl
import select
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime

from node import audit_trail
from node.audit_spool import AuditSpool
from node.errors import BetzError, SettingsError
from node.log import log
from node.settings import Audit, Settings

_STEP_S, _SWEEP_S, _TIMEOUT_S, _END_S, _CHECK_S = 0.5, 60.0, 15.0, 5.0, 5.0
PAUSES_S = (1.0, 60.0)


def rules_of(settings: Settings) -> Audit:
    """The settings of [audit]; the certificates that it does not name are those of [tls]."""
    rules, tls = settings.audit, settings.tls
    own = {} if rules.certificate else {"certificate": tls.certificate, "key": tls.key}
    return replace(rules, ca=rules.ca or tls.authorities, **own)


def context_of(rules: Audit) -> ssl.SSLContext:
    """TLS 1.2 at least; the repository is checked against `ca`, or the authorities of the system. SettingsError where that cannot be."""
    try:
        context = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=rules.ca)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if rules.certificate:
            context.load_cert_chain(rules.certificate, rules.key)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(f"[audit] ca, certificate or key cannot be used: {error.strerror or error}.") from None
    return context


def connect(rules: Audit, timeout_s: float = _TIMEOUT_S) -> ssl.SSLSocket:
    """A connection with the repository. BetzError says why there is none."""
    try:
        plain = socket.create_connection((rules.host, rules.port), timeout_s)
        try:
            return context_of(rules).wrap_socket(plain, server_hostname=rules.host)
        except BaseException:
            plain.close()
            raise
    except ssl.SSLCertVerificationError as error:
        raise BetzError(f"the audit repository {rules.host}, port {rules.port}, is not trusted: {error.verify_message}") from None
    except OSError as error:
        said = getattr(error, "reason", None) or error.strerror or type(error).__name__
        raise BetzError(f"the audit repository {rules.host}, port {rules.port}, cannot be reached: {said}") from None


def check(settings: Settings) -> str:
    """What `betz check` says of the audit trail; BetzError where the repository is out of reach, or too much waits for it."""
    rules, spool = rules_of(settings), audit_trail.spool_of(settings)
    if not audit_trail.is_wanted(rules):
        return "audit: no repository is configured under [audit]; there are no audit messages"
    if not rules.host:
        return f"audit: no repository is configured; messages stay in {spool.folder} for {rules.keep_days:g} days"
    try:
        connect(rules, _CHECK_S).close()
    except BetzError as error:
        raise BetzError(f"audit: {error}; {_waiting(spool)}") from None
    if spool.bytes() > spool.at_most_bytes / 2 and not rules.keep_days:
        room = f"there is room for {rules.maximum_gib:g} GiB ([audit] maximum_gib)"
        raise BetzError(f"audit: the repository answers, but {_waiting(spool)}; {room}")
    return f"audit: the repository {rules.host}, port {rules.port}, answers and is trusted; {_waiting(spool)}"


def _waiting(spool: AuditSpool) -> str:
    count, since = spool.waiting()
    if not count:
        return "no message waits for it"
    when = datetime.fromtimestamp(since).strftime("%Y-%m-%d %H:%M")
    return f"{count} messages wait for it, the oldest since {when} or later ({spool.bytes() / 2**20:.1f} MiB)"


@contextlib.contextmanager
def sending(settings: Settings) -> Iterator[None]:
    """While the node runs: events are taken, and their messages go to the repository, by threads of their own."""
    stop = threading.Event()
    transport = AuditTransport(rules_of(settings), audit_trail.spool_of(settings))
    thread = threading.Thread(target=transport.serve, args=(stop,), name="audit transport", daemon=True)
    if audit_trail.is_wanted(settings.audit):
        thread.start()
    try:
        with audit_trail.taking(settings):
            yield
    finally:
        stop.set()
        if thread.ident:
            thread.join(_END_S)


class AuditTransport:
    """Sends what the spool holds; `serve` runs in a thread of its own."""

    def __init__(self, rules: Audit, spool: AuditSpool, settle_s: float = 0.5, pauses_s: tuple[float, float] = PAUSES_S) -> None:
        self.rules, self.spool, self.settle_s, self.pauses_s = rules, spool, settle_s, pauses_s
        self._connection: ssl.SSLSocket | None = None
        self._failures, self._away_since = 0, 0.0

    def serve(self, stop: threading.Event) -> None:
        """Until told to stop, and then once more where the repository is there: it hears that the node stopped."""
        swept, is_over = 0.0, False
        while not is_over:
            is_over = stop.is_set()
            try:
                if time.monotonic() - swept > _SWEEP_S:
                    self.spool.sweep()
                    swept = time.monotonic()
                is_asleep = not self.rules.host or (is_over and self._away_since)
                pause_s = _STEP_S if is_asleep else self.step()
            except Exception as error:
                log("audit_failed", reason=f"{type(error).__name__} in the transport of audit messages")
                pause_s = self.pauses_s[-1]
            stop.wait(pause_s)
        self._hang_up()

    def step(self) -> float:
        """Send everything that waits; return how many seconds to pause."""
        try:
            while frames := self.spool.unsent():
                self._connection = self._connection or connect(self.rules)
                self._send(b"".join(frame for _, _, frame in frames))
                self.spool.mark_sent(frames)
                self._reached()
        except (BetzError, OSError) as error:
            return self._failed(str(error) if isinstance(error, BetzError) else f"the connection broke ({type(error).__name__})")
        return _STEP_S

    def _send(self, data: bytes) -> None:
        connection = self._connection
        if _has_ended(connection, 0.0):
            raise ConnectionError
        connection.settimeout(_TIMEOUT_S)
        connection.sendall(data)
        until = time.monotonic() + _TIMEOUT_S
        while _on_the_way(connection):
            if time.monotonic() > until:
                raise TimeoutError
            if _has_ended(connection, 0.01):
                raise ConnectionError
        if _has_ended(connection, self.settle_s):
            raise ConnectionError

    def _reached(self) -> None:
        if self._away_since:
            log("audit_repository_back", host=self.rules.host, away_s=round(time.monotonic() - self._away_since, 1))
        self._failures, self._away_since = 0, 0.0

    def _failed(self, reason: str) -> float:
        self._hang_up()
        first, longest = self.pauses_s
        self._failures += 1
        if not self._away_since:
            self._away_since = time.monotonic()
            log("audit_repository_away", host=self.rules.host, reason=reason)
        return min(longest, first * 2.0 ** min(self._failures - 1, 30))

    def _hang_up(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None


def _on_the_way(connection: ssl.SSLSocket) -> int:
    """Bytes that the peer's TCP has not acknowledged yet."""
    return struct.unpack("i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))[0]


def _has_ended(connection: ssl.SSLSocket, within_s: float) -> bool:
    """Whether the peer ends the connection within that time. It has nothing else to say (RFC 5425 is one way)."""
    until = time.monotonic() + within_s
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    while poll.poll(max(0.0, until - time.monotonic()) * 1000):
        connection.settimeout(0.0)
        try:
            if not connection.recv(4096):
                return True
        except ssl.SSLWantReadError:
            continue  # a session ticket, not the end
        except OSError:
            return True
    return False

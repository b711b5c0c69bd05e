"""The audit trail of this process: each event becomes a message (`audit`), is put on the disk (`audit_spool`), and goes to the repository
(`audit_transport`).

Like the log it is one for a process, begun by the service and by `betz purge`, and does nothing where the settings ask for none. An event
costs its caller a place in a queue: headers are read and the disk is written by a thread of its own, so that neither listener, worker nor
sender waits for it. What the disk does not take is tried again; what there is no room for, in memory or on the disk, is counted, said in
the log, and stands in the trail as a gap: "Audit Recording Stopped", and "Started" with the number of lost messages when there is room.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import queue
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from node import audit
from node.audit import Content, Node, Peer, Query
from node.audit_spool import AuditSpool
from node.log import log
from node.settings import Audit, Settings

MSGID = "DICOM+RFC3881"  # PS3.15 A.6 gives this value for messages of its format; dcm4che sends it, too
_NOTICE, _WARNING = 85, 84  # facility 10 (security) and severity 5, or 4 where something failed: PS3.15 A.6, RFC 5424 6.2.1
RUNNING = "running"  # a file beside the messages while the node runs
_IN_MEMORY, _AT_ONCE, _RETRY_S, _END_S = 10000, 100, 1.0, 10.0

Make = Callable[[], bytes]
"""Makes one message; called in the thread of the trail, may read files."""


class Trail:
    """Takes events, and keeps their messages durably in their order."""

    def __init__(self, node: Node, spool: AuditSpool) -> None:
        self.node, self.spool = node, spool
        self.lost, self._is_full, self._is_failing = 0, False, False
        self._start()

    def _start(self) -> None:
        self._process = os.getpid()
        self._queue: queue.Queue[tuple[datetime, Make] | None] = queue.Queue(_IN_MEMORY)
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="audit", daemon=True)
        self._thread.start()

    def keep(self, make: Make, when: datetime) -> None:
        if self._process != os.getpid():
            self._start()  # threads do not come along when a process forks
        try:
            self._queue.put_nowait((when, make))
        except queue.Full:
            self.lost += 1

    def close(self) -> None:
        """Write what waits, for a moment; the file is closed."""
        self._ends.set()
        try:
            self._queue.put(None, timeout=_END_S)
        except queue.Full:
            log("audit_failed", reason="the disk took no audit messages before the node ended", lost=self._queue.qsize())
        self._thread.join(_END_S)
        self.spool.close()

    def _serve(self) -> None:
        is_over = False
        while not is_over:
            waiting = [self._queue.get()]
            while len(waiting) < _AT_ONCE and not self._queue.empty():
                waiting.append(self._queue.get())
            is_over = None in waiting
            self._write([message for one in waiting if one and (message := self._made(*one))])

    def _made(self, when: datetime, make: Make) -> bytes | None:
        try:
            return framed(self.node, when, make())
        except Exception as error:  # what it says may quote a header
            log("audit_failed", reason=f"an audit message could not be made ({type(error).__name__})")
            return None

    def _write(self, messages: list[bytes]) -> None:
        while messages:
            try:
                self._append(messages)
                if self._is_failing:
                    log("audit_works_again")
                self._is_failing = False
                return
            except OSError as error:
                if not self._is_failing:
                    log("audit_failed", reason=f"the disk takes no audit messages ({error.strerror}); they wait in memory")
                self._is_failing = True
            if self._ends.wait(_RETRY_S):
                log("audit_failed", reason="the disk took no audit messages before the node ended", lost=len(messages))
                return

    def _append(self, messages: list[bytes]) -> None:
        if self.lost and self.spool.append([self._gap(audit.RECORDING_STARTED, f"{self.lost} audit messages were lost")]):
            log("audit_has_room", lost=self.lost)
            self.lost, self._is_full = 0, False
        if self.lost or not (self.spool.append(messages) or self._append_singly(messages)):
            if not self._is_full:
                self.spool.append([self._gap(audit.RECORDING_STOPPED, "there is no room for more audit messages")], even_if_full=True)
                log("audit_full", reason=f"{self.spool.folder} holds as much as [audit] maximum_gib allows; further messages are lost")
            self._is_full = True
            self.lost += len(messages)

    def _append_singly(self, messages: list[bytes]) -> bool:
        """Keep those for which there is still room: the gap begins where the room ends. What was kept leaves the list."""
        while messages and self.spool.append(messages[:1]):
            del messages[0]
        return not messages

    def _gap(self, kind: audit.Code, said: str) -> bytes:
        when = audit.now()
        return framed(self.node, when, audit.alert(self.node, when, [kind], said, outcome=audit.SERIOUS_FAILURE))


def framed(node: Node, when: datetime, message: bytes) -> bytes:
    """A syslog message (RFC 5424 6) around an audit message."""
    failed = b'EventOutcomeIndicator="0"' not in message
    stamp = when.isoformat(timespec="milliseconds")
    host = node.host.encode("ascii", "replace").decode().replace(" ", "_")[:255] or "-"
    return f"<{_WARNING if failed else _NOTICE}>1 {stamp} {host} betz {node.process} {MSGID} - ".encode() + message


# the trail of this process

_trail: Trail | None = None


def spool_of(settings: Settings) -> AuditSpool:
    rules = settings.audit
    return AuditSpool(settings.storage.folder, int(rules.maximum_gib * 2**30), rules.keep_days, bool(rules.host))


def is_wanted(rules: Audit) -> bool:
    return bool(rules.host) or rules.keep_days > 0


def begin(settings: Settings) -> None:
    """Take events from now on, where the settings ask for it."""
    global _trail
    end()
    if is_wanted(settings.audit):
        _trail = Trail(Node(settings.listener.ae_title, settings.results.institution), spool_of(settings))


def end() -> None:
    global _trail
    if _trail is not None:
        trail, _trail = _trail, None
        trail.close()


@contextlib.contextmanager
def taking(settings: Settings) -> Iterator[None]:
    """Take events meanwhile; at the end their messages lie on the disk, whatever happened."""
    begin(settings)
    try:
        yield
    finally:
        end()


def _keep(make: Callable[[Node, datetime], bytes], at: datetime | None = None) -> None:
    if trail := _trail:
        when = at or audit.now()
        trail.keep(lambda: make(trail.node, when), when)


# events

def node_ran() -> None:
    """Told before the first event of a start. A node that was killed owes the trail what came in its last minute: that is said."""
    if _trail is not None:
        mark = _trail.spool.folder / RUNNING
        if mark.exists():
            said = "the node ended without stopping: what it received or sent in its last minute may be missing here"
            _keep(lambda node, when: audit.alert(node, when, [audit.RECORDING_STARTED], said))
        with contextlib.suppress(OSError):  # a disk that takes nothing is said by the trail itself
            mark.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            mark.touch(0o600)


def node_started() -> None:
    _keep(lambda node, when: audit.activity(node, when, audit.APPLICATION_START))


def node_stopped() -> None:
    if _trail is not None:
        with contextlib.suppress(OSError):
            (_trail.spool.folder / RUNNING).unlink(missing_ok=True)
    _keep(lambda node, when: audit.activity(node, when, audit.APPLICATION_STOP))


def refused(address: str, reason: str, calling: str = "", about_identity: bool = True, times: int = 1) -> None:
    """A connection or association was refused: who it is was not proven, or it asked for what is not offered or limited."""
    kind = audit.NODE_AUTHENTICATION if about_identity else audit.RESTRICTED_FUNCTION
    said = reason if times == 1 else f"{reason} ({times} times)"
    _keep(lambda node, when: audit.alert(node, when, [kind], said, Peer(calling, address)))


def arrived(calling: str, address: str, study: str, action: str, classes: Mapping[str, int], example: Path, failure: str = "") -> None:
    """Objects of one study came over one association. `example`: one of them, which says whose they are."""
    sender, counted = Peer(calling, address), dict(classes)
    _keep(lambda node, when: audit.arrived(node, when, sender, Content(study, patient_id(example), counted), action, failure))


def begun(ae_title: str, address: str, study: str, files: Iterable[Path]) -> None:
    """Results of one study are about to be sent to a destination."""
    paths = tuple(files)
    _keep(lambda node, when: audit.begun(node, when, Peer(ae_title, address), content_of(study, paths)))


def sent(ae_title: str, address: str, study: str, files: Iterable[Path], failure: str = "") -> None:
    """Results of one study went to a destination, or were refused there for good."""
    paths = tuple(files)
    _keep(lambda node, when: audit.sent(node, when, Peer(ae_title, address), content_of(study, paths), failure))


def queried(receiver: Peer, query: Query, at: datetime, failure: str = "") -> None:
    """A query left at this time; `failure`: why it was not answered."""
    _keep(lambda node, when: audit.queried(node, when, receiver, query, failure), at)


def deletion(study: str, files: Iterable[Path]) -> Callable[[], None]:
    """A study is to be removed: whose it is is read now; what is returned tells it when the study is gone."""
    content = Content(study, _patient_of(files) if _trail else "", {})
    return lambda: _keep(lambda node, when: audit.deleted(node, when, content))


def settings_compared(settings: Settings) -> None:
    """Say what differs from the settings of the last start: which tables, never their values."""
    if _trail is None:
        return
    place = _trail.spool.folder / "settings.json"
    mine = digests(settings)
    try:
        known = json.loads(place.read_text())
    except (OSError, ValueError):
        known = None  # the first start
    if known is not None and (changed := sorted(name for name in mine.keys() | known.keys() if mine.get(name) != known.get(name))):
        kinds = list(dict.fromkeys(_KINDS.get(name, audit.SOFTWARE_CONFIGURATION) for name in changed))
        said = f"the settings differ from those of the last start in: {', '.join(changed)}"
        _keep(lambda node, when: audit.alert(node, when, kinds, said, file=settings.source, outcome=audit.SUCCESS))
    if known != mine:
        try:
            place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            place.touch(0o600)
            place.write_text(json.dumps(mine))
        except OSError as error:
            log("audit_failed", reason=f"what the settings are cannot be kept ({error.strerror}); the next start says that they changed")


_KINDS = {"listener": audit.NETWORK_CONFIGURATION, "destination": audit.NETWORK_CONFIGURATION, "accept": audit.SECURITY_CONFIGURATION,
          "tls": audit.SECURITY_CONFIGURATION, "audit": audit.SECURITY_CONFIGURATION}


def digests(settings: Settings) -> dict[str, str]:
    """A digest of each table of the settings; the list of accepted callers apart."""
    tables = {**{name: value for name, value in vars(settings).items() if name != "source"}, "accept": settings.listener.accept}
    return {name: hashlib.sha256(repr(value).encode()).hexdigest()[:16] for name, value in tables.items()}


def patient_id(path: Path) -> str:
    """Whose object it is; "" where that cannot be read."""
    from pydicom import dcmread

    try:
        return str(dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"], force=True).get("PatientID") or "").strip()
    except Exception:  # a damaged header must not cost the message
        return ""


def content_of(study: str, files: Iterable[Path]) -> Content:
    """Whose a study is, and what it holds, from its files."""
    from pydicom.filereader import read_file_meta_info

    paths, counted = list(files), Counter()
    for path in paths:
        try:
            counted[str(read_file_meta_info(path).MediaStorageSOPClassUID)] += 1
        except Exception:  # counted is what can be read
            continue
    return Content(study, _patient_of(paths), counted)


def _patient_of(files: Iterable[Path]) -> str:
    """Whose they are, from the first of them that says so."""
    return next((found for path in itertools.islice(files, 3) if (found := patient_id(path))), "")

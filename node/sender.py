"""The sender: every result to every destination, until it is there or refused for good.

One thread per destination, so that one that is down never holds another. Each SOP class has presentation contexts of its own, so a
class that is refused costs its own objects only. What may pass (no connection, out of resources, a transient rejection) is tried again,
twice as long apart each time, with jitter; what will not (refused class or syntax, cannot understand, a permanent rejection) is parked
with its reason. A warning status counts as delivered and is logged. The clock and the random numbers are arguments.
"""

from __future__ import annotations

import contextlib
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from node.errors import BetzError, DeliveryError, RefusedError
from node.journal import DELIVERED, PARKED, PENDING, Journal, ResultRow
from node.log import log
from node.outbox import Outbox, identity_difference
from node.settings import Destination, Settings
from node.spool import Spool

EXPLICIT, IMPLICIT, VERIFICATION = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2", "1.2.840.10008.1.1"
_CONTEXTS, _AT_ONCE, _STEP_S = 126, 200, 0.5
_TRANSIENT = 2


@dataclass(frozen=True)
class Sent:
    """What became of one object: no `error`, or why not. `warning` is a status that still means stored."""

    error: DeliveryError | None = None
    warning: str = ""


def echo(peer: Destination, calling: str, timeout_s: float) -> None:
    """C-ECHO; DeliveryError with the reason where it is not answered."""
    with _associated(peer, calling, [(VERIFICATION, IMPLICIT)], timeout_s) as association:
        status = association.send_c_echo()
        if "Status" not in status or status.Status != 0:
            raise DeliveryError(f"{_called(peer)} did not answer C-ECHO with success.")


def deliver(peer: Destination, calling: str, paths: Sequence[Path], timeout_s: float) -> Iterator[tuple[Path, Sent]]:
    """Send files by C-STORE over one association, as they are encoded; say of each what became of it.

    Only a peer that takes a class in the other uncompressed syntax alone gets it converted.
    """
    kinds = {path: _kind(path) for path in paths}
    yield from ((path, Sent(kind)) for path, kind in kinds.items() if isinstance(kind, DeliveryError))
    good = {path: kind for path, kind in kinds.items() if not isinstance(kind, DeliveryError)}
    for group in _groups(good):
        left = list(group)
        try:
            with _associated(peer, calling, _offered(group.values()), timeout_s) as association:
                while left:
                    yield left[0], _store(association, left[0], group[left[0]])
                    left.pop(0)
        except DeliveryError as error:
            yield from ((path, Sent(error)) for path in left)


def _kind(path: Path) -> tuple[str, str] | DeliveryError:
    """SOP class and transfer syntax of a file."""
    from pydicom.errors import InvalidDicomError
    from pydicom.filereader import read_file_meta_info

    try:
        meta = read_file_meta_info(path)
        return str(meta.MediaStorageSOPClassUID), str(meta.TransferSyntaxUID)
    except FileNotFoundError:
        return RefusedError(f"{path.name} is gone.")
    except (InvalidDicomError, AttributeError, OSError):
        return RefusedError(f"{path.name} is not a DICOM file that says its SOP class and transfer syntax.")


def _offered(kinds: Iterator[tuple[str, str]]) -> list[tuple[str, str]]:
    """Class and syntax of each context: the file's own, and for uncompressed files both."""
    offered: dict[tuple[str, str], None] = {}
    for sop_class, syntax in kinds:
        for one in (EXPLICIT, IMPLICIT) if syntax in (EXPLICIT, IMPLICIT) else (syntax,):
            offered[sop_class, one] = None
    return list(offered)


def _groups(kinds: dict[Path, tuple[str, str]]) -> Iterator[dict[Path, tuple[str, str]]]:
    """Files whose contexts fit into one association (at most 128, PS3.8 9.3.2.2)."""
    group: dict[Path, tuple[str, str]] = {}
    for path, kind in kinds.items():
        if len(_offered([*group.values(), kind])) > _CONTEXTS:
            yield group
            group = {}
        group[path] = kind
    if group:
        yield group


@contextlib.contextmanager
def _associated(peer: Destination, calling: str, contexts: Sequence[tuple[str, str]], timeout_s: float):
    from pynetdicom import AE, _config, evt

    _config.STORE_SEND_CHUNKED_DATASET, _config.LOG_HANDLER_LEVEL = True, "none"
    ae = AE(calling)
    ae.connection_timeout = ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = timeout_s
    for sop_class, syntax in contexts:
        ae.add_requested_context(sop_class, syntax)
    try:
        association = ae.associate(peer.host, peer.port, ae_title=peer.ae_title, evt_handlers=[(evt.EVT_CONN_OPEN, _no_delay)])
    except Exception as error:
        raise DeliveryError(f"{_called(peer)} cannot be called: {error}.") from error
    try:
        if not association.is_established and not association.rejected_contexts:
            raise _refusal(peer, association)
        yield association
    finally:
        if association.is_established:
            association.release()


def _refusal(peer: Destination, association) -> DeliveryError:
    answer = association.acceptor.primitive
    if not association.is_rejected or answer is None:
        return DeliveryError(f"{_called(peer)} cannot be reached, or ended the association at once.")
    kind = DeliveryError if answer.result == _TRANSIENT else RefusedError
    return kind(f"{_called(peer)} rejected the association: {answer.reason_str.lower()}.")


def _store(association, path: Path, kind: tuple[str, str]) -> Sent:
    from pydicom import dcmread

    accepted = {(str(cx.abstract_syntax), str(cx.transfer_syntax[0])) for cx in association.accepted_contexts}
    convertible = kind[1] in (EXPLICIT, IMPLICIT) and accepted & {(kind[0], EXPLICIT), (kind[0], IMPLICIT)}
    if kind not in accepted and not convertible:
        return Sent(RefusedError(f"the peer does not accept {_named(kind[0])} in {_named(kind[1])}"))
    if not association.is_established:
        raise DeliveryError("The connection was lost.")
    try:
        answer = association.send_c_store(path if kind in accepted else dcmread(path))
    except (ValueError, AttributeError, OSError) as error:
        return Sent(RefusedError(f"{path.name} cannot be encoded: {error}"))
    except RuntimeError as error:
        raise DeliveryError("The connection was lost.") from error
    if "Status" not in answer:
        raise DeliveryError("The peer did not answer, or the connection was lost.")
    return _verdict(answer.Status, str(answer.get("ErrorComment", "") or ""))


def _verdict(status: int, comment: str) -> Sent:
    """What a C-STORE status means (PS3.4 B.2.3, PS3.7 C)."""
    said = f"status {status:04X}" + (f" ({comment})" if comment else "")
    if status == 0x0000:
        return Sent()
    if status >> 12 == 0xB or status in (0x0001, 0x0107, 0x0116):
        return Sent(warning=said)
    if status >> 8 == 0xA7 or status in (0x0110, 0x0213):
        return Sent(DeliveryError(f"the peer is out of resources or failed for now: {said}"))
    return Sent(RefusedError(f"the peer refused: {said}"))


def _named(uid: str) -> str:
    from pydicom.uid import UID

    return UID(uid).name


def _called(peer: Destination) -> str:
    return f"{peer.ae_title} at {peer.host}, port {peer.port}"


def _no_delay(event) -> None:
    with contextlib.suppress(OSError, AttributeError):
        event.assoc.dul.socket.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


class Sender:
    """Sends to one destination what the journal says is due there."""

    def __init__(self, settings: Settings, peer: Destination, journal: Journal, spool: Spool, outbox: Outbox,
                 clock: Callable[[], float] = time.time, chance: Callable[[], float] = random.random) -> None:
        self.settings, self.peer, self.journal, self.spool, self.outbox = settings, peer, journal, spool, outbox
        self.clock, self.chance = clock, chance

    def serve(self, stop: threading.Event) -> None:
        while not stop.wait(_STEP_S):
            try:
                self.step()
            except Exception as error:
                log("sender_failed", destination=self.peer.name, reason=f"{type(error).__name__}: {error}")

    def step(self) -> int:
        """Try everything that is due now; return how many objects that were."""
        due = self.journal.due(self.peer.name)[:_AT_ONCE]
        rows = {self.outbox.path_of(row.study, row.answer, row.file): row for row in due if self._may_leave(row)}
        if rows:
            for path, sent in deliver(self.peer, self.settings.listener.ae_title, list(rows), self.settings.sender.timeout_s):
                self._record(rows[path], sent)
        return len(due)

    def _may_leave(self, row: ResultRow) -> bool:
        """A result whose patient or study is not that of its source is parked, whatever made it so."""
        path = self.outbox.path_of(row.study, row.answer, row.file)
        different = identity_difference(path, self.spool.instances(row.study)) if path.exists() else None
        if different:
            self._record(row, Sent(RefusedError(f"not sent: patient or study differ from the source ({different})")))
        return not different

    def _record(self, row: ResultRow, sent: Sent) -> None:
        fields = {"destination": self.peer.name, "study": row.study, "file": row.file}
        if sent.error is None:
            self.journal.sent(row, DELIVERED, sent.warning)
            log("result_delivered", **fields, warning=sent.warning)
        elif isinstance(sent.error, RefusedError):
            self.journal.sent(row, PARKED, str(sent.error))
            log("result_parked", **fields, reason=str(sent.error))
        else:
            self._retry(row, str(sent.error), fields)

    def _retry(self, row: ResultRow, reason: str, fields: dict[str, str]) -> None:
        rules, now = self.settings.sender, self.clock()
        if row.first_try and now - row.first_try > rules.give_up_h * 3600:
            reason = f"given up after {rules.give_up_h:g} hours; the last reason was: {reason}"
            self.journal.sent(row, PARKED, reason)
            log("result_parked", **fields, reason=reason)
            return
        wait_s = self.wait_s(row.attempts)
        self.journal.sent(row, PENDING, reason, now + wait_s)
        log("result_waits", **fields, reason=reason, wait_s=round(wait_s, 1))

    def wait_s(self, attempts: int) -> float:
        """How long to wait after so many failures before this one: doubled each time, up to the maximum, less up to a half by chance."""
        rules = self.settings.sender
        return min(rules.retry_maximum_s, rules.retry_first_s * 2.0 ** min(attempts, 60)) * (1.0 - self.chance() / 2.0)


def send_folder(folder: Path, peer: Destination, calling: str, timeout_s: float, say: Callable[[str], None]) -> int:
    """Send every DICOM file under a folder; say what was refused, return how many are there. BetzError where one is not."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    paths = [path for path in files if _is_dicom(path)]
    others = sorted(path.name for path in set(files) - set(paths))
    if not paths:
        raise BetzError(f"{folder} holds no DICOM file.")
    if others:
        say(f"{len(others)} files are no DICOM files and were not sent: {', '.join(others[:5])}{' …' if len(others) > 5 else ''}")
    failed = 0
    for path, sent in deliver(peer, calling, paths, timeout_s):
        if sent.error or sent.warning:
            say(f"{path.name}: {sent.error or sent.warning}")
        failed += sent.error is not None
    if failed:
        raise BetzError(f"{failed} of {len(paths)} objects did not reach {_called(peer)}.")
    return len(paths)


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"

"""The Storage Commitment Push Model as its user (PS3.4 J): a peer is asked to commit itself to keep objects, and reports whether it does.

The report (N-EVENT-REPORT) may come over the association of the request while that is open, or over one that the peer opens to the node.
Both are heard by one function, `hear`, an argument; it decides whether the transaction is known. Only what a report names as committed
is proven: no sequence, no proof. A report that cannot be understood or kept is answered with a failure, so that the peer may report again;
an association to the node that brings `STRANGE_AT_MOST` such reports, or ones that nobody asked for, is aborted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from node.association import EXPLICIT, IMPLICIT, associated, called
from node.errors import DeliveryError, RefusedError, UnreachableError
from node.log import log, uid_in_log
from node.settings import Destination

SOP_CLASS, SOP_INSTANCE = "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1"
NOT_SUPPORTED, CLASS_CONFLICT, DUPLICATE_TRANSACTION = 0x0122, 0x0119, 0x0131
FAILURES = {  # PS3.3 C.14.1.1, Failure Reason
    0x0110: "processing failure", 0x0112: "no such object there", 0x0213: "out of resources", NOT_SUPPORTED: "SOP class not supported",
    CLASS_CONFLICT: "the object has another SOP class there", DUPLICATE_TRANSACTION: "the transaction UID was used before",
}  # fmt: skip
STRANGE_AT_MOST = 20
_REQUEST, _SUCCESS, _PROCESSING_FAILURE, _STEP_S = 1, 0x0000, 0x0110, 0.05


@dataclass(frozen=True)
class Report:
    """What a peer says about a transaction: SOP Instance UIDs that it keeps, and those that it does not, with the reason."""

    transaction: str
    proven: frozenset[str]
    failed: dict[str, int]


Hear = Callable[[Report, str], bool]
"""(report, AE title of the peer that reports): keep it durably; False where there is no such transaction with that peer."""


def request(peer: Destination, calling: str, transaction: str, instances: Iterable[tuple[str, str]], hear: Hear,
            timeout_s: float, patience_s: float, is_answered: Callable[[], bool]) -> None:
    """N-ACTION for (SOP class, SOP instance) pairs, then wait up to `patience_s` for a report over the same association.

    RefusedError where the peer does not offer the service; DeliveryError where it did not take the request.
    """
    from pynetdicom import evt

    handlers = [(evt.EVT_N_EVENT_REPORT, _Ear(hear, peer.ae_title))]
    with associated(peer, calling, [(SOP_CLASS, EXPLICIT), (SOP_CLASS, IMPLICIT)], timeout_s, handlers) as association:
        if not association.accepted_contexts:
            raise RefusedError(f"{called(peer)} does not offer storage commitment")
        _ask(association, transaction, instances)
        end = time.monotonic() + patience_s
        while association.is_established and not is_answered() and time.monotonic() < end:
            time.sleep(_STEP_S)


def _ask(association, transaction: str, instances: Iterable[tuple[str, str]]) -> None:
    from pydicom import Dataset

    asked = Dataset()
    asked.TransactionUID, asked.ReferencedSOPSequence = transaction, []
    for sop_class, uid in instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, uid
        asked.ReferencedSOPSequence.append(item)
    try:
        answer, _ = association.send_n_action(asked, _REQUEST, SOP_CLASS, SOP_INSTANCE)
    except (RuntimeError, ValueError) as error:
        raise UnreachableError("The connection was lost.") from error
    if "Status" not in answer:
        raise UnreachableError("The peer did not answer to the request for storage commitment.")
    if answer.Status != _SUCCESS:
        words = FAILURES.get(answer.Status, "a failure")
        raise DeliveryError(f"the peer did not take the request for storage commitment: {words} (status {answer.Status:04X})")


def services(hear: Hear) -> tuple[str, list[tuple]]:
    """The SOP class that a listener supports in both roles, and its event handlers, for reports over associations that peers open."""
    from pynetdicom import evt

    return SOP_CLASS, [(evt.EVT_N_EVENT_REPORT, _Ear(hear))]


class _Ear:
    """The handler of N-EVENT-REPORT. `title`: the peer that is asked over the association; else the one that opened it to the listener."""

    def __init__(self, hear: Hear, title: str = "") -> None:
        self.hear, self.title = hear, title
        self._strange: WeakKeyDictionary = WeakKeyDictionary()

    def __call__(self, event) -> tuple[int, None]:
        title = self.title or event.assoc.requestor.ae_title.strip()
        if self._is_heard(event, title):
            return _SUCCESS, None
        self._strange[event.assoc] = count = self._strange.get(event.assoc, 0) + 1
        if count >= STRANGE_AT_MOST and not self.title:
            event.assoc.dul.end(f"{count} of its reports on storage commitment were wrong or not asked for")
        return _PROCESSING_FAILURE, None

    def _is_heard(self, event, title: str) -> bool:
        try:
            report = _read(event.event_information)
            known = self.hear(report, title)
        except Exception as error:
            log("commitment_failed", peer=title, reason=f"a report could not be read or kept ({type(error).__name__})")
            return False
        if not known:
            log("commitment_unknown", peer=title, transaction=uid_in_log(report.transaction), reason="the node did not ask this peer so")
        return known


def _read(information) -> Report:
    proven = frozenset(str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence") or ())
    failed = {str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason") or _PROCESSING_FAILURE)
              for item in information.get("FailedSOPSequence") or ()}
    return Report(str(information.TransactionUID), proven - failed.keys(), failed)

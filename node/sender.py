"""The sender: every result to every destination, until it is there, proven where the settings ask for a proof, or refused for good.

One thread per destination, so that one that is down, slow or stalls never holds another. Results go by C-STORE (`storage`) or, where the
destination has a URL, by STOW-RS (`dicomweb`), outcomes into the journal (`delivery`), and a destination that does not answer is left alone
for a while (`circuit`). Where one is to prove what it has, it is asked when every object of an answer is stored: by storage commitment
(`commitment`), or by a query (C-FIND, QIDO-RS) where the settings allow that and commitment is off or not offered. What it does not have is
sent again. For an object of a class that the destination does not take another one stands in (`substitution`). The clock and the random
numbers are arguments.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from node import commitment
from node.channel import channel_to
from node.circuit import Circuit, is_due, is_open
from node.commitment import Report
from node.delivery import Delivery, wait_s
from node.errors import DeliveryError, RefusedError, UnreachableError, UnsupportedError
from node.journal import Journal
from node.log import log
from node.outbox import Outbox, identity_difference
from node.records import ASKED, DELIVERED, STORED, ProofRow, ResultRow
from node.rounds import rounds
from node.settings import Destination, Settings
from node.spool import Spool
from node.substitution import Substitution

_AT_ONCE, _LOOKS = 200, 3
REPORT_PATIENCE_S = 5.0


@dataclass(frozen=True)
class _Stored:
    """An object that is to be proven: its row, and what identifies it."""

    row: ResultRow
    sop_class: str
    uid: str
    series: str


class Sender:
    """Sends to one destination what the journal says is due there, and has it proven."""

    def __init__(self, settings: Settings, peer: Destination, journal: Journal, spool: Spool, outbox: Outbox,
                 clock: Callable[[], float] = time.time, chance: Callable[[], float] = random.random,
                 patience_s: float = REPORT_PATIENCE_S, follow: Callable[[], object] = lambda: None) -> None:
        self.settings, self.peer, self.journal, self.spool, self.outbox = settings, peer, journal, spool, outbox
        self.follow = follow
        self.clock, self.chance, self.patience_s = clock, chance, patience_s
        self.rules, self.calling = settings.sender, settings.listener.ae_title
        self.channel = channel_to(peer, self.calling, self.rules.timeout_s)
        self.delivery = Delivery(journal, peer, self.rules, clock, chance)
        self.substitution = Substitution(journal, outbox, peer.name, self.delivery)
        self._offered: tuple[str, str] | None = None
        self.circuit = Circuit(journal, peer.name, self.rules, clock, chance)

    def serve(self, stop: threading.Event) -> None:
        rounds(stop, lambda: self.step(stop.is_set), "sender_failed", destination=self.peer.name)

    def step(self, stop: Callable[[], bool] = lambda: False) -> int:
        """Try everything that is due now; return how many objects that were. `follow` comes before: the clock may have been put."""
        self.follow()
        if is_open(self.circuit.row()) and not self._answers_again():
            return 0
        due = self.journal.due(self.peer.name, self.rules.retry_maximum_s)[:_AT_ONCE]
        self._send([row for row in due if self._may_leave(row)], stop)
        self.substitution.settle()
        for study, answer in self.journal.to_prove(self.peer.name):
            if not stop() and not is_open(self.circuit.row()):
                self._prove(study, answer)
        return len(due)

    def _answers_again(self) -> bool:
        """A call (C-ECHO) where it is time for one. What was due meanwhile has waited for this destination, and says so."""
        if not is_due(self.circuit.row(), self.clock()):
            return False
        try:
            self.channel.reach()
        except DeliveryError as error:
            self.circuit.failed(str(error))
            self.journal.put_off(self.peer.name, str(error), self.circuit.row().next_try)
            for row in self.journal.first_tried_before(self.peer.name, self.clock() - self.rules.give_up_h * 3600):
                self.delivery.again(row, str(error))
            return False
        self.journal.hasten(self.peer.name)
        if not self.journal.due(self.peer.name):
            self.circuit.reached()
        return True

    def _send(self, due: Sequence[ResultRow], stop: Callable[[], bool]) -> None:
        rows, lost, answered = {self._path(row): row for row in due}, "", False
        if not rows:
            return
        self.delivery.begin(due, self._path)
        for path, sent in self.channel.deliver(list(rows), lambda path: self._offer(rows[path])):
            self.delivery.noted(rows[path], sent)
            if isinstance(sent.error, UnsupportedError):
                self.substitution.refused(rows[path], str(sent.error))
            else:
                self.delivery.record(rows[path], sent)
            away = isinstance(sent.error, UnreachableError)
            lost, answered = str(sent.error) if away else lost, answered or not away
            if stop():
                break
        self.delivery.tell(self._path)
        if answered:
            self.circuit.reached()
        elif lost:
            self.circuit.failed(lost)

    def _offer(self, row: ResultRow) -> None:
        if self._offered != (row.study, row.answer):
            self.journal.offer(row)
            self._offered = (row.study, row.answer)

    def _path(self, row: ResultRow) -> Path:
        return self.outbox.path_of(row.study, row.answer, row.file)

    def _may_leave(self, row: ResultRow) -> bool:
        """A result whose patient or study is not that of its source is parked, whatever made it so."""
        path = self._path(row)
        different = identity_difference(path, self.spool.instances(row.study)) if path.exists() else None
        if different:
            self.delivery.park(row, f"not sent: patient or study differ from the source ({different})")
        return not different

    # proof

    def _prove(self, study: str, answer: str) -> None:
        stored, asked = self._stored(study, answer), self.journal.proofs_of(study, answer, self.peer.name)
        if not self.peer.is_to_prove:
            for one in stored:
                self.journal.sent(one.row, DELIVERED, "the proof is no longer asked for")
        elif asked and self.clock() - asked[0].asked > self.rules.give_up_h * 3600:
            reason = f"stored, but not proven in {self.rules.give_up_h:g} hours: {asked[-1].reason or 'no report came'}"
            for one in stored:
                self.delivery.park(one.row, reason)
        elif stored and self._is_due(asked):
            self._ask(study, answer, stored, len(asked) + 1)

    def _stored(self, study: str, answer: str) -> list[_Stored]:
        """What waits for its proof. An object that is gone from the outbox cannot be named, and is parked."""
        found = []
        for row in self.journal.results_of(study, STORED):
            if (row.answer, row.destination) == (answer, self.peer.name):
                try:
                    found.append(_identified(row, self._path(row)))
                except (OSError, AttributeError, ValueError):
                    self.delivery.park(row, f"stored, but not proven: {row.file} is gone from the outbox")
        return found

    def _is_due(self, asked: Sequence[ProofRow]) -> bool:
        earlier = [one for one in asked if one.asked <= self.clock()]  # one from the future was written by a wrong clock
        if not earlier:
            return True
        last, passed_s = earlier[-1], self.clock() - earlier[-1].asked
        if last.state != ASKED:
            return passed_s >= wait_s(self.rules, len(earlier) - 1, 0.0)
        if passed_s >= self.rules.proof_wait_s:
            self.journal.answered(last.transaction, f"no report in {self.rules.proof_wait_s:g} s")
            log("commitment_late", destination=self.peer.name, study=last.study, transaction=last.transaction)
            return True
        return False

    def _ask(self, study: str, answer: str, stored: Sequence[_Stored], times: int) -> None:
        from pydicom.uid import generate_uid

        transaction, reason = str(generate_uid(prefix=None)), ""
        self.journal.ask(transaction, self.peer.name, study, answer)
        try:
            if not (self.peer.commitment and self._is_asked_to_commit(transaction, stored)):
                reason = self._look(study, stored, times)
                self.journal.answered(transaction, reason)
            self.circuit.reached()
        except DeliveryError as error:
            self.journal.answered(transaction, str(error))
            log("proof_waits", destination=self.peer.name, study=study, reason=str(error))
            if isinstance(error, UnreachableError):
                self.circuit.failed(str(error))

    def _is_asked_to_commit(self, transaction: str, stored: Sequence[_Stored]) -> bool:
        """False where the peer does not offer it and C-FIND may serve; else the objects are parked, as nothing proves them."""
        try:
            log("commitment_asked", destination=self.peer.name, transaction=transaction, objects=len(stored))
            commitment.request(self.peer, self.calling, transaction, [(one.sop_class, one.uid) for one in stored], self.hear,
                               self.rules.timeout_s, self.patience_s, lambda: self.journal.proof(transaction).state != ASKED)
        except RefusedError as error:
            if self.peer.query:
                return False
            for one in stored:
                self.delivery.park(one.row, f"stored, but not proven: {error}")
            raise
        return True

    def _look(self, study: str, stored: Sequence[_Stored], times: int) -> str:
        """C-FIND or QIDO-RS. What was not found at the third look is sent again: an archive may take a moment to list what it has."""
        there, how = self.channel.find(study, [(one.series, one.uid) for one in stored]), self.channel.query
        missing = [one for one in stored if one.uid not in there]
        for one in stored:
            if one.uid in there:
                self.delivery.proven(one.row, f"found by {how}")
            elif times >= _LOOKS:
                self.delivery.again(one.row, f"stored, but a {how} does not find it")
        return f"a {how} does not find {len(missing)} of {len(stored)} objects" if missing else ""

    def hear(self, report: Report, title: str) -> bool:
        """Keep what the peer reports on a transaction, over whatever association; False where it was not asked so."""
        asked = self.journal.proof(report.transaction)
        if asked is None or asked.destination != self.peer.name or title != self.peer.ae_title:
            return False
        waiting = self._stored(asked.study, asked.answer)
        if asked.state != ASKED and not waiting:
            return True  # said before
        for one in waiting:
            if one.uid in report.proven:
                self.delivery.proven(one.row, "committed")
            elif one.uid in report.failed:
                self._not_committed(one.row, report.failed[one.uid])
        reason = f"{len(report.failed)} objects were not committed" if report.failed else ""
        self.journal.answered(report.transaction, reason)
        log("commitment_reported", destination=self.peer.name, study=asked.study, transaction=report.transaction,
            committed=len(report.proven), failed=len(report.failed))
        return True

    def _not_committed(self, row: ResultRow, failure: int) -> None:
        reason = f"stored, but the peer does not commit itself: {commitment.FAILURES.get(failure, 'failure')} ({failure:04X})"
        if failure in (commitment.NOT_SUPPORTED, commitment.CLASS_CONFLICT):
            self.delivery.park(row, reason)
        elif failure != commitment.DUPLICATE_TRANSACTION:
            self.delivery.again(row, reason)


def _identified(row: ResultRow, path: Path) -> _Stored:
    from pydicom import dcmread

    header = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID"])
    return _Stored(row, str(header.SOPClassUID), str(header.SOPInstanceUID), str(header.SeriesInstanceUID))

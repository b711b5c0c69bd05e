"""The part of the journal about the results at the destinations, their proofs, and destinations that do not answer.

A result row is pending, stored (the peer took it, and is to prove that it keeps it), proven, delivered (no proof is asked for), unsupported
(the peer does not take its class; what stands for it is not decided), replaced (something else stands for it), parked, superseded (a newer
answer exists) or cancelled. Every change is one durable transaction and is conditional on the state before.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress

from sqlalchemy import Engine, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from node.records import (
    ARRIVED,
    ASKED,
    PENDING,
    REPLACED,
    STORED,
    SUPERSEDED,
    UNSUPPORTED,
    CircuitRow,
    ProofRow,
    ResultRow,
    circuits,
    offered,
    proofs,
    results,
)


class DeliveryJournal(ABC):
    """What is to be sent where, on an open journal. `clock` gives seconds since 1970."""

    def __init__(self, engine: Engine, clock: Callable[[], float]) -> None:
        self.engine, self.clock = engine, clock

    @abstractmethod
    def settle(self, study: str) -> None:
        """Called when a result of a study has changed."""

    def results_of(self, study: str, *states: str) -> list[ResultRow]:
        return self._results(results.c.study == study, *([results.c.state.in_(states)] if states else []))

    def due(self, destination: str, longest_wait_s: float = float("inf")) -> list[ResultRow]:
        """What is to be sent there now, the longest waiting first. What waits longer than anything may was written by a wrong clock."""
        now = self.clock()
        when = or_(results.c.next_try <= now, results.c.next_try > now + longest_wait_s)
        return self._results(results.c.destination == destination, results.c.state == PENDING, when)

    def waiting(self, state: str = PENDING) -> dict[str, int]:
        """How many objects still wait for each destination, or for its proof."""
        counted = select(results.c.destination, func.count()).where(results.c.state == state).group_by(results.c.destination)
        with self.engine.connect() as connection:
            return dict(connection.execute(counted).tuples().all())

    def _results(self, *conditions: object) -> list[ResultRow]:
        with self.engine.connect() as connection:
            found = connection.execute(select(results).where(*conditions).order_by(results.c.next_try, results.c.id)).all()
        return [ResultRow(**row._mapping) for row in found]

    def offer(self, row: ResultRow) -> None:
        """An object of an answer is about to be sent: it may arrive without anybody here hearing of it."""
        with suppress(IntegrityError), self.engine.begin() as connection:
            connection.execute(insert(offered).values(study=row.study, answer=row.answer))

    def latest_seen(self, study: str) -> str | None:
        """The latest answer of which an object is, or may be, at a destination; a reader may have seen it."""
        begun = select(offered.c.study).where(offered.c.study == results.c.study, offered.c.answer == results.c.answer)
        may_be = results.c.state.in_((PENDING, SUPERSEDED)) & begun.exists()
        seen = self._results(results.c.study == study, results.c.state.in_(ARRIVED) | may_be)
        return max(seen, key=lambda row: row.id).answer if seen else None

    def sent(self, row: ResultRow, state: str, reason: str = "", next_try: float = 0.0) -> bool:
        """What became of one attempt to send, or to have it proven; False, and nothing changed, where the row is no longer as it was."""
        change = update(results).where(results.c.id == row.id, results.c.state == row.state).values(
            state=state, reason=reason, attempts=row.attempts + (row.state == PENDING), first_try=row.first_try or self.clock(),
            next_try=next_try)
        with self.engine.begin() as connection:
            changed = connection.execute(change).rowcount == 1
        if state != PENDING:
            self.settle(row.study)
        return changed

    def hasten(self, destination: str) -> None:
        """What waits for a destination is due at once: it answers again."""
        with self.engine.begin() as connection:
            connection.execute(update(results).where(results.c.destination == destination, results.c.state == PENDING).values(next_try=0.0))

    def put_off(self, destination: str, reason: str, until: float) -> None:
        """What is pending for a destination that is away waits with it; one change for all of it, as a day may leave much."""
        pending = results.c.destination == destination, results.c.state == PENDING
        with self.engine.begin() as connection:
            connection.execute(update(results).where(*pending, results.c.first_try == 0.0).values(first_try=self.clock()))
            connection.execute(update(results).where(*pending).values(reason=reason, next_try=until))

    def first_tried_before(self, destination: str, moment: float) -> list[ResultRow]:
        """What is pending for a destination since before that moment."""
        return self._results(results.c.destination == destination, results.c.state == PENDING, results.c.first_try > 0.0,
                             results.c.first_try < moment)

    # objects of a class that a destination does not take

    def replace(self, row: ResultRow, reason: str, file: str = "") -> bool:
        """Something else stands for an object: `file`, then due there, or what has arrived. False where the row changed meanwhile."""
        change = update(results).where(results.c.id == row.id, results.c.state == row.state).values(
            state=REPLACED, reason=reason, attempts=row.attempts + (row.state == PENDING), first_try=row.first_try or self.clock())
        there = select(results.c.id).where(results.c.study == row.study, results.c.answer == row.answer, results.c.file == file,
                                           results.c.destination == row.destination)
        with self.engine.begin() as connection:
            if connection.execute(change).rowcount != 1:
                return False
            if file and connection.execute(there).first() is None:
                connection.execute(insert(results).values(study=row.study, answer=row.answer, file=file, destination=row.destination,
                                                          state=PENDING))
        self.settle(row.study)
        return True

    def to_carry(self, destination: str) -> list[tuple[str, str]]:
        """(study, answer) of which an object is unsupported there, and nothing is pending."""
        return self._decided(destination, UNSUPPORTED)

    # proofs: what was asked of a destination that is to say that it keeps an answer

    def to_prove(self, destination: str) -> list[tuple[str, str]]:
        """(study, answer) of which every object that can be is stored there, and one or more is not proven."""
        return self._decided(destination, STORED)

    def _decided(self, destination: str, state: str) -> list[tuple[str, str]]:
        """(study, answer) of which an object is in that state there, and none is pending."""
        other = results.alias()
        waits = select(other.c.id).where(other.c.study == results.c.study, other.c.answer == results.c.answer,
                                         other.c.destination == results.c.destination, other.c.state == PENDING)
        wanted = select(results.c.study, results.c.answer).where(
            results.c.destination == destination, results.c.state == state, ~waits.exists()).distinct()
        with self.engine.connect() as connection:
            return sorted(connection.execute(wanted).tuples().all())

    def ask(self, transaction: str, destination: str, study: str, answer: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(insert(proofs).values(
                transaction=transaction, destination=destination, study=study, answer=answer, state=ASKED, asked=self.clock()))

    def proof(self, transaction: str) -> ProofRow | None:
        return next(iter(self._proofs(proofs.c.transaction == transaction)), None)

    def proofs_of(self, study: str, answer: str, destination: str) -> list[ProofRow]:
        """The requests so far, the oldest first."""
        return self._proofs(proofs.c.study == study, proofs.c.answer == answer, proofs.c.destination == destination)

    def _proofs(self, *conditions: object) -> list[ProofRow]:
        with self.engine.connect() as connection:
            return [ProofRow(**row._mapping) for row in connection.execute(select(proofs).where(*conditions).order_by(proofs.c.asked))]

    def answered(self, transaction: str, reason: str) -> None:
        """A request needs no more waiting: it was answered, or will not be."""
        with self.engine.begin() as connection:
            connection.execute(update(proofs).where(proofs.c.transaction == transaction).values(state="answered", reason=reason))

    # circuits: destinations with which associations fail

    def circuit(self, destination: str) -> CircuitRow:
        with self.engine.connect() as connection:
            found = connection.execute(select(circuits).where(circuits.c.destination == destination)).first()
        return CircuitRow(**found._mapping) if found else CircuitRow(destination, 0, "", self.clock(), 0.0)

    def break_circuit(self, row: CircuitRow) -> None:
        with self.engine.begin() as connection:
            connection.execute(circuits.delete().where(circuits.c.destination == row.destination))
            connection.execute(insert(circuits).values(**vars(row)))

    def close_circuit(self, destination: str) -> None:
        with self.engine.begin() as connection:
            connection.execute(circuits.delete().where(circuits.c.destination == destination))

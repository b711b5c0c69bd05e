"""The records of the journal: its tables, a row of each as a frozen value, and the states of studies, results and proofs.

Times are seconds since 1970. A new version may add a table, which an older journal then gets at its first start; a column that stands is
never changed.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Float, Integer, MetaData, String, Table, UniqueConstraint

RECEIVING, READY, RUNNING, ANSWERED, DELIVERED = "receiving", "ready", "running", "answered", "delivered"
PARKED, FAILED, CANCELLED, PENDING, SUPERSEDED = "parked", "failed", "cancelled", "pending", "superseded"
STORED, PROVEN, ASKED, REPLACED, UNSUPPORTED = "stored", "proven", "asked", "replaced", "unsupported"
ARRIVED = (STORED, PROVEN, DELIVERED)

tables = MetaData()
studies = Table(
    "studies", tables,
    Column("study", String(64), primary_key=True),
    Column("state", String(16), nullable=False, index=True),
    Column("reason", String, nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("version", String(16), nullable=False, default=""),
    Column("answer", String(16), nullable=False, default=""),
    Column("since", Float, nullable=False),
    Column("started", Float, nullable=False, default=0.0),
)
results = Table(
    "results", tables,
    Column("id", Integer, primary_key=True),
    Column("study", String(64), nullable=False, index=True),
    Column("answer", String(16), nullable=False),
    Column("file", String, nullable=False),
    Column("destination", String, nullable=False),
    Column("state", String(16), nullable=False, index=True),
    Column("reason", String, nullable=False, default=""),
    Column("attempts", Integer, nullable=False, default=0),
    Column("first_try", Float, nullable=False, default=0.0),
    Column("next_try", Float, nullable=False, default=0.0),
    UniqueConstraint("study", "answer", "file", "destination"),
)
proofs = Table(
    "proofs", tables,
    Column("transaction", String(64), primary_key=True),
    Column("destination", String, nullable=False),
    Column("study", String(64), nullable=False, index=True),
    Column("answer", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", String, nullable=False, default=""),
    Column("asked", Float, nullable=False),
)
circuits = Table(
    "circuits", tables,
    Column("destination", String, primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("reason", String, nullable=False),
    Column("since", Float, nullable=False),
    Column("next_try", Float, nullable=False),
)
offered = Table("offered", tables, Column("study", String(64), primary_key=True), Column("answer", String(16), primary_key=True))
urgent = Table("urgent", tables, Column("study", String(64), primary_key=True))
waits = Table(
    "waits", tables,
    Column("study", String(64), primary_key=True),
    Column("changed", Float, nullable=False),
    Column("missing", String, nullable=False),
    Column("looked", Float, nullable=False),
    Column("until", Float, nullable=False),
)


@dataclass(frozen=True)
class StudyRow:
    """One study. `version` digests the instances that the answer is about, `answer` names its folder in the outbox, `attempts` counts the
    starts that gave no answer; times are seconds since 1970."""

    study: str
    state: str
    reason: str
    attempts: int
    version: str
    answer: str
    since: float
    started: float


@dataclass(frozen=True)
class ResultRow:
    """One result object at one destination."""

    id: int
    study: str
    answer: str
    file: str
    destination: str
    state: str
    reason: str
    attempts: int
    first_try: float
    next_try: float


@dataclass(frozen=True)
class ProofRow:
    """One request to a destination to say that it keeps an answer: `transaction` is its UID, `state` "asked" until it was answered."""

    transaction: str
    destination: str
    study: str
    answer: str
    state: str
    reason: str
    asked: float


@dataclass(frozen=True)
class CircuitRow:
    """A destination whose last associations failed: how many in a row, since when, why, and when it is called again."""

    destination: str
    failures: int
    reason: str
    since: float
    next_try: float


@dataclass(frozen=True)
class WaitRow:
    """What a look at the images of a study found: `missing` is a JSON list of packed sentences, empty where it is whole. It holds while the
    spool's `changed_at` is `changed`. `looked`: when; `until`: from when on the study is analysed with what is there."""

    study: str
    changed: float
    missing: str
    looked: float
    until: float

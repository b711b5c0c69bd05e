"""The report of one study as a frozen value: what was sent, what was measured, what was not and why."""

from __future__ import annotations

from dataclasses import dataclass

from analysis.earlier import Earlier
from analysis.examination import Patient
from analysis.follow_up import FollowUp
from analysis.outcome import Outcome
from analysis.sequences import Row
from analysis.support import Support
from analysis.words import say

LIMITS = (
    say("MRI does not diagnose ALS: it excludes other causes and can support involvement of the upper motor neuron."),
    say("A normal MRI does not exclude ALS; lower motor neurons need EMG and nerve conduction studies."),
    say("Automatic result for research use, not verified by a physician; not for diagnosis on its own."),
)


@dataclass(frozen=True)
class SeriesNote:
    """One series as it was understood: its role, why, and what is wrong with it. `used`: its image was measured on.

    `scanner` and `protocol` are the same text for series that may be compared: the same device, and the same physics of the acquisition.
    """

    series_instance_uid: str
    role: str
    why: str
    problems: tuple[str, ...] = ()
    used: bool = False
    description: str = ""
    scanner: str = ""
    protocol: str = ""


@dataclass(frozen=True, eq=False)
class Report:
    """Everything the node says of one study. `not_analysed` is the reason when no marker could run at all; `problems` are what could not be
    read, in sentences; `support` says what the findings weigh together, `sequences` which of the sequences that an
    examination should have came. `earlier` are the earlier examinations that were found, the first one first, and `earlier_notes` what of
    them could not be had, in sentences; `follow_up` says what changed since, None where nothing could be compared."""

    study_instance_uid: str
    patient: Patient
    series: tuple[SeriesNote, ...]
    outcomes: tuple[Outcome, ...]
    summary: tuple[str, ...]
    not_analysed: str | None = None
    seconds: float = 0.0
    problems: tuple[str, ...] = ()
    support: Support | None = None
    sequences: tuple[Row, ...] = ()
    earlier: tuple[Earlier, ...] = ()
    earlier_notes: tuple[str, ...] = ()
    follow_up: FollowUp | None = None

    def series_with(self, role: str) -> SeriesNote | None:
        """The series whose image had that role in the analysis."""
        return next((note for note in self.series if note.role == role and note.used), None)

"""What the site says was given to a patient and when, for the trends of the report: a CSV of its own, by patient.

The file has the columns patient_id, date (YYYY-MM-DD) and treatment, one line per event; further columns are left alone. It says nothing to
the analysis: no number depends on it. A file that cannot be read, or a line in it, is a sentence in the report, and the rest is used.
"""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

from analysis.trend import Treatment
from analysis.words import Name, Words, say

COLUMNS = ("patient_id", "date", "treatment")
LONGEST_WORDS = 40
MOST_BYTES = 2**24


def treatments_of(file: Path | None, patient_id: str) -> tuple[tuple[Treatment, ...], tuple[Words, ...]]:
    """The events of a patient, the first first, and sentences on what could not be read. No file: none of either."""
    if file is None or not patient_id:
        return (), ()
    try:
        if file.stat().st_size > MOST_BYTES:
            return (), (say("the file of treatments is larger than any that is read"),)
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = csv.DictReader(opened)
            if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
                return (), (say("the file of treatments has no column {name}", name=Name(missing[0])),)
            own = [(rows.line_num, row) for row in rows if (row["patient_id"] or "").strip() == patient_id.strip()]
    except (OSError, UnicodeError, csv.Error) as error:
        return (), (say("the file of treatments cannot be read ({kind})", kind=type(error).__name__),)
    found, problems = [], []
    for line, row in own:
        try:
            day = date.fromisoformat((row["date"] or "").strip()).isoformat()
        except ValueError:
            problems.append(say("line {line} of the file of treatments has no date like 2026-01-31; it was left out", line=line))
            continue
        found.append(Treatment(day, Name((row["treatment"] or "").strip()[:LONGEST_WORDS])))
    return tuple(sorted(found, key=lambda one: one.day)), tuple(problems)

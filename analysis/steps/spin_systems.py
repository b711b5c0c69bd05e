"""Which protons a metabolite of the brain has: chemical shifts, couplings and how many there are, from `spin_systems.csv` beside this file.

Every row is one group of protons that couple with each other and with none else; groups of one metabolite add up. The table names the
publication of every row (Govindaraju 2000, doi 10.1002/1099-1492(200005)13:3<129::AID-NBM619>3.0.CO;2-V; Govind 2015,
doi 10.1002/nbm.3336) and where the value was seen. Couplings to nitrogen and phosphorus are dropped.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class SpinGroup:
    """Protons that couple with each other: `shifts_ppm` of each, `couplings` (first, second, hertz), `copies` of the group."""

    shifts_ppm: tuple[float, ...]
    couplings: tuple[tuple[int, int, float], ...]
    copies: float


@cache
def spin_systems() -> dict[str, tuple[SpinGroup, ...]]:
    """Every metabolite of the table, by its short name."""
    systems: dict[str, tuple[SpinGroup, ...]] = {}
    text = (files("analysis.steps") / "spin_systems.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        shifts = tuple(float(shift) for shift in row["shifts_ppm"].split(";"))
        pairs = (pair.split(":") for pair in row["J_i:j:Hz"].split(";") if pair)
        couplings = tuple((int(first), int(second), float(hertz)) for first, second, hertz in pairs)
        group = SpinGroup(shifts, couplings, float(row["scale"]))
        systems[row["metabolite"]] = (*systems.get(row["metabolite"], ()), group)
    return systems

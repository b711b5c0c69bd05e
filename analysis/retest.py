"""How much a measurement differs when nothing changed, and what healthy ageing changes: the figures that a change is held against.

Every figure has its source: rescans that were published, or heads that were measured here at other positions. They are of one scanner and
protocol; between two scanners the spread is larger, by how much is not known here. A measurement without a row has no figure but its own
stated error. Ageing is that of adults of about 60 years, taken off as a straight line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from analysis.earlier import EarlierMeasurement
from analysis.outcome import Measurement
from analysis.words import Words, say


@dataclass(frozen=True)
class Spread:
    """How much repeated measurements of one unchanged person differ: one standard deviation in the unit of the value or a `share` of it."""

    source: Words
    absolute: float = 0.0
    share: float = 0.0

    def at(self, value: float) -> float:
        return self.absolute + self.share * abs(value)


@dataclass(frozen=True)
class Ageing:
    """What healthy people of about 60 change by in a year, in the unit of the value or as a `share` of it."""

    source: Words
    absolute: float = 0.0
    share: float = 0.0

    def per_year(self, value: float) -> float:
        return self.absolute + self.share * abs(value)


_RESCANS = say("seven people scanned twice, tractography (published)")
_CORD_RESCANS = say("22 people scanned twice within four months (published)")
_THICKNESS = say("reliability of cortical thickness within the scanner, 0.82 to 0.87, and the spread between people (published)")
_OWN_DIFFUSION = say("one session scanned twice, and one head in four positions, with an earlier build of this program")
_SCORE = say("a score at the limit of two grades may go either way (chosen)")
# The within-subject spread, by name and level; a level of None fits all that have no row of their own.
# FA, MD, RD, AD of the tract: J Neurosci markup 534406, 7 people. The levels: coefficients of variation of one head in four positions
# (corona radiata 0.9 %, capsule and subcortical 2.8, peduncle 2.6, pons 5.5), never less than that of the whole tract.
# Cord: 10.1162/imag_a_00075, rescans within 0.3 years; 2.4 % at C2, up to 3.9 % at C3. Thickness: PMC8784825 (0.82) and PMC7327879 (0.87)
# with a spread between people of 0.19 mm: 0.07 to 0.08 mm.
# Held against phantoms at several visits without a change (benchmarks/change.py values; pairs of visits), as a share of what is assumed
# here or stated by the markers: cord 0.1 to 0.6 (8 pairs), brightness of the tract 0.3 to 0.6 (12), FA of the tract 0.03 to 0.4 (6),
# darkness of the motor band 0.3 to 0.5 (2). None was larger, so that no figure was raised; a phantom neither drinks nor moves, so that
# none was lowered. Not held against it: thickness. Few pairs say little.
RETEST: dict[tuple[str, str | None], Spread] = {
    ("cst_fa", None): Spread(_RESCANS, absolute=0.019), ("cst_md", None): Spread(_RESCANS, absolute=0.025),
    ("cst_ad", None): Spread(_RESCANS, absolute=0.030), ("cst_rd", None): Spread(_RESCANS, absolute=0.025),
    ("cst_fa", "pons"): Spread(_OWN_DIFFUSION, share=0.055),
    ("cord_area", "C2"): Spread(_CORD_RESCANS, share=0.024), ("cord_area", "C3"): Spread(_CORD_RESCANS, share=0.039),
    ("precentral_thickness", None): Spread(_THICKNESS, absolute=0.08), ("postcentral_thickness", None): Spread(_THICKNESS, absolute=0.08),
    ("motor_band_score", None): Spread(_SCORE, absolute=0.5),
}  # fmt: skip
IMAGES = say("385 people scanned twice, the brain by a like method (published); phantom and real heads in other positions, unchanged")
# Of what is measured from both images at once, percent of the volume. Brain: the median of the differences between scans of one session in
# 385 people, 0.35 % (Siena, 10.1016/j.pscychresns.2011.02.012), is a within-subject spread of 0.37 %. Nothing else is taken for surer than
# that: 21 pairs of phantoms gave midbrain .17, pons .10, medulla .39, precentral .31, copies of a real head of 1 mm .45, .34, .73, .62
# (analysis.steps.volume_change); neither drinks nor moves, so that for medulla and cortex somewhat more than the largest is taken (chosen)
IMAGE_RETEST_PERCENT = {
    "brain_volume": 0.37, "midbrain_volume": 0.5, "pons_volume": 0.4, "medulla_volume": 0.8, "precentral_volume": 1.0,
}  # fmt: skip
# Of all lesions together, each compared with itself: at least, and as a share of their volume. Chosen, as no false change was seen: none of
# 72 lesions of four phantom heads in another position (seeds 71 and 213 to 215; analysis.steps.lesion_change)
LESION_RETEST = say("phantom heads with lesions in other positions, without a change")
LESION_RETEST_ML, LESION_RETEST_SHARE = 0.05, 0.02
_CORD_AGEING = say("healthy people scanned again after one and a half years and more (published)")
_CORTEX_AGEING = say("the cortex of 207 healthy adults scanned again (published)")
_TRACT_AGEING = say("healthy people of different ages (published)")
_BRAIN_AGEING = say("healthy people of different ages, two samples (published)")
NO_AGEING = Ageing(say("what healthy ageing changes is not known, and nothing was taken off for it"))
# Cord: within people, 10.1162/imag_a_00075 (C2: -0.34 % a year in both samples). Thickness and volume of the cortex: Storsve 2014, J
# Neurosci 34:8488. FA: the slopes of the Braincharts models of those regions. Brain: BRAIN_LOSS.
AGEING: dict[tuple[str, str | None], Ageing] = {
    ("cord_area", None): Ageing(_CORD_AGEING, share=-0.0034),
    ("precentral_thickness", None): Ageing(_CORTEX_AGEING, share=-0.0035),
    ("postcentral_thickness", None): Ageing(_CORTEX_AGEING, share=-0.0035),
    ("precentral_volume", None): Ageing(_CORTEX_AGEING, share=-0.0051),
    ("cst_fa", None): Ageing(_TRACT_AGEING, absolute=-0.0007), ("cst_fa", "plic"): Ageing(_TRACT_AGEING, absolute=-0.0003),
    ("cst_fa", "peduncle"): Ageing(_TRACT_AGEING, absolute=-0.0009), ("cst_fa", "corona_radiata"): Ageing(_TRACT_AGEING, absolute=-0.0008),
}  # fmt: skip
BRAIN_LOSS = ((35.0, 0.0020), (70.0, 0.0052))  # a year of the brain's parenchyma at two ages: Schippling 2017, 10.1007/s00415-016-8374-y


def spread_of(then: EarlierMeasurement | Measurement, now: Measurement) -> tuple[float, Words] | None:
    """The within-subject spread of a measurement and where it comes from; the stated errors where it has no row; None without those."""
    level = RETEST.get((now.name, now.level)) or RETEST.get((now.name, None))
    if level is not None:
        return level.at((then.value + now.value) / 2.0), level.source
    if not then.uncertainty or not now.uncertainty:
        return None
    return math.sqrt((then.uncertainty**2 + now.uncertainty**2) / 2.0), say("the stated errors of the two values")


def ageing_of(name: str, level: str | None, age_years: float | None) -> Ageing:
    """What healthy people of that age change by in a year."""
    if name in ("brain_volume", "grey_matter_volume", "white_matter_volume") and age_years is not None:
        (low, loss), (high, more) = BRAIN_LOSS
        return Ageing(_BRAIN_AGEING, share=-(loss + (more - loss) * min(max((age_years - low) / (high - low), 0.0), 1.0)))
    return AGEING.get((name, level)) or AGEING.get((name, None)) or NO_AGEING

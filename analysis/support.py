"""How strongly the findings, taken together, support involvement of the upper motor neuron. Never how probable ALS is.

Every finding weighs what was published for it: a likelihood ratio with its 95 % interval, and against whom it was measured. A finding
without a published figure supports without a weight. Findings of one structure are not independent, and how those of two structures go
together in patients was not published: so of each structure only the heaviest counts, and the whole is said as a range from the heaviest
structure alone (all say the same) to the product over the structures (each says something of its own). Where few could be assessed, the
words say so.

Weights:
- motor_band_sign: present in 68 of 114 patients with ALS and 7 of 79 with diseases that look like it (Zejlon 2024, 10.1002/acn3.52066).
- cst_hyperintensity: odds ratio 2.21 (1.40 to 3.49) over 21 records (Zejlon 2022, 10.3389/fneur.2022.947347), split evenly between
  presence and absence; it holds for signal on T2 anywhere along the tract, so it is careful for the level that this program asks for.
- cst_degeneration: by z of the anisotropy among the site's controls, for a shift between normal distributions of equal spread; the area
  under the curve of 0.75 (0.66 to 0.83), 221 patients and 187 healthy people (PMC4384461), makes the shift d = sqrt(2) * quantile(area).
  Beyond z of 2.5 only the assumption of normal tails would add weight, so the ratio stays.
- motor_cortex_atrophy: thinner in 112 patients than in 60 healthy people, and not in 43 with diseases that look like ALS (Walhout 2015,
  10.1136/jnnp-2013-306839); neither sensitivity nor specificity was published. brainstem_atrophy: none was published either.

The interval of a ratio of two shares is that of its logarithm (Simel 1991, 10.1016/0895-4356(91)90128-V); the words for sizes are those of
Jaeschke 1994 (10.1001/jama.271.9.703).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from analysis.outcome import Finding, Outcome
from analysis.sentence import SIDES, VERDICTS
from analysis.words import Words, joined, say

FARTHEST_Z = 2.5
FEW = 3  # with fewer assessed findings the support is said to rest on little (chosen)


@dataclass(frozen=True)
class Ratio:
    """A likelihood ratio and its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def weight(self) -> float:
        """How far it is from saying nothing, in either direction."""
        return abs(math.log(self.value))

    def inverse(self) -> Ratio:
        return Ratio(1 / self.value, 1 / self.high, 1 / self.low)


@dataclass(frozen=True)
class Weight:
    """What a finding weighs when it is present or absent; None where no figure was published. `against`: the people compared with."""

    finding: str
    marker: str
    title: Words
    structure: str
    present: Ratio | None = None
    absent: Ratio | None = None
    against: Words | None = None
    source: str = ""


@dataclass(frozen=True)
class Line:
    """One finding of the study: what it says, on which sides, and what that weighs."""

    weight: Weight
    verdict: str
    sides: tuple[str, ...] = ()
    ratio: Ratio | None = None
    reason: str | None = None

    @property
    def is_assessed(self) -> bool:
        return self.verdict in ("present", "absent")


@dataclass(frozen=True)
class Support:
    """The combined statement. `together`: the range of the likelihood ratio of all weighed findings, None where fewer than two structures
    were weighed or nothing is present."""

    lines: tuple[Line, ...]
    together: tuple[float, float] | None
    sentences: tuple[Words, ...]

    def with_verdict(self, verdict: str) -> list[Line]:
        return [line for line in self.lines if line.verdict == verdict]


def ratio_of_shares(ill_with: int, ill: int, well_with: int, well: int) -> Ratio:
    """The likelihood ratio of something that `ill_with` of `ill` and `well_with` of `well` people have."""
    error = math.sqrt(1 / ill_with - 1 / ill + 1 / well_with - 1 / well)
    value = (ill_with / ill) / (well_with / well)
    return Ratio(value, value * math.exp(-1.96 * error), value * math.exp(1.96 * error))


def shifted(z: float, area: Ratio) -> Ratio:
    """The likelihood ratio of a value at `z` of the healthy, where the ill lie lower by what the area under the curve says."""
    z = max(-FARTHEST_Z, min(FARTHEST_Z, z))
    shift, least, most = (math.sqrt(2) * NormalDist().inv_cdf(one) for one in (area.value, area.low, area.high))
    tried = [least, most, shift, *([-z] if least < -z < most else [])]
    logs = [-d * z - d * d / 2 for d in tried]
    return Ratio(math.exp(logs[2]), math.exp(min(logs)), math.exp(max(logs)))


MIMICS, HEALTHY = say("against diseases that look like ALS"), say("against healthy people")
EVEN_ODDS = Ratio(math.sqrt(2.21), 1.0, 3.49)
ANISOTROPY_AREA = Ratio(0.75, 0.66, 0.83)
WEIGHTS = (
    Weight("motor_band_sign", "motor_band", say("motor band sign"), "motor cortex", ratio_of_shares(68, 114, 7, 79),
           ratio_of_shares(46, 114, 72, 79), MIMICS, "10.1002/acn3.52066"),
    Weight("motor_cortex_atrophy", "precentral_gyrus", say("atrophy of the motor cortex"), "motor cortex",
           source="10.1136/jnnp-2013-306839"),
    Weight("cst_hyperintensity", "cst_flair", say("hyperintensity of the corticospinal tract"), "corticospinal tract", EVEN_ODDS,
           EVEN_ODDS.inverse(), HEALTHY, "10.3389/fneur.2022.947347"),
    Weight("cst_degeneration", "cst_diffusion", say("low anisotropy of the corticospinal tract"), "corticospinal tract", against=HEALTHY,
           source="PMC4384461"),
    Weight("brainstem_atrophy", "brainstem", say("atrophy of the brainstem"), "brainstem"),
)  # fmt: skip


def support_of(outcomes: Sequence[Outcome]) -> Support:
    """What the findings of a study say together."""
    lines = tuple(_line(weight, outcomes) for weight in WEIGHTS)
    heaviest = _heaviest(lines)
    found = any(line.verdict == "present" for line in lines)
    together = _together(heaviest) if found and len(heaviest) > 1 else None
    return Support(lines, together, _sentences(lines, together))


def _line(weight: Weight, outcomes: Sequence[Outcome]) -> Line:
    outcome = next((one for one in outcomes if one.marker == weight.marker), None)
    if outcome is None:
        return Line(weight, "not assessed", reason=say("the program did not look for it"))
    findings = [one for one in outcome.findings if one.name == weight.finding]
    if not findings:
        return Line(weight, "not assessed", reason=outcome.reason)
    verdict, sides, reason = _verdict(findings)
    return Line(weight, verdict, sides, _ratio(weight, verdict, outcome), reason)


def _verdict(findings: Sequence[Finding]) -> tuple[str, tuple[str, ...], str | None]:
    """Present where one side says so; absent only where every side does."""
    for verdict in ("present", "indeterminate", "not assessed"):
        here = [one for one in findings if one.value == verdict]
        if here:
            return verdict, tuple(one.side for one in here if one.side), here[0].reason
    return "absent", (), None


def _ratio(weight: Weight, verdict: str, outcome: Outcome) -> Ratio | None:
    if verdict not in ("present", "absent"):
        return None
    if weight.finding == "cst_degeneration":
        z = [one.reference.z for one in outcome.measurements if one.name == "cst_fa" and one.level == "whole" and one.reference]
        return shifted(sum(z) / len(z), ANISOTROPY_AREA) if z else None
    return weight.present if verdict == "present" else weight.absent


def _heaviest(lines: Iterable[Line]) -> dict[str, Ratio]:
    """Of each structure the ratio that says most."""
    found: dict[str, Ratio] = {}
    for line in lines:
        structure, ratio = line.weight.structure, line.ratio
        if ratio is not None and (structure not in found or ratio.weight > found[structure].weight):
            found[structure] = ratio
    return found


def _together(heaviest: dict[str, Ratio]) -> tuple[float, float]:
    alone = max(heaviest.values(), key=lambda ratio: ratio.weight).value
    low, high = sorted((alone, math.prod(ratio.value for ratio in heaviest.values())))
    return low, high


def strength(ratio: float) -> Words:
    """The word for a likelihood ratio above 1."""
    if ratio > 10:
        return say("strong")
    return say("moderate") if ratio > 5 else say("weak") if ratio > 2 else say("marginal")


def _sentences(lines: Sequence[Line], together: tuple[float, float] | None) -> tuple[Words, ...]:
    present, assessed = [line for line in lines if line.verdict == "present"], [line for line in lines if line.is_assessed]
    if not assessed:
        return (say("Nothing that can support involvement of the upper motor neuron could be assessed."),)
    return tuple(one for one in (_found(present, assessed), _whole(present, together), _few(assessed, lines)) if one)


def _found(present: Sequence[Line], assessed: Sequence[Line]) -> Words:
    if not present:
        absent = joined(line.weight.title for line in assessed)
        return say("No support for involvement of the upper motor neuron was found ({absent} absent); that does not exclude ALS.",
                   absent=absent)  # fmt: skip
    names = joined((_with_weight(line) for line in present), "; ")
    return say("Findings that support involvement of the upper motor neuron ({present} of {assessed} assessed): {names}.",
               present=len(present), assessed=len(assessed), names=names)  # fmt: skip


def _with_weight(line: Line) -> Words:
    name, ratio = _named(line), line.ratio
    if ratio is None:
        return say("{finding} (no published weight)", finding=name)
    return say("{finding} ({strength}: likelihood ratio {value:.1f}, {low:.1f} to {high:.1f}, {against})", finding=name,
               strength=strength(ratio.value), value=ratio.value, low=ratio.low, high=ratio.high, against=line.weight.against)  # fmt: skip


def _named(line: Line) -> Words:
    if len(line.sides) == 2:
        return say("{finding} on both sides", finding=line.weight.title)
    return say("{finding} on the {side}", finding=line.weight.title, side=SIDES[line.sides[0]]) if line.sides else line.weight.title


def _whole(present: Sequence[Line], together: tuple[float, float] | None) -> Words | None:
    weighed = [line for line in present if line.ratio]
    if together is None:
        return None if weighed or not present else say("How much that weighs was not published.")
    if together[1] <= 1:
        return say("What is absent weighs at least as much as what is present.")
    return together_words(together)


def together_words(together: tuple[float, float]) -> Words:
    """From the heaviest structure alone to the product over the structures."""
    return say("All assessed findings together, which are not independent: likelihood ratio between {low:.1f} and {high:.1f}.",
               low=together[0], high=together[1])  # fmt: skip


def _few(assessed: Sequence[Line], lines: Sequence[Line]) -> Words | None:
    if len(assessed) >= FEW:
        return None
    known, every = len(assessed), len(lines)
    return say("Only {known} of {every} such findings could be assessed, so this rests on little.", known=known, every=every)


def line_words(line: Line) -> Words:
    """One finding with what it weighs and where that figure comes from, or why it weighs nothing: a line of the reports."""
    said = say("{finding}: {verdict}", finding=_named(line), verdict=VERDICTS[line.verdict])
    ratio, weight = line.ratio, line.weight
    if ratio is not None:
        return say("{said}; likelihood ratio {value:.2f} ({low:.2f} to {high:.2f}) {against}; source: {source}", said=said,
                   value=ratio.value, low=ratio.low, high=ratio.high, against=weight.against, source=weight.source)  # fmt: skip
    if line.reason:
        return say("{said} ({reason})", said=said, reason=line.reason)
    return say("{said}; no likelihood ratio was published", said=said)

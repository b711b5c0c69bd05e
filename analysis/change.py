"""What changed between two examinations of one person, and whether it is more than two measurements differ by anyway.

A change is judged by the reliable change index: what is left of it after healthy ageing, over the standard error of a difference, which
is the square root of 2 times the within-subject spread of repeated measurements (Jacobson and Truax 1991, 10.1037/0022-006X.59.1.12).
Where the spread was published for rescans, or was measured here, it stands in `analysis.retest` with its source; else the stated error of
the two values takes its place, which holds the error that both share and so finds less. Three words come of it: a change is "more than"
noise and ageing explain; or "within" them; or "below" what the interval can show, where even the change that is looked for would not have
been seen. What was measured from both images at once stands before the difference of two separate numbers. Another version of a marker is
not compared. Another scanner, field or protocol is compared, and said. Nothing here knows of a disease or a treatment.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from analysis.earlier import Acquisition, Earlier, EarlierMarker, EarlierMeasurement
from analysis.examination import Patient
from analysis.marker import markers
from analysis.outcome import MEASURED, Measurement, Outcome, Side
from analysis.retest import IMAGE_RETEST_PERCENT, IMAGES, LESION_RETEST, LESION_RETEST_ML, LESION_RETEST_SHARE, ageing_of, spread_of
from analysis.steps.lesion_change import LesionChanges
from analysis.steps.volume_change import VolumeChange
from analysis.words import Name, Words, say

Verdict = Literal["more than", "within", "below"]
Then = Earlier | Sequence[Outcome]
Value = EarlierMeasurement | Measurement
Z_975 = 1.9600
SHORTEST_YEARS = 0.1  # five weeks: a rate of less would be noise times ten
VERDICTS: dict[Verdict, Words] = {
    "more than": say("more than the noise of the measurement and healthy ageing explain"),
    "within": say("within the noise of the measurement and healthy ageing"),
    "below": say("below what this interval can show"),
}
ELSEWHERE = say("the scanner, its field strength or the protocol changed between the two examinations, and may be what changed the value")
UNKNOWN_SCANNER = say("it is not known whether scanner and protocol were the same in both examinations")


# The change that is looked for, a year and as a share of the value: where an interval is too short for it, nothing it shows is stability.
# Cord: 0.8 mm² in half a year of 61 to 64 mm² (EVIDENCE of the cord in ALS, Wimmer 2020); of the others no rate was published: chosen.
LOOKED_FOR = {"cord_area": 0.026}
LOOKED_FOR_ELSE = 0.05
RATIO_SCALE = ("ml", "mm", "mm2", "10-3.mm2/s")  # units in which half as much is half of it
SHARES = ("cst_fa", "callosal_motor_fa", "control_fa", "precentral_postcentral_ratio", "naa_cr", "naa_cho", "naa_mi")
LESIONS = "white_matter_lesions"
NOT_FOLLOWED = ("image_quality",)  # a marker, and measurements of others, that say how good the images are, not how the patient is
AT_THE_WORST = ("cord_compression_ratio",)  # measured at one height alone, where it is largest: at another one it is another value
QUALITY = ("snr", "linewidth", "framewise_displacement", "motion")
_FROM_IMAGES = say("from both images at once, half-way between them")
_FROM_VALUES = say("difference of two measurements")


@dataclass(frozen=True)
class Change:
    """One measurement at two times.

    `change` is now minus then, `error` its standard error, `ageing` what healthy ageing lets one expect in these `years`; `rci` is what is
    left over the error. `smallest` is the smallest change that two such examinations show; all in `unit` but `rci`. `per_year` is None for
    an interval too short to speak of a rate. `mark` says what makes the comparison doubtful, or None. `method`, `retest`, `ageing_source`:
    how it was measured and where the noise and the ageing come from.
    """

    marker: str
    name: str
    side: Side | None
    level: str | None
    unit: str
    then: float
    now: float
    years: float
    change: float
    per_year: float | None
    error: float
    ageing: float
    rci: float
    smallest: float
    verdict: Verdict
    method: Words
    retest: Words
    ageing_source: Words
    mark: Words | None = None

    @property
    def percent(self) -> float | None:
        """The change in percent of the mean of both values; None where a share has no meaning."""
        if not is_ratio(self.name, self.unit) or not self.then + self.now:
            return None
        return 200.0 * self.change / (self.then + self.now)

    @property
    def verdict_words(self) -> Words:
        return VERDICTS[self.verdict]

    @property
    def sentence(self) -> Words:
        """The verdict with its figures, without the name of the measurement and without a full stop."""
        unit = unit_words(self.unit)
        least = say("{smallest:.3g}", smallest=self.smallest)
        least = say("{least} {unit}", least=least, unit=Name(unit)) if unit else least
        said = say("{verdict} (reliable change index {rci:+.1f}; two such examinations show a change of {least} or more)",
                   verdict=self.verdict_words, rci=self.rci, least=least)  # fmt: skip
        return said if self.mark is None else say("{said}; {mark}", said=said, mark=self.mark)


@dataclass(frozen=True)
class NotCompared:
    """A marker, or one measurement of it, that stands in one of the two examinations or in both, and is not compared; and why."""

    marker: str
    reason: Words
    name: str | None = None
    side: Side | None = None
    level: str | None = None


def same_acquisition(then: Mapping[str, Acquisition], now: Mapping[str, Acquisition]) -> dict[str, bool | None]:
    """By marker, whether scanner and protocol of the series that it needs were the same; None where one of the two is not known. The
    acquisitions of each examination by role."""
    found: dict[str, bool | None] = {}
    for marker in markers():
        roles = [role for group in marker.needs for role in group if role in then and role in now]
        pairs = [(getattr(then[role], name), getattr(now[role], name)) for role in roles for name in ("scanner", "protocol")]
        differs, is_known = any(a and b and a != b for a, b in pairs), bool(pairs) and all(a and b for a, b in pairs)
        found[marker.name] = False if differs else True if is_known else None
    return found


def unit_words(unit: str) -> str:
    """A unit as a person writes it in a sentence; nothing for a number without one."""
    return {"1": "", "mm2": "mm²", "10-3.mm2/s": "10⁻³ mm²/s"}.get(unit, unit)


def changes(
    then: Then, now: Sequence[Outcome], years: float, *, patient: Patient | None = None,
    is_same_scanner: Mapping[str, bool | None] | None = None, volumes: Iterable[VolumeChange] = (), lesions: LesionChanges | None = None,
) -> tuple[Change | NotCompared, ...]:  # fmt: skip
    """Every measurement that both examinations have, in the order of now, and what is not compared.

    `then`: what the earlier report said, as it was read back, or what the earlier images gave when they were analysed again.
    `years` between them, more than 0 (ValueError). `patient`: of now, for the ageing of the brain. `is_same_scanner`: by marker, whether
    scanner, field and protocol of its series were the same; None or missing: not known. `volumes` and `lesions`: what was measured from
    both images at once (`analysis.steps.volume_change`, `analysis.steps.lesion_change`), in place of the difference of the values.
    """
    if not years > 0:
        raise ValueError(f"{years} years between two examinations: the earlier one has to come first")
    same, age_years = is_same_scanner or {}, None if patient is None else patient.age_years
    before = then.markers if isinstance(then, Earlier) else {one.marker: one for one in then}
    seen = {(one.name, one.side): one for one in volumes}
    found: list[Change | NotCompared] = []
    for outcome in now:
        if outcome.marker in NOT_FOLLOWED or (outcome.outcome != MEASURED and outcome.marker not in before):
            continue
        if outcome.marker not in before:
            found.append(NotCompared(outcome.marker, say("the earlier report does not hold it")))
            continue
        mark = _mark(same.get(outcome.marker))
        if lesions is not None and outcome.marker == LESIONS and outcome.outcome == MEASURED:
            found.append(of_lesions(outcome, lesions, years, mark))
        else:
            found += _of_marker(before[outcome.marker], outcome, years, mark, age_years, seen)
    return tuple(found)


def _mark(is_same: bool | None) -> Words | None:
    return None if is_same else UNKNOWN_SCANNER if is_same is None else ELSEWHERE


def _of_marker(
    then: EarlierMarker | Outcome, now: Outcome, years: float, mark: Words | None, age_years: float | None,
    seen: Mapping[tuple[str, Side | None], VolumeChange],
) -> Iterator[Change | NotCompared]:  # fmt: skip
    """The changes of one marker, or why it is not compared."""
    if now.outcome != MEASURED:
        yield NotCompared(now.marker, say("the present examination has no value: {reason}", reason=now.reason))
        return
    if isinstance(then, Outcome) and then.outcome != MEASURED:
        yield NotCompared(now.marker, say("the earlier examination has no value: {reason}", reason=then.reason))
        return
    earlier = {(one.name, one.side, one.level): one for one in then.measurements}
    for one in (one for one in now.measurements if one.name not in QUALITY):
        image, old = seen.get((one.name, one.side)) if one.level is None else None, earlier.get((one.name, one.side, one.level))
        if old is None:
            yield NotCompared(now.marker, _why_missing(one, then), one.name, one.side, one.level)
        elif image is not None:
            yield of_images(now.marker, one, image, years, mark, age_years)
        elif then.version != now.version:
            yield NotCompared(now.marker, say(
                "the earlier value was measured by version {old} of this program's method, the present one by version {new}: they do not "
                "compare", old=then.version, new=now.version,
            ), one.name, one.side, one.level)  # fmt: skip
        elif old.unit != one.unit:
            yield NotCompared(now.marker, say("the two values have different units"), one.name, one.side, one.level)
        else:
            change = of_values(now.marker, old, one, years, mark, age_years)
            unknown = say("how much repeated measurements differ is not known")
            yield change or NotCompared(now.marker, unknown, one.name, one.side, one.level)


def _why_missing(one: Measurement, then: EarlierMarker | Outcome) -> Words:
    """Why the earlier examination has no value for one of now."""
    there = [its.level for its in then.measurements if its.name == one.name in AT_THE_WORST and its.level]
    if not there:
        return say("the earlier examination has no value")
    return say("the earlier examination measured it at another place, {level}", level=Name(there[0]))


def of_values(marker: str, then: Value, now: Measurement, years: float, mark: Words | None, age_years: float | None) -> Change | None:
    """The difference of two separate measurements; None where their noise is not known."""
    noise = spread_of(then, now)
    if noise is None:
        return None
    spread, source = noise
    return _judged(marker, now, then.value, now.value - then.value, years, math.sqrt(2.0) * spread, (_FROM_VALUES, source), mark, age_years)


def of_images(marker: str, now: Measurement, image: VolumeChange, years: float, mark: Words | None, age_years: float | None) -> Change:
    """The change that was measured from both images at once, in the unit of the present value, which it leads back from."""
    share = image.percent / 100.0  # of the mean of both
    then = now.value * (1.0 - share / 2.0) / (1.0 + share / 2.0)
    error = math.sqrt(2.0) * IMAGE_RETEST_PERCENT[image.name] / 100.0 * (then + now.value) / 2.0
    return _judged(marker, now, then, now.value - then, years, error, (_from_images(image), IMAGES), mark, age_years)


def _from_images(image: VolumeChange) -> Words:
    """How it was measured."""
    if image.followed is None:
        return _FROM_IMAGES
    return say("from both images at once, half-way between them, which show {share:.0f} % of a known loss: that is allowed for",
               share=100.0 * image.followed)  # fmt: skip


def of_lesions(now: Outcome, lesions: LesionChanges, years: float, mark: Words | None) -> Change:
    """The volume of all lesions, each compared with itself: in place of two volumes and two counts that were outlined separately."""
    volume = next(one for one in now.measurements if one.name == "lesion_volume" and one.level is None)
    then = max(volume.value - lesions.change_ml, 0.0)
    error = math.sqrt(2.0) * math.hypot(LESION_RETEST_ML, LESION_RETEST_SHARE * (then + volume.value) / 2.0)
    return _judged(LESIONS, volume, then, lesions.change_ml, years, error, (_FROM_IMAGES, LESION_RETEST), mark, None)


def _judged(
    marker: str, now: Measurement, then: float, change: float, years: float, error: float, how: tuple[Words, Words], mark: Words | None,
    age_years: float | None,
) -> Change:  # fmt: skip
    ageing = ageing_of(now.name, now.level, age_years)
    expected = ageing.per_year((then + now.value) / 2.0) * years
    left, smallest = change - expected, Z_975 * error
    per_year = change / years if years >= SHORTEST_YEARS else None
    return Change(
        marker, now.name, now.side, now.level, now.unit, then, now.value, years, change, per_year, error, expected, left / error, smallest,
        verdict_of(left, smallest, looked_for(now, years)), how[0], how[1], ageing.source, mark,
    )  # fmt: skip


def verdict_of(left: float, smallest: float, wanted: float | None) -> Verdict:
    """The word for what is left of a change after ageing. `wanted`: the change that is looked for in that interval, None where there is no
    such."""
    if abs(left) > smallest:
        return "more than"
    return "below" if wanted is not None and smallest > wanted else "within"


def looked_for(now: Measurement, years: float) -> float | None:
    """The change that is looked for in so many years, in the unit of the value; None where a share has no meaning."""
    if not is_ratio(now.name, now.unit):
        return None
    return LOOKED_FOR.get(now.name, LOOKED_FOR_ELSE) * abs(now.value) * years


def is_ratio(name: str, unit: str) -> bool:
    """Whether half as much of that measurement is half of it."""
    return unit in RATIO_SCALE or name in SHARES

"""What a person sees of the site's own controls: how many there are, how they are distributed, whether they hold. Lines of text.

Nothing here prints, and no line names a person: a control is its StudyInstanceUID.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from scipy.stats import shapiro

from analysis.controls import ENOUGH, Controls
from analysis.examination import ROLES, Patient
from analysis.harmonisation import LEAST_ON_SCANNER
from analysis.marker import Marker, markers
from analysis.reference import Expected, Reference
from node.controls import Control, ControlFolder
from node.errors import ControlError
from node.norms import Basis, basis_of, populations_of, values_of, where_words, with_version
from node.settings import Settings

BARS = "▁▂▃▄▅▆▇█"
BINS = 9
LEAST_SHOWN = 3  # values: fewer have no distribution
NOT_NORMAL = 0.01
USUALLY_OUTSIDE, OFTEN_OUTSIDE = 0.10, 0.50
LEAST_PLACED = 10  # values of one person, before many outside say something
NO_DEVICE = "The headers do not name the device: two devices of that model would count as one."
TITLE = ("", "n", "mean", "SD", "per 10 years", "5th to 95th", "", "", "")


def show_lines(settings: Settings, name: str | None = None) -> list[str]:
    """The controls by scanner and protocol, with the distribution of every measurement, or of those of that name or marker."""
    controls, problems = ControlFolder(settings.storage.folder).all()
    every = markers()
    if name is not None and name not in {one for marker in every for one in (marker.name, *marker.gives)}:
        raise ControlError(f"there is no marker or measurement {name}; betz markers lists them.")
    lines = [*_sentences(problems), f"{counted(len(controls))} in {ControlFolder(settings.storage.folder).folder}."]
    if not controls:
        return [*lines, "Add healthy people whose studies were analysed: betz norms add FOLDER"]
    lines += [line for marker in every for line in _outdated(marker, controls)]
    for basis, people in _groups(every, controls):
        lines += ["", *_head(basis, people, controls)]
        lines += [line for marker in every for line in _distribution(marker, basis, people, name)]
    return lines


def counted(count: int, one: str = "control", many: str = "controls") -> str:
    return f"{count} {one if count == 1 else many}"


def _sentences(problems: Iterable[str]) -> list[str]:
    return [f"{problem[:1].upper()}{problem[1:]}." for problem in problems]


def _outdated(marker: Marker, controls: Sequence[Control]) -> list[str]:
    old = sum(marker.name in one.markers for one in controls) - len(with_version(controls, marker))
    return [f"{counted(old)} of another version of {marker.name} do not count for it: analyse them again."] if old else []


def _groups(every: Sequence[Marker], controls: Sequence[Control]) -> list[tuple[Basis, list[Control]]]:
    """Who was measured on what, the largest groups first."""
    found: dict[Basis, dict[str, Control]] = {}
    for marker in every:
        for one in with_version(controls, marker):
            for level in {feature.level for feature in values_of(one, marker.name)}:
                basis = basis_of(marker, level, one.places)
                if basis:
                    found.setdefault(basis, {})[one.study] = one
    return sorted(((basis, list(people.values())) for basis, people in found.items()), key=lambda pair: (pair[0][0][0], -len(pair[1])))


def _head(basis: Basis, people: Sequence[Control], controls: Sequence[Control]) -> list[str]:
    ages, sexes = [one.age_years for one in people], Counter(one.sex for one in people)
    who = f"{counted(sexes['F'], 'woman', 'women')} and {counted(sexes['M'], 'man', 'men')} of {min(ages):.0f} to {max(ages):.0f} years"
    unnamed = [] if all("#" in place.scanner for _, place in basis) else [f"  {NO_DEVICE}"]
    return [where_words(basis), f"  {counted(len(people))}: {who}. {_state(basis, people, controls)}", *unnamed]


def _state(basis: Basis, people: Sequence[Control], controls: Sequence[Control]) -> str:
    if len(people) >= ENOUGH:
        return "They come first."
    missing = f"{ENOUGH - len(people)} are missing until they come first."
    roles = {role for role, _ in basis}
    elsewhere = {one.person for one in controls if roles <= set(one.places)} | {one.person for one in people}
    if len(people) >= LEAST_ON_SCANNER and len(elsewhere) >= ENOUGH:
        return f"{missing} Until then those of the other scanners are harmonised to this one."
    return missing


def _distribution(marker: Marker, basis: Basis, people: Sequence[Control], name: str | None) -> list[str]:
    """A table of the measurements of one marker that rest on that basis."""
    rows = []
    values = [(one, values_of(one, marker.name)) for one in with_version(people, marker)]
    for feature in dict.fromkeys(feature for _, found in values for feature in found if feature.node is None):
        if name not in (None, marker.name, feature.name) or basis_of(marker, feature.level, dict(basis)) != basis:
            continue
        known = [(one, found[feature][0]) for one, found in values if feature in found]
        mine = Controls(feature.name, feature.side, feature.level, "", tuple(one.age_years for one, _ in known),
                        tuple(one.sex for one, _ in known), tuple(value for _, value in known))  # fmt: skip
        level = None if feature.level in ROLES else feature.level
        rows.append((" ".join(word for word in (feature.name, feature.side, level) if word), *_row(mine)))
    if not rows:
        return []
    lines = [(TITLE[0], *TITLE[1:]), *rows]
    widths = [max(len(line[k]) for line in lines) for k in range(len(TITLE))]
    shown = ["  ".join(cell.ljust(w) if k == 0 else cell.rjust(w) for k, (cell, w) in enumerate(zip(line, widths, strict=True))).rstrip()
             for line in lines]  # fmt: skip
    return [f"  {marker.name}", *(f"    {line}" for line in shown)]


def _row(mine: Controls) -> tuple[str, ...]:
    count = len(mine.values)
    if count < LEAST_SHOWN + 1 or len(set(mine.values)) < LEAST_SHOWN:
        return (str(count), f"{np.mean(mine.values):.4g}", "", "", "", "", "", "hardly differs" if count > LEAST_SHOWN else "")
    expected = mine.expected(Patient(float(np.median(mine.ages))))
    low, high = expected.limits() if isinstance(expected, Expected) else (None, None)
    limits = f"{low:.4g} to {high:.4g}" if low is not None else "hardly differs"
    p = float(shapiro(mine.residuals).pvalue)
    return (str(count), f"{np.mean(mine.values):.4g}", f"{np.std(mine.values, ddof=1):.3g}", f"{10 * mine.slope_per_year:+.2g}", limits,
            histogram(mine.values), f"p {p:.2f}", "not normal" if p < NOT_NORMAL else "")  # fmt: skip


def histogram(values: Sequence[float]) -> str:
    """A bar for each ninth of the range."""
    counts, _ = np.histogram(values, BINS)
    return "".join(BARS[round((len(BARS) - 1) * count / counts.max())] if count else " " for count in counts)


def check_lines(settings: Settings) -> list[str]:
    """Where each control stands among the others: about 10 % of the places must lie outside the 5th to the 95th percentile."""
    controls, problems = ControlFolder(settings.storage.folder).all()
    lines, every = _sentences(problems), markers()
    for basis, people in _groups(every, controls):
        for marker in every:
            lines += _checked(marker, basis, with_version(people, marker))
    return lines or ["There are no controls. Add some: betz norms add FOLDER"]


def _checked(marker: Marker, basis: Basis, people: list[Control]) -> list[str]:
    own = [one for one in populations_of(marker, dict(basis), people) if one.node is None]
    whole = [one for one in own if not one.note and basis_of(marker, one.level, dict(basis)) == basis]
    if not whole:
        return [f"{marker.name} ({where_words(basis)}): {counted(len(people))}; {ENOUGH} are needed."] if own else []
    placed: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for one in whole:
        for study, place in zip(one.who, one.placed_without(), strict=True):
            if isinstance(place, Reference):
                placed[study] += 1
                outside[study] += not 5.0 <= place.percentile <= 95.0
    share = sum(outside.values()) / max(sum(placed.values()), 1)
    odd = [study for study in placed if placed[study] >= LEAST_PLACED and outside[study] > OFTEN_OUTSIDE * placed[study]]
    return [f"{marker.name} ({where_words(basis)}): of {len(people)} controls, each among the others, {100 * share:.0f} % of "
            f"{sum(placed.values())} values lie outside the 5th to the 95th percentile; {100 * USUALLY_OUTSIDE:.0f} % are expected.",
            *(f"  {study}: {outside[study]} of {placed[study]} values lie outside; look at its images." for study in odd)]  # fmt: skip

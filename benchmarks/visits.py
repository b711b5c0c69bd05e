"""The markers' own numbers of a phantom at several visits, and what they say of a change: `python benchmarks/change.py values`.

Every visit has another position, grid, bias field and noise. The T1 is laid onto the template as it was made, but for smooth shifts of 1.5
mm, other ones at every visit: two registrations of one head err alike, so that a spread measured here is rather too large. FLAIR and SWI
are laid over it, and the diffusion series onto the template, by the product's own registration; a FLAIR without a T1 is laid as made too,
and has its tissues from the template. The neck needs no place. Left out, to be quick: the search for motion in the diffusion series, where
the head lies still, and streamlines, whose volume is not compared.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from lesions import laid_as_made

from analysis.change import Change, changes
from analysis.engine import analyse
from analysis.examination import Examination, Patient
from analysis.follow_up import FollowUp
from analysis.marker import markers
from analysis.outcome import Outcome
from analysis.phantom_shape import Shape
from analysis.phantom_time import NOTHING, Course, phantom_at, visited
from analysis.steps.coregistration import Laying
from analysis.steps.diffusion import steady_diffusion
from analysis.steps.diffusion_motion import Steady
from analysis.steps.head import head_on_template
from analysis.steps.tractography import tracked_tract

PATIENT = Patient(60.0, "F")
YEARS = 1.0
DOSES = (
    Course(fa_loss=3.0, flair_gain=5.0, band_loss=5.0, cord_loss=3.0),
    Course(fa_loss=6.0, flair_gain=10.0, band_loss=10.0, cord_loss=6.0),
    Course(fa_loss=10.0, flair_gain=20.0, band_loss=20.0, cord_loss=12.0),
)
UNITS = {"1": "", "mm2": " mm²", "10-3.mm2/s": " 10⁻³ mm²/s"}
Place = tuple[str, str | None, str | None]  # name, side, level


@dataclass(frozen=True)
class Visit:
    """One examination: what was measured, and the truth by name, side and level."""

    outcomes: tuple[Outcome, ...]
    truth: dict[Place, float]


@dataclass(frozen=True)
class Pair:
    """A change between two visits, with what was true at either; nan where the phantom does not know it."""

    change: Change
    then: float
    now: float


def visit_of(seed: int, number: int, course: Course, roles: tuple[str, ...], chosen: tuple[str, ...], noise: float) -> Visit:
    """Makes and measures one visit. `chosen`: names of markers, all that have their series where it is empty."""
    began = time.process_time()
    made = phantom_at(number, course, seed, roles=roles, noise=noise)
    examination = Examination({role.removesuffix("_sagittal"): image for role, image in made.images.items()}, PATIENT)
    lay_as_made(examination, visited(seed, number, course), 1000 * seed + number)
    asked = [one for one in markers() if one.name in (chosen or (one.name,)) and has_series(one.needs, examination)]
    outcomes = analyse(examination, asked, time.monotonic)
    refused = "; ".join(f"{one.marker}: {one.reason}" for one in outcomes if one.reason)
    print(f"seed {seed}, visit {number}: {time.process_time() - began:.0f} s of processor {refused}", flush=True)
    truth = {(one["name"], one["side"], one["level"]): one["value"] for its in made.truth["measurements"].values() for one in its}
    return Visit(outcomes, truth)


def lay_as_made(examination: Examination, shape: Shape, seed: int) -> None:
    """Puts a T1, or a FLAIR without one, where it was made but for the shifts, in place of a registration."""
    examination.know(tracked_tract, ())
    if "dwi" in examination.images:
        series = examination.images["dwi"]
        *_, volumes = series.array.shape
        still = Steady(series, np.zeros(volumes), np.zeros((volumes, len(series.array)), bool), is_resampled=False)
        examination.know(steady_diffusion, still)
    if "t1" in examination.images:
        examination.know(head_on_template, laid_as_made(examination.images["t1"], shape, seed).place)
    elif "flair" in examination.images:
        examination.know(Laying("flair"), laid_as_made(examination.images["flair"], shape, seed))


def has_series(needs: tuple[tuple[str, ...], ...], examination: Examination) -> bool:
    return all(any(role in examination.images for role in group) for group in needs)


def compared(then: Visit, now: Visit) -> list[Pair]:
    found = [one for one in changes(then.outcomes, now.outcomes, YEARS, patient=PATIENT) if isinstance(one, Change)]
    return [Pair(one, true_of(one, then), true_of(one, now)) for one in found]


def true_of(change: Change, visit: Visit) -> float:
    return visit.truth.get((change.name, change.side, change.level), float("nan"))


def print_values(seeds: list[int], roles: tuple[str, ...], visits: int, doses: int, chosen: tuple[str, ...], noise: float) -> None:
    """Measures and prints: each visit without a change against each other, and the first against those with the first `doses` of DOSES."""
    nothing, planted = [], defaultdict(list)
    for seed in seeds:
        def measured(number: int, course: Course = NOTHING, seed: int = seed) -> Visit:
            return visit_of(seed, number, course, roles, chosen, noise)

        still = [measured(number) for number in range(visits)]
        nothing += [compared(then, now) for then, now in combinations(still, 2)]
        for step, course in enumerate(DOSES[:doses]):
            planted[step].append(compared(still[0], measured(visits + step, course)))
    print_nothing(nothing)
    for step, pairs in planted.items():
        print_planted(DOSES[step], pairs)


def by_level(comparisons: list[list[Pair]]) -> Iterator[tuple[str, list[Pair]]]:
    """The pairs of each measurement, both sides together, under its name and level."""
    groups = defaultdict(list)
    for pair in (one for pairs in comparisons for one in pairs):
        groups[pair.change.name, pair.change.level].append(pair)
    for (name, level), pairs in groups.items():
        yield f"{name} {level or ''}".strip(), pairs


def print_nothing(comparisons: list[list[Pair]]) -> None:
    """Over all pairs of the visits of a head the spread is that of the values around their mean; of three pairs of three visits two are
    independent."""
    print("\nno change: pairs; within-subject SD seen / assumed = ratio; more than noise; largest index")
    for name, pairs in by_level(comparisons):
        change, error, index = (np.array([getattr(one.change, what) for one in pairs]) for what in ("change", "error", "rci"))
        seen, assumed = np.sqrt(np.mean(change**2) / 2), float(np.mean(error)) / np.sqrt(2)
        value = np.mean([one.change.now for one in pairs])
        print(f"{name}: {len(pairs)}, of {value:.3g}{unit_of(pairs)}: {seen:.4f} / {assumed:.4f} = {seen / assumed:.2f}; "
              f"{more_than(pairs)}; {np.abs(index).max():.1f}")  # fmt: skip
    everything = [one for pairs in comparisons for one in pairs]
    sure = sum(is_sure(pairs) for pairs in comparisons)
    print(f"all: {more_than(everything)} of {len(everything)} values; "
          f"an index beyond Bonferroni's in {sure} of {len(comparisons)} pairs of visits")  # fmt: skip


def is_sure(pairs: list[Pair]) -> bool:
    """Whether any index of a pair of visits is larger than noise alone lets it be in 5 of 100."""
    found = tuple(one.change for one in pairs)
    return any(abs(one.rci) > FollowUp("", (), changes=found).sure_index for one in found)


def print_planted(course: Course, comparisons: list[list[Pair]]) -> None:
    said = ", ".join(f"{name} {dose:g} %" for name, dose in vars(course).items() if isinstance(dose, float) and dose)
    print(f"\nplanted {said}: true → measured (each); more than noise, in the direction of the truth")
    for name, pairs in by_level(comparisons):
        found, true = (np.array([value(one) for one in pairs]) for value in (change_in, true_in))
        right = sum(one.change.verdict == "more than" and one.change.change * (one.now - one.then) > 0 for one in pairs)
        print(f"{name}: {true.mean():+.3f} → {found.mean():+.3f}{'' if pairs[0].change.percent is None else ' %'} "
              f"({', '.join(f'{value:+.2f}' for value in found)}); {more_than(pairs)}, {right} right of {len(pairs)}")  # fmt: skip


def change_in(pair: Pair) -> float:
    """In percent where a share has a meaning, else in the unit."""
    return pair.change.change if pair.change.percent is None else pair.change.percent


def true_in(pair: Pair) -> float:
    """Likewise."""
    return pair.now - pair.then if pair.change.percent is None else 200.0 * (pair.now - pair.then) / (pair.then + pair.now)


def more_than(pairs: list[Pair]) -> int:
    return sum(one.change.verdict == "more than" for one in pairs)


def unit_of(pairs: list[Pair]) -> str:
    return UNITS.get(pairs[0].change.unit, f" {pairs[0].change.unit}")

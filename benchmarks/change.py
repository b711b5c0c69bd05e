"""How far a change is measured that was planted, and how much is measured where nothing changed: the figures of analysis/change.py.

    python benchmarks/change.py heads [--seeds 201-207] [--visits 3] [--losses 1,2,5] [--noise 1] [--coarseness 1]
    python benchmarks/change.py values [--seeds 221-224] [--roles flair,dwi,swi] [--visits 3] [--doses 3] [--markers NAME,…] [--noise 1]
    python benchmarks/change.py lesions [--seeds 211,212]
    python benchmarks/change.py real T1.nii.gz [--copies 3]                        one head, turned, shifted and resampled; nothing changed
    python benchmarks/change.py real FLAIR.nii.gz --role flair [--copies 3]        its lesions
    python benchmarks/change.py place FLAIR.nii.gz --role flair [--copies 10] [--turn 12]      whether copies without a T1 are placed

`heads`: phantom heads at several visits without a change, every visit against every other; with `--losses` visits at which brainstem and
precentral grey matter have lost as many percent, against the first. `--noise` and `--coarseness` are those of the later visits. A head is
laid onto the template as it was made, but for smooth shifts of 1.5 mm, other ones at every visit; what follows is as in a study: tissues,
outlines, half-way space, deformation. `real` places the first copy by registration, and the others by what they were moved by. A visit
takes half a minute, a pair another half. `values` measures visits with the markers themselves (benchmarks/visits.py) and compares their
numbers as of a year, without a change and with planted ones. Nothing is written but the lines on the screen.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from lesions import found_in, laid_as_made
from trust import regridded, seeds_of
from visits import print_values

from analysis.examination import Examination
from analysis.outcome import NotMeasurable
from analysis.phantom_scan import SEQUENCES, scan
from analysis.phantom_time import NOTHING, Course, change_of, head_of, visited
from analysis.steps.coregistration import CONTRASTS, Laying, moved_place
from analysis.steps.head import head_on_template
from analysis.steps.lesion_change import KINDS, OPPOSITE, lesion_changes
from analysis.steps.lesions import lesions_on_flair
from analysis.steps.rigid import rigid_map
from analysis.steps.space import Placement, coarser
from analysis.steps.volume_change import VolumeChange, t1_halfway, volume_changes
from analysis.volume import Volume

BEFORE = {number: 1.0 for number in range(24) if number not in (2, 8, 13, 20)}
AFTER = {number: {6: 1.4, 14: 1.4, 16: 0.6}.get(number, 1.0) for number in range(24) if number not in (0, 3, 18)}
PLANTED = {"new": (2, 8, 13, 20), "gone": (0, 3, 18), "grown": (6, 14), "shrunk": (16,)}
TURN_DEG, SHIFT_MM, STEPS_MM = 8.0, 5.0, (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Visit:
    """A head at a visit, as it is scanned."""

    seed: int
    number: int
    course: Course = NOTHING
    noise: float = 1.0
    coarseness: float = 1.0

    def series(self, role: str) -> Volume:
        head, _ = head_of(self.seed, self.course)
        shape = visited(self.seed, self.number, self.course)
        return scan(head, shape, SEQUENCES[role], self.seed, self.coarseness, self.noise, self.number)


def t1_of(visit: Visit) -> Examination:
    """The examination of a visit, with the head laid as it was made."""
    t1 = visit.series("t1")
    examination = Examination({"t1": t1})
    laid = laid_as_made(t1, visited(visit.seed, visit.number, visit.course), 1000 * visit.seed + visit.number)
    examination.know(head_on_template, laid.place)
    return examination


def flair_of(visit: Visit) -> Examination:
    flair = visit.series("flair")
    examination = Examination({"flair": flair})
    laid = laid_as_made(flair, visited(visit.seed, visit.number, visit.course), 1000 * visit.seed + visit.number)
    examination.know(Laying("flair"), laid)
    examination.know(lesions_on_flair, found_in(flair, laid))
    return examination


def compared(then: Examination, now: Examination) -> tuple[VolumeChange, ...]:
    begin = time.process_time()
    half = t1_halfway(then, now)
    found = volume_changes(then, now, half)
    said = ", ".join(f"{one.name.removesuffix('_volume')} {one.side or ''} {one.percent:+.2f}".replace("  ", " ") +
                     (f" ({one.followed:.2f} followed)" if one.followed else "") for one in found)  # fmt: skip
    print(f"   turned {half.turned_deg:.1f} deg, moved {half.moved_mm:.1f} mm, alike {half.alike:.3f}: {said} %; "
          f"{time.process_time() - begin:.0f} s of processor", flush=True)  # fmt: skip
    return found


def heads(seeds: list[int], visits: int, losses: list[float], noise: float, coarseness: float) -> None:
    nothing, doses = defaultdict(list), defaultdict(list)
    for seed in seeds:
        first = t1_of(Visit(seed, 0))
        later = {number: t1_of(Visit(seed, number, NOTHING, noise, coarseness)) for number in range(1, visits)}
        for a, b in combinations([0, *later], 2):
            print(f"seed {seed}, visit {a} and {b}, no change")
            for one in compared(later.get(a, first), later.get(b, first)):
                nothing[one.name].append(one.percent)
        for number, loss in enumerate(losses, start=visits):
            course = Course(brainstem_loss=loss, precentral_loss=loss)
            true = {(one["name"], one["side"]): one["percent"] for one in change_of(course)}
            print(f"seed {seed}, visit 0 and {number}, {loss:g} % lost")
            for one in compared(first, t1_of(Visit(seed, number, course, noise, coarseness))):
                doses[one.name, loss].append((200 * true[one.name, one.side] / (200 + true[one.name, one.side]), one.percent))
    print("\nno change: pairs, mean, SD, largest of the change in percent; within-subject SD")
    for name, values in nothing.items():
        print(f"{name}: {len(values)}, {np.mean(values):+.3f}, {np.std(values, ddof=1):.3f}, {np.abs(values).max():.3f}; "
              f"{np.sqrt(np.mean(np.square(values)) / 2):.3f}")  # fmt: skip
    print("\nplanted: true → measured (each), percent of the mean of both")
    for (name, loss), pairs in doses.items():
        true, found = np.array(pairs).T
        print(f"{name} {loss:g} %: {true.mean():+.2f} → {found.mean():+.2f} ({', '.join(f'{value:+.2f}' for value in found)})")


def lesions(seeds: list[int]) -> None:
    for seed in seeds:
        before = flair_of(Visit(seed, 0, Course(lesions=BEFORE)))
        for name, course in (("changed", Course(lesions=AFTER)), ("not changed", Course(lesions=BEFORE))):
            found = lesion_changes(before, flair_of(Visit(seed, 1, course)))
            told = ", ".join(f"{found.count(kind)} {kind}" for kind in KINDS)
            print(f"seed {seed}, {name}: {told}; {found.change_ml:+.3f} ml", flush=True)
            for one in found.found:
                if one.kind != "same":
                    print(f"   {one.kind} {one.region} {one.then_ml:.3f} → {one.now_ml:.3f} ml, brighter by {one.brighter:+.2f}")
    print(f"planted where changed: { {kind: len(numbers) for kind, numbers in PLANTED.items()} }; exchanged: {OPPOSITE}")


def moved(head: Volume, number: int, turn_deg: float = TURN_DEG) -> tuple[Volume, np.ndarray]:
    """A copy of a head: scanned in another position, on another grid, with noise and another bias field; and where its positions are in
    the head, 4 by 4."""
    random = np.random.default_rng([7, number])
    copy = regridded(head, tuple(random.uniform(-turn_deg, turn_deg, 3)), float(random.uniform(-SHIFT_MM, SHIFT_MM)),
                     STEPS_MM[number % len(STEPS_MM)])  # fmt: skip
    place = np.stack(np.meshgrid(*(np.linspace(-1, 1, size, dtype=np.float32) for size in copy.array.shape), indexing="ij"))
    field = np.exp(0.15 * np.tensordot(random.uniform(-0.6, 0.6, 3).astype(np.float32), place, axes=1))
    level = float(np.percentile(copy.array, 95))
    noisy = np.hypot(copy.array * field + 0.015 * level * random.standard_normal(copy.array.shape),
                     0.015 * level * random.standard_normal(copy.array.shape))  # fmt: skip
    lies = rigid_map(np.r_[random.uniform(-turn_deg, turn_deg, 3), random.uniform(-SHIFT_MM, SHIFT_MM, 3)], np.zeros(3))
    return Volume(noisy.astype(np.float32), lies @ copy.lps_from_index), np.linalg.inv(lies)


def head_in(path: str) -> Volume:
    import nibabel

    image = nibabel.load(path)
    array, matrix = image.get_fdata(dtype=np.float32), np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    if np.linalg.det(matrix[:3, :3]) < 0:
        array, matrix = array[::-1], matrix @ np.array([[-1.0, 0, 0, array.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return Volume(np.ascontiguousarray(array), matrix)


def place_copies(path: str, role: str, copies: int, turn_deg: float) -> None:
    head = head_in(path)
    for number in range(copies):
        start = time.process_time()
        try:
            laid = Examination({role: moved(head, number, turn_deg)[0]}).once(Laying(role))
            said = f"placed, correlation {laid.place.similarity:.3f}"
        except NotMeasurable as refusal:
            said = f"refused: {refusal.reason}"
        print(f"copy {number}: {said}; {time.process_time() - start:.0f} s of processor", flush=True)


def real_flair(path: str, copies: int) -> None:
    head, examinations = head_in(path), []
    laid = Examination({"flair": head}).once(Laying("flair"))
    for number in range(copies):
        copy, head_from_copy = moved(head, number)
        place = shifted(moved_place(laid.place, coarser(copy, 2.0), head_from_copy), number)
        examinations.append(Examination({"flair": copy}))
        examinations[-1].know(Laying("flair"), replace(laid, place=place))
    for a, b in combinations(range(copies), 2):
        found = lesion_changes(examinations[a], examinations[b])
        told = ", ".join(f"{found.count(kind)} {kind}" for kind in KINDS)
        half = found.half
        print(f"copies {a} and {b}: turned {half.turned_deg:.1f} deg, moved {half.moved_mm:.1f} mm, alike {half.alike:.3f}: {told}; "
              f"{found.change_ml:+.3f} ml of {sum(one.now_ml for one in found.found):.2f}", flush=True)  # fmt: skip


def real(path: str, copies: int) -> None:
    head = head_in(path)
    examinations, place = [], None
    for number in range(copies):
        copy, head_from_copy = moved(head, number)
        examination = Examination({"t1": copy})
        if place is None:
            found = examination.once(head_on_template)
            place = moved_place(found, coarser(head, 2.0), np.linalg.inv(head_from_copy))
        else:
            examination.know(head_on_template, shifted(moved_place(place, coarser(copy, 2.0), head_from_copy), number))
        examinations.append(examination)
    values = defaultdict(list)
    for a, b in combinations(examinations, 2):
        for one in compared(a, b):
            values[one.name].append(one.percent)
    for name, found in values.items():
        spread = np.sqrt(np.mean(np.square(found)) / 2)
        print(f"{name}: {len(found)} pairs, {np.mean(found):+.3f}, largest {np.abs(found).max():.3f}; within-subject SD {spread:.3f} %")


def shifted(place: Placement, number: int) -> Placement:
    """A placement with smooth shifts of 1.5 mm, as another registration would have left them."""
    template = place.template_lps.copy()
    random = np.random.default_rng([number, 99])
    for axis in template:
        shift = ndimage.gaussian_filter(random.standard_normal(axis.shape, dtype=np.float32), 4.0)
        axis += shift * (1.5 / np.sqrt(3) / shift.std())
    return replace(place, template_lps=template.astype(np.float32))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("heads")
    one.add_argument("--seeds", type=seeds_of, default="201-207")
    one.add_argument("--visits", type=int, default=3)
    one.add_argument("--losses", default="")
    one.add_argument("--noise", type=float, default=1.0)
    one.add_argument("--coarseness", type=float, default=1.0)
    own = kinds.add_parser("values")
    own.add_argument("--seeds", type=seeds_of, default="221-224")
    own.add_argument("--roles", default="t1,flair,swi,dwi,cord_t2")
    own.add_argument("--visits", type=int, default=3)
    own.add_argument("--doses", type=int, default=3, help="how many of three planted changes, the smallest first")
    own.add_argument("--markers", default="", help="those to measure; without it all")
    own.add_argument("--noise", type=float, default=1.0)
    kinds.add_parser("lesions").add_argument("--seeds", type=seeds_of, default="211,212")
    two = kinds.add_parser("real")
    two.add_argument("image")
    two.add_argument("--copies", type=int, default=3)
    two.add_argument("--role", choices=("t1", "flair"), default="t1")
    three = kinds.add_parser("place")
    three.add_argument("image")
    three.add_argument("--copies", type=int, default=10)
    three.add_argument("--role", choices=tuple(CONTRASTS), default="flair")
    three.add_argument("--turn", type=float, default=12.0)
    options = parser.parse_args()
    if options.kind == "heads":
        losses = [float(loss) for loss in options.losses.split(",") if loss]
        heads(options.seeds, options.visits, losses, options.noise, options.coarseness)
    elif options.kind == "values":
        roles, chosen = (tuple(filter(None, names.split(","))) for names in (options.roles, options.markers))
        print_values(options.seeds, roles, options.visits, options.doses, chosen, options.noise)
    elif options.kind == "lesions":
        lesions(options.seeds)
    elif options.kind == "place":
        place_copies(options.image, options.role, options.copies, options.turn)
    else:
        (real_flair if options.role == "flair" else real)(options.image, options.copies)


if __name__ == "__main__":
    main()

"""How far the markers' numbers lie from the truth, and from themselves: the figures of their *Trust* lines.

    python benchmarks/trust.py phantom [--seeds 11,12] [--severities 0,0.5,1] [--findings NAME,…] [--roles t1,dwi]
                                       [--markers NAME,…] [--vary] [--jobs 2]
    python benchmarks/trust.py retest T1.nii.gz                                    the same head on tilted, shifted and coarser grids

`phantom`: planted against measured, and what was found where nothing was planted. `--vary` gives every seed another noise and other voxels.
Prints a line per measurement and the tables; writes nothing. A phantom head takes three minutes on two cores, a retest five times one.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.engine import analyse
from analysis.examination import Examination, Patient
from analysis.marker import markers
from analysis.volume import Volume
from node.populations import norms

MOST_NOISE, LEAST_NOISE, LEAST_VOXEL, MOST_VOXEL = 1.6, 0.6, 0.9, 1.25
PATIENT = Patient(60.0, "F")
PLANTED = "cst_degeneration:left,motor_cortex_atrophy,brainstem_atrophy,cst_hyperintensity,motor_band_sign"


@dataclass(frozen=True)
class Head:
    """One phantom to be made: `noise` and `coarseness` as in `analysis.phantom`. `markers`: those to measure, all where it is empty."""

    seed: int
    severity: float
    findings: tuple[str, ...]
    roles: tuple[str, ...]
    noise: float = 1.0
    coarseness: float = 1.0
    markers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"seed {self.seed} severity {self.severity:g} noise {self.noise:.2f} voxels {self.coarseness:.2f}"


@dataclass(frozen=True)
class Result:
    """What one head gave: (measured, true) by name, side and level; (verdict, expected) by finding and side; and lines for a person."""

    head: Head
    values: dict[tuple, tuple[float, float]]
    verdicts: dict[tuple, tuple[str, str]]
    lines: tuple[str, ...]


def varied(seed: int) -> tuple[float, float]:
    random = np.random.default_rng([seed, 9])
    return random.uniform(LEAST_NOISE, MOST_NOISE), random.uniform(LEAST_VOXEL, MOST_VOXEL)


def measured(head: Head) -> Result:
    """Makes and measures one head."""
    from analysis.phantom import phantom

    made = phantom(
        head.findings if head.severity else (), head.severity, head.seed, roles=head.roles, noise=head.noise, coarseness=head.coarseness
    )
    expected = {(one["name"], one["side"]): one["value"] for one in made.truth["findings_expected"]}
    values, verdicts, lines = {}, {}, []
    chosen = [one for one in markers() if one.name in (head.markers or (one.name,))]
    images = {name.removesuffix("_sagittal"): image for name, image in made.images.items()}  # of the two series of a neck one is made
    for outcome in analyse(Examination(images, PATIENT, norms=norms()), chosen, time.monotonic):
        truth = {(m["name"], m["side"], m["level"]): m["value"] for m in made.truth["measurements"].get(outcome.marker, [])}
        lines.append(f"{head} {outcome.marker}: {outcome.outcome} {outcome.reason or ''}, {outcome.seconds:.0f} s")
        for m in outcome.measurements:
            true = truth.get((m.name, m.side, m.level), float("nan"))
            values[m.name, m.side, m.level] = m.value, true
            lines.append(f"  {m.name} {m.side or ''} {m.level or ''}: true {true:.3f} measured {m.value:.3f}")
        for gap in outcome.gaps:
            lines.append(f"  {gap.name} {gap.side or ''} {gap.level or ''}: {gap.reason}")
        for finding in outcome.findings:
            should = expected.get((finding.name, finding.side), "absent")
            verdicts[finding.name, finding.side, len(verdicts) if finding.side is None else 0] = finding.value, should
            lines.append(f"  {finding.name} {finding.side or ''}: {finding.value}, planted {should}. {finding.reason or ''}")
    return Result(head, values, verdicts, tuple(lines))


def phantom_tables(heads: list[Head], jobs: int) -> None:
    """Measures the heads, `jobs` at a time, and prints errors, doses and findings."""
    results = []
    with ProcessPoolExecutor(jobs) as pool:
        for result in pool.map(measured, heads):
            results.append(result)
            print("\n".join(result.lines), flush=True)
    print_errors(results)
    print_doses(results)
    print_verdicts(results)


def print_errors(results: list[Result]) -> None:
    errors = defaultdict(list)
    for result in results:
        for (name, _, level), pair in result.values.items():
            errors[name, level].append(pair)
    print("\nname, level: n, mean of measured - true, its SD, largest; the same in percent of the truth")
    for (name, level), pairs in errors.items():
        found, true = np.array(pairs).T
        off = found - true
        share = 100 * off / np.where(true == 0, np.nan, true)
        absolute = f"{off.mean():+.3f} ± {off.std():.3f}, {np.abs(off).max():.3f}"
        print(f"{name} {level or ''}: n {len(off)}, {absolute}; {share.mean():+.1f} ± {share.std():.1f}, {np.abs(share).max():.1f} %")


def print_doses(results: list[Result]) -> None:
    """Mean of truth and of measurement by severity, over seeds and sides."""
    doses = defaultdict(lambda: defaultdict(list))
    for result in results:
        for (name, _, level), pair in result.values.items():
            doses[name, level][result.head.severity].append(pair)
    print("\nname, level: severity: true → measured (SD)")
    for (name, level), by_severity in doses.items():
        cells = []
        for severity, pairs in sorted(by_severity.items()):
            found, true = np.array(pairs).T
            cells.append(f"{severity:g}: {true.mean():.3f} → {found.mean():.3f} ({found.std():.3f})")
        print(f"{name} {level or ''}: {'; '.join(cells)}")


def print_verdicts(results: list[Result]) -> None:
    counts = defaultdict(Counter)
    for result in results:
        for (name, _, _), (value, should) in result.verdicts.items():
            counts[name, should, result.head.severity if should == "present" else 0.0][value] += 1
    print("\nfinding, planted, severity: verdicts")
    for (name, should, severity), verdicts in sorted(counts.items()):
        print(f"{name}, {should}, {severity:g}: {', '.join(f'{value} {count}' for value, count in sorted(verdicts.items()))}")


def regridded(volume: Volume, angles: tuple[float, float, float], shift_mm: float, step_mm: float) -> Volume:
    """The same head on another grid: turned about its middle, shifted, with other voxels; cubic interpolation."""
    from analysis.steps.space import coarser, onto

    size = np.array(volume.array.shape) * volume.spacing_mm
    shape = np.ceil((size + 20.0) / step_mm).astype(int)
    axes = volume.lps_from_index[:3, :3] / volume.spacing_mm
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ axes * step_mm
    middle = (volume.lps_from_index @ [*(np.array(volume.array.shape) / 2), 1.0])[:3]
    matrix[:3, 3] = middle + shift_mm - matrix[:3, :3] @ (shape / 2)
    source = coarser(volume, step_mm) if step_mm > 1.2 * volume.spacing_mm.max() else volume
    grid = Volume(np.zeros(shape, np.float32), matrix)
    return grid.with_array(np.maximum(onto(source, grid, order=3), 0.0))


def retest(path: str) -> None:
    import nibabel

    image = nibabel.load(path)
    array, matrix = image.get_fdata(dtype=np.float32), np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    if np.linalg.det(matrix[:3, :3]) < 0:
        array, matrix = array[::-1], matrix @ np.array([[-1.0, 0, 0, array.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    head = Volume(np.ascontiguousarray(array), matrix)
    grids = [((0, 0, 0), 0.0, 1.0), ((8, 0, 0), 3.3, 1.0), ((0, -9, 5), -4.1, 1.0), ((5, 5, -10), 0.7, 1.3)]
    values = defaultdict(list)
    for angles, shift_mm, step_mm in grids:
        for outcome in analyse(Examination({"t1": regridded(head, angles, shift_mm, step_mm)}), markers(), time.monotonic):
            said = f"{outcome.marker}: {outcome.outcome} {outcome.reason or ''} {outcome.seconds:.0f} s"
            print(f"{angles} {shift_mm} mm, voxels of {step_mm} mm, {said}", flush=True)
            for m in outcome.measurements:
                values[m.name].append(m.value)
    for name, found in values.items():
        spread = 100 * np.std(found, ddof=1) / np.mean(found)
        print(f"{name}: {', '.join(f'{value:.1f}' for value in found)}; coefficient of variation {spread:.2f} %")


def seeds_of(text: str) -> list[int]:
    ranges = [part.split("-") for part in text.split(",")]
    return [seed for ends in ranges for seed in range(int(ends[0]), int(ends[-1]) + 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("phantom")
    one.add_argument("--seeds", type=seeds_of, default="11,12,13", help="11,12 or 11-30")
    one.add_argument("--severities", default="0,1")
    one.add_argument("--findings", default=PLANTED)
    one.add_argument("--roles", default="t1,flair,swi,dwi")
    one.add_argument("--markers", default="", help="those to measure; without it all")
    one.add_argument("--vary", action="store_true", help="another noise and other voxels for every seed")
    one.add_argument("--jobs", type=int, default=1)
    kinds.add_parser("retest").add_argument("t1")
    options = parser.parse_args()
    if options.kind == "phantom":
        what = tuple(options.findings.split(",")), tuple(options.roles.split(","))
        severities = [float(one) for one in options.severities.split(",")]
        heads = [
            Head(seed, severity, *what, *(varied(seed) if options.vary else (1.0, 1.0)), tuple(filter(None, options.markers.split(","))))
            for seed in options.seeds
            for severity in severities
        ]
        phantom_tables(heads, options.jobs)
    else:
        retest(options.t1)


if __name__ == "__main__":
    main()

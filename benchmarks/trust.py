"""How far the markers' numbers lie from the truth, and from themselves: the figures of their *Trust* lines.

    python benchmarks/trust.py phantom [--seeds 11,12] [--severities 0,0.5,1]     planted against measured
    python benchmarks/trust.py retest T1.nii.gz                                    the same head on tilted, shifted and coarser grids

Prints a line per measurement and a summary; writes nothing. A phantom head takes three minutes on two cores, a retest five times one.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict

import numpy as np
from scipy.spatial.transform import Rotation

from analysis.engine import analyse
from analysis.examination import Examination
from analysis.marker import markers
from analysis.volume import Volume


def phantom_errors(seeds: list[int], severities: list[float]) -> None:
    from analysis.phantom import phantom

    errors = defaultdict(list)
    for seed in seeds:
        for severity in severities:
            made = phantom(("cst_degeneration:left",) if severity else (), severity, seed, roles=("t1", "dwi"))
            for outcome in analyse(Examination(made.images), markers(), time.monotonic):
                truth = {(m["name"], m["side"], m["level"]): m["value"] for m in made.truth["measurements"].get(outcome.marker, [])}
                for m in outcome.measurements:
                    true = truth[m.name, m.side, m.level]
                    errors[m.name, m.level].append((m.value, true))
                    print(f"  {m.name} {m.side or ''} {m.level or ''}: true {true:.3f} measured {m.value:.3f}")
                print(f"seed {seed} severity {severity:g} {outcome.marker}: {outcome.outcome}, {outcome.seconds:.0f} s", flush=True)
    print("\nname, level: n, mean of measured - true, its SD, largest; the same in percent of the truth")
    for (name, level), pairs in errors.items():
        measured, true = np.array(pairs).T
        off, share = measured - true, 100 * (measured - true) / true
        absolute = f"{off.mean():+.3f} ± {off.std():.3f}, {np.abs(off).max():.3f}"
        print(f"{name} {level or ''}: n {len(off)}, {absolute}; {share.mean():+.1f} ± {share.std():.1f}, {np.abs(share).max():.1f} %")


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    one = kinds.add_parser("phantom")
    one.add_argument("--seeds", default="11,12,13")
    one.add_argument("--severities", default="0,1")
    kinds.add_parser("retest").add_argument("t1")
    options = parser.parse_args()
    if options.kind == "phantom":
        phantom_errors([int(seed) for seed in options.seeds.split(",")], [float(s) for s in options.severities.split(",")])
    else:
        retest(options.t1)


if __name__ == "__main__":
    main()

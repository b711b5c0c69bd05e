"""How many planted lesions the detector finds, by size and region, and what it finds where there are none.

    python benchmarks/lesions.py [--finding ms_lesions] [--severity 1] [--seeds 41,43]

A phantom's FLAIR, laid onto the template as it was made, but for smooth shifts of 1.5 mm (root mean square) as a registration leaves them:
so the detector is measured, and a head takes half a minute and not three. Nothing is written but the lines on the screen. `--finding none`
is a healthy head. The T1 takes no part.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.examination import Examination
from analysis.markers.white_matter_lesions import verdict
from analysis.phantom_findings import plant, planted_sides
from analysis.phantom_head import Head, healthy_head
from analysis.phantom_lesions import SITES, Ovoid
from analysis.phantom_scan import SEQUENCES, look_up, scan
from analysis.phantom_shape import Shape, shape_of
from analysis.steps.coregistration import Laid
from analysis.steps.lesion_features import features_of
from analysis.steps.lesion_priors import priors_at
from analysis.steps.lesions import Lesions, belief_of, fine_grid, lesion_voxels, surroundings, told_apart
from analysis.steps.space import Placement, coarser, lps_grid
from analysis.volume import Volume

SHIFT_MM, SHIFT_SIGMA_MM = 1.5, 8.0
SIZES_MM = ((0, 5), (5, 10), (10, 99))


def laid_as_made(series: Volume, shape: Shape, seed: int) -> Laid:
    """The place that the phantom was made in, with the shifts."""
    grid = coarser(series, 2.0)
    template = shape.template_from_lps(lps_grid(grid)).astype(np.float32)
    random = np.random.default_rng([seed, 99])
    for axis in template:
        shift = ndimage.gaussian_filter(random.standard_normal(axis.shape, dtype=np.float32), SHIFT_SIGMA_MM / 2.0)
        axis += shift * (SHIFT_MM / np.sqrt(3) / shift.std())
    template[:2] *= -1
    return Laid(Placement(grid, template, np.diag([-1.0, -1.0, 1.0, 1.0]) @ shape.affine, 1.0), None, 1.0)


def found_in(series: Volume, laid: Laid) -> Lesions:
    grid, template_lps = fine_grid(series, laid)
    features = features_of(grid.array, priors_at(template_lps))
    around = surroundings(Examination({"flair": series}), laid, grid, template_lps, features)
    return told_apart(grid, lesion_voxels(features, belief_of(features)), around)


def numbered(lesions: Lesions) -> np.ndarray:
    """The number of the lesion in each voxel of its grid, from 1."""
    labels = np.zeros(lesions.grid.array.shape, np.int32)
    for number, lesion in enumerate(lesions.found, start=1):
        labels[tuple(lesion.voxels.T)] = number
    return labels


def inside(one: Ovoid, template_mm: np.ndarray) -> np.ndarray:
    """Which template points (3, ...) lie in a planted lesion."""
    offset = template_mm - one.middle_mm.reshape(3, 1, 1, 1)
    along = np.tensordot(one.axis, offset, 1)
    across = np.sqrt(np.maximum((offset**2).sum(0) - along**2, 0))
    return np.hypot(along / (one.length_mm / 2), across / (one.width_mm / 2)) < 1.1


def judged(head: Head, made: tuple, shape: Shape, lesions: Lesions) -> tuple[list[tuple[str, float, bool]], str]:
    """Site, length and whether it was found of every lesion, and a line about the head."""
    template = shape.template_from_lps(lps_grid(lesions.grid))
    spot = look_up(head.spots["lesion"], template) if made else np.zeros(lesions.grid.array.shape, np.float32)
    labels, true = numbered(lesions), spot > 0.5
    false = [one for one in lesions.found if not (spot[tuple(one.voxels.T)] > 0.1).any()]
    rows = [(one.site, one.length_mm, bool(labels[inside(one, template) & (spot > 0.3)].any())) for one in made if one.is_whole]
    dice = 2 * (true & (labels > 0)).sum() / max(true.sum() + (labels > 0).sum(), 1)
    ml = lesions.grid.voxel_ml
    said = f"found {len(lesions.found)}, false {len(false)} ({sum(one.volume_ml for one in false):.3f} ml), "
    said += f"{(labels > 0).sum() * ml:.2f} ml of {spot.sum() * ml:.2f}, Dice {dice:.2f}, pattern {verdict(lesions.found)[0]}"
    return rows, said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--finding", default="ms_lesions", choices=("ms_lesions", "vascular_lesions", "none"))
    parser.add_argument("--severity", type=float, default=1.0)
    parser.add_argument("--seeds", default="41,43")
    asked = parser.parse_args()
    rows = []
    for seed in map(int, asked.seeds.split(",")):
        began, shape = time.process_time(), shape_of(seed)
        head, made = plant(healthy_head(), planted_sides(() if asked.finding == "none" else (asked.finding,)), asked.severity, seed)
        series = scan(head, shape, SEQUENCES["flair"], seed)
        more, said = judged(head, made, shape, found_in(series, laid_as_made(series, shape, seed)))
        rows += more
        print(f"{asked.finding} {asked.severity:g}, seed {seed}: {said}, {time.process_time() - began:.0f} s", flush=True)
    for low, high in SIZES_MM:
        here = [seen for _, length_mm, seen in rows if low <= length_mm < high]
        print(f"{low} to {high} mm: {sum(here)} of {len(here)}")
    for site in SITES:
        here = [seen for its, _, seen in rows if its == site]
        print(f"{site}: {sum(here)} of {len(here)}")


if __name__ == "__main__":
    main()

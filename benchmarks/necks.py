"""Computed necks as scanners may lay them: tilted, and cut at many heights. The figures of the *Trust* line of `cervical_cord`.

    python benchmarks/necks.py tilts [--seed 131]          one neck at ten tilts, as a 3D T2 and as sagittal slices of 3 mm
    python benchmarks/necks.py cuts [--seeds 106-120]      fields cut at many heights: levels that are right, refused and wrong

Prints a line for each; writes nothing. A tilt takes ten seconds, a neck of `cuts` half a minute. For doses and healthy necks:
`benchmarks/trust.py phantom --roles cord_t2 --markers cervical_cord,cord_compression --findings cord_atrophy …`.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.engine import analyse
from analysis.examination import Examination
from analysis.marker import markers
from analysis.phantom_neck import Neck, neck_of
from analysis.phantom_neck_scan import NECK_SEQUENCES
from analysis.phantom_scan import AXES
from analysis.steps.cord import cord_of
from analysis.steps.cord_edge import Line, edge_of
from analysis.steps.cord_levels import disc_signal, levels_of
from analysis.steps.cord_place import path_of
from analysis.volume import Volume

TILTS = ((0, 0, 0), (10, 0, 0), (20, 0, 0), (-10, 0, 0), (-20, 0, 0), (0, 10, 0), (0, -20, 0), (0, 0, 15), (12, 8, -10), (-15, -10, 20))
GRIDS = {"3D 1 mm": ((56, 260, 200), (1.0, 1.0, 1.0)), "sagittal 3 mm": ((19, 260, 200), (3.0, 1.0, 1.0))}
MIDDLE_MM, FORWARD_MM, NOISE = 82.0, 12.0, 0.03
TOPS_MM, LENGTHS_MM, SHORTEST_MM = range(100, -70, -6), (60, 100, 400), 45  # of a field: above C2/C3, and down from there
WRONG_MM = 8.0


def tilted(neck: Neck, angles: tuple[float, float, float], grid: str) -> Volume:
    count, size_mm = GRIDS[grid]
    lps_from_index = np.eye(4)
    lps_from_index[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() @ AXES["sagittal"] * np.array(size_mm)
    middle = neck.shape.point(MIDDLE_MM * neck.shape.size) - [0.0, FORWARD_MM, 0.0]
    lps_from_index[:3, 3] = middle - lps_from_index[:3, :3] @ ((np.array(count) - 1) / 2)
    return neck.scan_on(count, lps_from_index, noise=NOISE)


def measured(neck: Neck, image: Volume) -> str:
    """How far discs and areas lie from the truth, or why there are none."""
    truth = neck.truth()
    true = {one["level"]: one["value"] for one in truth["measurements"]["cervical_cord"] if one["name"] == "cord_area"}
    examination = Examination({"cord_t2": image})
    (outcome,) = analyse(examination, [one for one in markers() if one.name == "cervical_cord"], lambda: 0.0)
    if outcome.reason:
        return str(outcome.reason)
    away = max(float(np.linalg.norm(np.array(one.lps) - truth["discs_lps_mm"][one.name])) for one in examination.once(cord_of).discs)
    off = {one.level: 100 * (one.value / true[one.level] - 1) for one in outcome.measurements if one.name == "cord_area"}
    return f"discs within {away:.1f} mm, area {', '.join(f'{level} {share:+.1f}' for level, share in off.items())} %"


def cuts(seed: int, series: str) -> Counter:
    """Fields of one neck by what was said of their levels."""
    neck = neck_of((), 0.0, seed)
    image, discs = neck.scan(series), neck.truth()["discs_lps_mm"]
    edge, said = edge_of(image, path_of(image, "t2").lps, dark_fluid=False), Counter()
    upper = int(np.abs(edge.line.lps[:, 2] - discs["C2/C3"][2]).argmin())
    for begin in (upper - above for above in TOPS_MM):
        ends = {min(begin + length, len(edge.line.lps)) for length in LENGTHS_MM}
        for end in (end for end in ends if begin >= 0 and end - begin >= SHORTEST_MM):
            line = Line(*(getattr(edge.line, name)[begin:end] for name in ("lps", "axis", "posterior", "left")))
            radius_mm = edge.radius_mm[begin:end]
            levels = levels_of(disc_signal(image, line, radius_mm, "t2", np.ones(end - begin, bool)), radius_mm)
            found = levels.place.get("C2/C3")
            said["refused" if found is None else "wrong" if abs(line.lps[found][2] - discs["C2/C3"][2]) > WRONG_MM else "right"] += 1
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    kinds = parser.add_subparsers(dest="kind", required=True)
    kinds.add_parser("tilts").add_argument("--seed", type=int, default=131)
    kinds.add_parser("cuts").add_argument("--seeds", default="106-120", help="106-120")
    options = parser.parse_args()
    if options.kind == "tilts":
        neck = neck_of((), 0.0, options.seed)
        for grid in GRIDS:
            for angles in TILTS:
                print(f"{grid}, {angles}: {measured(neck, tilted(neck, angles, grid))}", flush=True)
        return
    first, _, last = options.seeds.partition("-")
    for series in NECK_SEQUENCES:
        total = Counter()
        for seed in range(int(first), int(last or first) + 1):
            total += cuts(seed, series)
            print(f"{series}, up to neck {seed}: {dict(total)}", flush=True)


if __name__ == "__main__":
    main()

"""The thickness of shells and folded sheets that are known: the table behind the *Trust* line of precentral_gyrus.

    python benchmarks/thickness.py [--quick]

A fold has blades of white matter, round crowns and round bottoms, and a sulcus of `gap` mm between its banks, down to none. Voxels are
averages over their cube, turned against the fold. The brightness of the pure tissues is fitted to each image, as in a patient. Prints a
line per sheet (mean and spread of measured - true, over all, crowns, banks and bottoms); writes nothing. Two minutes.
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
from scipy.spatial.transform import Rotation

from analysis.steps.cortex import STEP_MM, finer, thickness, tissue_scale
from analysis.steps.ribbon import fit_pure_tissues
from analysis.volume import Volume

PURE = np.array([0.30, 0.72, 1.0], np.float32)  # CSF, grey, white
SIZE_MM, MARGIN_MM, SUPERSAMPLE = 28.0, 5.5, 4
BLADE_MM, CROWN_MM, LIFT_MM, SHELL_MM = 4.0, 12.0, 6.0, 10.0
TILTED, STRAIGHT = (20.0, 35.0, 15.0), (0.0, 0.0, 0.0)


class Sheet(NamedTuple):
    """`gap_mm` None: a shell."""

    thick_mm: float
    gap_mm: float | None
    voxel_mm: float
    noise: float = 0.03
    turn_deg: tuple[float, float, float] = TILTED


SHEETS = (
    *(Sheet(thick, None, voxel) for thick, voxel in ((1.5, 1.3), (2.5, 1.0), (4.0, 1.0))),
    *(Sheet(thick, 0.5, voxel) for thick in (1.5, 2.5, 4.0) for voxel in (0.7, 1.0, 1.3)),
    *(Sheet(2.5, gap, 1.0) for gap in (0.0, 0.25, 0.75, 1.0, 2.0)),
    Sheet(2.5, 0.5, 1.0, turn_deg=STRAIGHT),
    *(Sheet(thick, gap, voxel, 0.06) for thick, gap in ((2.5, 0.0), (2.5, 0.5), (2.5, 1.5), (4.0, 0.5)) for voxel in (0.7, 1.0, 1.3)),
    *(Sheet(1.0, 0.5, voxel) for voxel in (0.7, 1.0)),
    *(Sheet(thick, 0.5, 2.0) for thick in (1.5, 2.5, 4.0)),
)


def outward_mm(sheet: Sheet, place: np.ndarray) -> np.ndarray:
    """Distance from the white surface, positive outwards, at places (3, ...) along the axes of the sheet."""
    if sheet.gap_mm is None:
        return np.sqrt((place**2).sum(axis=0)) - SHELL_MM
    bottom = sheet.thick_mm + sheet.gap_mm / 2
    period = BLADE_MM + 2 * bottom
    up = place[1] + LIFT_MM
    across = np.abs((place[0] + period / 2) % period - period / 2)
    crown, bank = np.hypot(across, up - CROWN_MM) - BLADE_MM / 2, across - BLADE_MM / 2
    return np.where(up > CROWN_MM, crown, np.where(up < 0, bottom - np.hypot(across - period / 2, up), bank))


def scanned(sheet: Sheet, seed: int = 0) -> Volume:
    """The T1 of a sheet around the origin, white matter 1."""
    count = int(SIZE_MM / sheet.voxel_mm)
    fine = (np.arange(count * SUPERSAMPLE, dtype=np.float32) + 0.5) * sheet.voxel_mm / SUPERSAMPLE - count * sheet.voxel_mm / 2
    turn = Rotation.from_euler("xyz", sheet.turn_deg, degrees=True).as_matrix().astype(np.float32)
    image = np.zeros((count, count, count), np.float32)
    for index, along in enumerate(fine):
        place = np.stack(np.meshgrid([along], fine, fine, indexing="ij"))
        outward = outward_mm(sheet, np.tensordot(turn, place, axes=1))[0]
        bright = np.where(outward < 0, PURE[2], np.where(outward < sheet.thick_mm, PURE[1], PURE[0]))
        image[index // SUPERSAMPLE] += bright.reshape(count, SUPERSAMPLE, count, SUPERSAMPLE).mean(axis=(1, 3)) / SUPERSAMPLE
    image += np.random.default_rng(seed).normal(0, sheet.noise, image.shape).astype(np.float32)
    matrix = np.diag([*[sheet.voxel_mm] * 3, 1.0])
    matrix[:3, 3] = sheet.voxel_mm / 2 - count * sheet.voxel_mm / 2
    return Volume(image, matrix)


def errors_mm(sheet: Sheet) -> dict[str, np.ndarray]:
    """Measured less true thickness at every start point, of all and by part of the fold; NaN where a track found no end."""
    image = scanned(sheet)
    fine = finer(image)
    margin = int(MARGIN_MM / STEP_MM)
    where = np.zeros(fine.array.shape, bool)
    where[(slice(margin, -margin),) * 3] = True
    found = thickness(tissue_scale(fine.array, fit_pure_tissues(image.array.ravel()).means), where)
    off = found.mm - sheet.thick_mm
    if sheet.gap_mm is None:
        return {"all": off}
    place = fine.lps_from_index[:3, :3] @ found.index.T + fine.lps_from_index[:3, 3:]
    turn = Rotation.from_euler("xyz", sheet.turn_deg, degrees=True).as_matrix()
    up = (turn @ place)[1] + LIFT_MM
    parts = {"crowns": up > CROWN_MM, "banks": (up >= 0) & (up <= CROWN_MM), "bottoms": up < 0}
    return {"all": off, **{name: off[part] for name, part in parts.items()}}


def line_of(sheet: Sheet) -> str:
    errors = errors_mm(sheet)
    kind = "shell" if sheet.gap_mm is None else f"fold, gap {sheet.gap_mm:.2f} mm"
    said = ", ".join(f"{name} {np.nanmean(off):+.2f}" for name, off in errors.items() if name != "all" and len(off))
    whole = errors["all"]
    return (
        f"{sheet.thick_mm:.1f} mm {kind}, voxels {sheet.voxel_mm:.1f} mm{' straight' if sheet.turn_deg == STRAIGHT else ''}, noise "
        f"{100 * sheet.noise:.0f} %: {np.nanmean(whole):+.2f} ± {np.nanstd(whole):.2f} mm ({said}); ended {np.isfinite(whole).mean():.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three sheets")
    for sheet in SHEETS[:9:4] if parser.parse_args().quick else SHEETS:
        print(line_of(sheet), flush=True)


if __name__ == "__main__":
    main()

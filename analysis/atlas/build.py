"""Makes the packaged atlas: `python -m analysis.atlas.build` writes the images and labels.csv beside this file.

From: the symmetric MNI ICBM152 2009a T1, grey and white maps that nilearn ships (1 mm, skull-stripped), and published coordinates.
The pseudo-head: there is no whole-head template with a clear licence, and a head registered straight onto a stripped brain fails (the
zeros around it match the air around the head). So layers are put around the brain: CSF, skull, scalp, as bright as they are on a T1.
"""

from __future__ import annotations

import csv
from pathlib import Path

import nibabel
import numpy as np
from scipy import ndimage
from scipy.interpolate import PchipInterpolator

HERE = Path(__file__).parent
STEP_MM = 2.0
PADDING = 12  # voxels of STEP_MM around the template's field of view: room for skull and scalp

# Corticospinal tract, centreline: z, |x|, y in MNI mm, blended from published positions: diffusion peaks in ALS at the pons, the internal
# capsule, the corona radiata and under the precentral gyrus, the trace of the tract in the Catani atlas, and the centroids of the JHU
# labels of the peduncle, the internal capsule and the pontine tract. SOURCES.md lists them.
CST_CENTRELINE = (
    (-50.0, 3.5, -33.0), (-44.0, 4.5, -29.0), (-36.5, 6.5, -25.0), (-30.2, 7.0, -23.3), (-20.0, 10.0, -19.5),
    (-10.9, 14.2, -16.0), (-4.0, 17.5, -14.0), (5.6, 21.3, -12.3), (10.3, 23.0, -12.0), (20.0, 25.5, -15.5),
    (28.0, 25.5, -19.0), (36.0, 24.5, -21.0), (44.0, 22.5, -22.5), (52.0, 21.0, -24.0), (60.0, 22.0, -24.0),
)  # fmt: skip
# Levels of the tract by z, with the radius that keeps 76 to 94 % of it inside independent labels.
CST_LEVELS = {
    "pons": (-38.0, -21.0, 4.5),
    "peduncle": (-21.0, -4.0, 5.0),
    "plic": (-4.0, 19.0, 4.5),
    "corona_radiata": (19.0, 40.0, 6.0),
    "subcortical": (40.0, 61.0, 8.0),
}
CST_WHITE = 0.3
CORE_SIGMA_MM, CORE_POWER = 1.5, 4
# Motor segment of the callosum: the third of five by Hofer and Frahm, from one half to two thirds of its length: y -17 to -4 here.
CALLOSAL_MOTOR_Y = (-17.0, -4.0)
CALLOSAL_HALF_WIDTH_MM = 8.0


def tissue_maps() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """T1, grey and white of the template at 1 mm, and its RAS affine."""
    from nilearn.datasets import load_mni152_gm_template, load_mni152_template, load_mni152_wm_template

    t1 = load_mni152_template(resolution=1)
    grey, white = load_mni152_gm_template(resolution=1), load_mni152_wm_template(resolution=1)
    return t1.get_fdata(), grey.get_fdata(), white.get_fdata(), t1.affine


def inside_of(t1: np.ndarray) -> np.ndarray:
    """The brain with the CSF of its sulci and ventricles: boolean."""
    return ndimage.binary_fill_holes(ndimage.binary_closing(t1 > 0.05 * t1.max(), iterations=3))


def coarse(array: np.ndarray) -> np.ndarray:
    """From 1 mm to 2 mm: every second voxel of the smoothed array, so that voxel 0 stays where it is."""
    return ndimage.gaussian_filter(array.astype(np.float32), 0.8)[::2, ::2, ::2]


def pseudo_head(brain: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """CSF, skull and scalp around the brain; nothing below its base, where a real head has a face and a neck that vary."""
    outside_mm = ndimage.distance_transform_edt(~inside) * STEP_MM
    white = np.percentile(brain[inside], 90)
    head = brain.copy()
    for inner_mm, outer_mm, level in ((0.0, 3.0, 0.25), (3.0, 9.0, 0.12), (9.0, 17.0, 0.85)):
        head[(outside_mm > inner_mm) & (outside_mm <= outer_mm)] = level * white
    base = int(np.flatnonzero(inside.any((0, 1)))[0]) + 10
    head[:, :, :base][~inside[:, :, :base]] = 0.0
    return ndimage.gaussian_filter(head, 1.0)


def template_layers() -> tuple[np.ndarray, np.ndarray]:
    """The layers of `analysis.atlas.template` as one uint8 array (x, y, z, layer), and their RAS affine."""
    t1, grey, white, affine = tissue_maps()
    around = [(PADDING, PADDING)] * 3
    brain = np.pad(coarse(t1 / t1.max()), around)
    inside = np.pad(coarse(inside_of(t1)) > 0.5, around)
    maps = [np.pad(coarse(layer), around) for layer in (grey, white)]
    layers = np.stack([pseudo_head(brain, inside), brain, inside.astype(np.float32), *maps], axis=-1)
    corner = affine[:3, 3] - PADDING * STEP_MM * np.diag(affine)[:3]
    coarse_affine = affine @ np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    coarse_affine[:3, 3] = corner
    return np.clip(np.rint(layers * 255.0), 0, 255).astype(np.uint8), coarse_affine


def tract_distance_mm(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Distance in the axial plane from the centreline of the corticospinal tract of the same side."""
    points = np.array(CST_CENTRELINE)
    lateral, posterior = (PchipInterpolator(points[:, 0], points[:, i])(np.clip(z, points[0, 0], points[-1, 0])) for i in (1, 2))
    return np.hypot(np.abs(x) - lateral, y - posterior)


def label_image() -> tuple[np.ndarray, np.ndarray, list[tuple[int, str, str, str]]]:
    """The labels at 1 mm, their RAS affine and the rows of labels.csv."""
    t1, _, white, affine = tissue_maps()
    axes = (np.arange(size, dtype=np.float32) * affine[i, i] + affine[i, 3] for i, size in enumerate(t1.shape))
    x, y, z = np.meshgrid(*axes, indexing="ij")
    image, rows = np.zeros(t1.shape, np.uint8), []
    distance = tract_distance_mm(x, y, z)
    for level, (low, high, radius) in CST_LEVELS.items():
        tube = (z >= low) & (z < high) & (distance <= radius) & (white > CST_WHITE)
        for side, there in (("left", x < -0.5), ("right", x > 0.5)):
            rows.append((len(rows) + 1, "cst", side, level))
            image[tube & there] = len(rows)
    rows.append((len(rows) + 1, "callosal_motor_segment", "", ""))
    image[callosal_motor(white, x, y, z)] = len(rows)
    return image, affine, rows


def core_image(labels: np.ndarray, rows: list[tuple[int, str, str, str]]) -> np.ndarray:
    """How much of the middle of its tract a voxel is, 0 to 255: the tract blurred, to a power that leaves little weight at its rim, where a
    voxel of 2 to 3 mm holds as much of the neighbours as of the tract."""
    core = np.zeros(labels.shape, np.float32)
    for side in ("left", "right"):
        tract = np.isin(labels, [label for label, structure, where, _ in rows if structure == "cst" and where == side])
        core = np.maximum(core, ndimage.gaussian_filter(tract.astype(np.float32), CORE_SIGMA_MM) ** CORE_POWER)
    return np.rint(core * 255.0).astype(np.uint8)


def callosal_motor(white: np.ndarray, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The body of the callosum near the midline between the two planes of its motor segment: boolean."""
    near = (np.abs(x) <= CALLOSAL_HALF_WIDTH_MM) & (y >= CALLOSAL_MOTOR_Y[0]) & (y <= CALLOSAL_MOTOR_Y[1]) & (z > 18) & (z < 36)
    found, count = ndimage.label(near & (white > 0.6))
    sizes = ndimage.sum_labels(np.ones_like(found), found, range(1, count + 1))
    return found == 1 + int(np.argmax(sizes))


def main() -> None:
    layers, affine = template_layers()
    nibabel.save(nibabel.Nifti1Image(layers, affine), HERE / "template.nii.gz")
    image, affine, rows = label_image()
    nibabel.save(nibabel.Nifti1Image(image, affine), HERE / "labels.nii.gz")
    nibabel.save(nibabel.Nifti1Image(core_image(image, rows), affine), HERE / "core.nii.gz")
    with (HERE / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("label", "structure", "side", "level"))
        writer.writerows(rows)


if __name__ == "__main__":
    main()

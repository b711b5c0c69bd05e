"""Makes the packaged atlas: `python -m analysis.atlas.build` writes the images, labels.csv and the page of pictures beside this file.

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

from analysis.atlas.brainstem import brainstem
from analysis.atlas.gyri import gyri
from analysis.atlas.maps import Maps, template_maps
from analysis.atlas.pictures import page
from analysis.atlas.tracts import core, tracts
from analysis.atlas.white_matter import reference_white_matter

HERE = Path(__file__).parent
STEP_MM = 2.0
PADDING = 12  # voxels of STEP_MM around the template's field of view: room for skull and scalp
IMAGES = {"tracts": tracts, "cortex": gyri, "brainstem": brainstem, "white_matter": reference_white_matter}


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


def template_layers(maps: Maps) -> tuple[np.ndarray, np.ndarray]:
    """The layers of `analysis.atlas.template` as one uint8 array (x, y, z, layer), and their RAS affine."""
    t1, affine = maps.t1, maps.affine
    around = [(PADDING, PADDING)] * 3
    brain = np.pad(coarse(t1 / t1.max()), around)
    inside = np.pad(coarse(inside_of(t1)) > 0.5, around)
    maps = [np.pad(coarse(layer), around) for layer in (maps.grey, maps.white)]
    layers = np.stack([pseudo_head(brain, inside), brain, inside.astype(np.float32), *maps], axis=-1)
    corner = affine[:3, 3] - PADDING * STEP_MM * np.diag(affine)[:3]
    coarse_affine = affine @ np.diag([STEP_MM, STEP_MM, STEP_MM, 1.0])
    coarse_affine[:3, 3] = corner
    return np.clip(np.rint(layers * 255.0), 0, 255).astype(np.uint8), coarse_affine


def label_image(found: dict[tuple[str, str, str], np.ndarray]) -> np.ndarray:
    """Parts of one kind as an image of labels, 1 upwards in their order."""
    image = np.zeros(next(iter(found.values())).shape, np.uint8)
    for label, mask in enumerate(found.values(), start=1):
        image[mask] = label
    return image


def save(array: np.ndarray, affine: np.ndarray, name: str) -> None:
    nibabel.save(nibabel.Nifti1Image(array, affine), HERE / f"{name}.nii.gz")


def label_images(maps: Maps) -> tuple[dict[str, dict[tuple[str, str, str], np.ndarray]], list[tuple[str, int, str, str, str]]]:
    """The parts of every image, and the rows of labels.csv."""
    found = {image: parts_of(maps) for image, parts_of in IMAGES.items()}
    return found, [(image, label, *part) for image, parts in found.items() for label, part in enumerate(parts, start=1)]


def main() -> None:
    maps = template_maps()
    found, rows = label_images(maps)
    save(*template_layers(maps), "template")
    save(core(found["tracts"]), maps.affine, "core")
    for image, parts in found.items():
        save(label_image(parts), maps.affine, image)
    with (HERE / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(("image", "label", "structure", "side", "level"))
        writer.writerows(rows)
    page(maps, found).save(HERE / "pictures.webp", quality=80, method=6)


if __name__ == "__main__":
    main()

"""The packaged atlas: a template to register to, and the places of the structures on it.

Space: the symmetric MNI ICBM152 2009a anatomy, as LPS millimetres here (x = -MNI x, y = -MNI y, z = MNI z). `build.py` makes every
file in this folder from the template that nilearn ships and from published coordinates; `SOURCES.md` says what each part rests on.
"""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import as_file, files
from typing import NamedTuple

import nibabel
import numpy as np

from analysis.volume import Volume

LPS_FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
IMAGES = ("tracts", "cortex", "brainstem", "white_matter")
LAYERS = ("head", "brain", "inside", "grey", "white")


class Part(NamedTuple):
    """One label of the atlas: the image it is in, a structure, its side and its level where it has them."""

    image: str
    label: int
    structure: str
    side: str | None
    level: str | None


def _image(name: str) -> tuple[np.ndarray, np.ndarray]:
    with as_file(files(__name__) / name) as path:
        image = nibabel.load(path)
        return np.asarray(image.dataobj), LPS_FROM_RAS @ image.affine


@cache
def template() -> dict[str, Volume]:
    """The template at 2 mm by layer: `head` (a pseudo-head), `brain` (T1), each 0 to 1; `inside` (boolean, the brain with its CSF);
    `grey` and `white`, tissue fractions 0 to 1."""
    array, lps_from_index = _image("template.nii.gz")
    layers = {name: Volume(array[..., i].astype(np.float32) / 255.0, lps_from_index) for i, name in enumerate(LAYERS)}
    return layers | {"inside": layers["inside"].with_array(layers["inside"].array > 0.5)}


@cache
def parts() -> tuple[Part, ...]:
    """Every part, image by image, in the order of its labels."""
    text = (files(__name__) / "labels.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(Part(row["image"], int(row["label"]), row["structure"], row["side"] or None, row["level"] or None) for row in rows)


@cache
def labels(image: str) -> Volume:
    """The parts of one of IMAGES at 1 mm, uint8, 0 where there is none. Parts of one image do not overlap; images do."""
    if image not in IMAGES:
        raise KeyError(f"the atlas has no image {image}, only {', '.join(IMAGES)}")
    return Volume(*_image(f"{image}.nii.gz"))


@cache
def core() -> Volume:
    """How much of the middle of its tract a voxel is, at 1 mm: 0 to 1."""
    array, lps_from_index = _image("core.nii.gz")
    return Volume(array.astype(np.float32) / 255.0, lps_from_index)

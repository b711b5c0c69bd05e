"""The phantom: images of one head whose anatomy and findings are known, and the truth about them.

A pure function of its arguments: the same findings, severity and seed give the same arrays. It knows nothing of DICOM (node/phantom.py
writes it) and shares nothing with the markers but the names: its tracts and regions are made another way than the atlas.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis import phantom_truth
from analysis.phantom_findings import FINDINGS, fa_factors, plant, planted_sides
from analysis.phantom_head import healthy_head
from analysis.phantom_scan import SEQUENCES, scan, scan_diffusion
from analysis.phantom_shape import shape_of
from analysis.phantom_tracts import fibres_of
from analysis.volume import Image

__all__ = ["FINDINGS", "Phantom", "phantom"]


@dataclass(frozen=True, eq=False)
class Phantom:
    """`images` by role (t1, flair, swi, dwi); `truth`: what `truth.json` holds."""

    images: dict[str, Image]
    truth: dict[str, object]


def phantom(
    findings: tuple[str, ...] = (),
    severity: float = 0.5,
    seed: int = 0,
    *,
    roles: tuple[str, ...] = tuple(SEQUENCES),
    coarseness: float = 1.0,
    noise: float = 1.0,
) -> Phantom:
    """The phantom with these findings at a severity from 0 to 1; ValueError in a sentence where that is not possible.

    `coarseness` multiplies the voxel sizes, `noise` the noise (0 also leaves out the bias field): for tests.
    """
    if not 0 <= severity <= 1:
        raise ValueError(f"a severity of {severity:g} cannot be planted; give a number from 0 (healthy) to 1")
    if seed < 0:
        raise ValueError(f"{seed} is no seed; give a whole number from 0 upwards")
    sides, shape = planted_sides(findings), shape_of(seed)
    head, lesions = plant(healthy_head(), sides, severity, seed)
    fibres = fibres_of(head, fa_factors(sides, severity))
    images: dict[str, Image] = {}
    for role in roles:
        if role == "dwi":
            images[role] = scan_diffusion(head, fibres, shape, seed, coarseness, noise)
        else:
            images[role] = scan(head, shape, SEQUENCES[role], seed, coarseness, noise)
    truth = {
        "seed": seed,
        "severity": severity,
        "findings": [f"{name}:{side}" for name, its in sides.items() for side in its],
        "measurements": phantom_truth.measurements(head, fibres, shape, lesions, roles, noise),
        "findings_expected": phantom_truth.expected(sides, severity),
        "scale": round(shape.scale, 5),
        "voxel_mm": {role: [round(float(size), 4) for size in image_spacing(image)] for role, image in images.items()},
        "definitions": phantom_truth.DEFINITIONS,
    }
    return Phantom(images, truth)


def image_spacing(image: Image) -> tuple[float, float, float]:
    """Slice, row and column distance in mm."""
    columns = image.lps_from_index[:3, :3]
    return tuple((columns**2).sum(axis=0) ** 0.5)

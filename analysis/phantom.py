"""The phantom: images of one head whose anatomy and findings are known, and the truth about them.

A pure function of its arguments: the same findings, severity and seed give the same arrays. It knows nothing of DICOM (node/phantom.py
writes it) and shares nothing with the markers but the names: its tracts and regions are made another way than the atlas.

A neck is there only where it is asked for, by "neck" or by a finding of the neck among the findings: it hangs below the head's foramen
magnum in a series of its own, and the head and its series stay as they are without it. So are functional series, which are asked for by
"motor_activation", or with the side of the motor cortex that a hand of the other side makes work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis import phantom_truth
from analysis.phantom_bold import DEFINITIONS as FUNCTION_DEFINITIONS
from analysis.phantom_bold import FUNCTION_SERIES, Course, scan_bold
from analysis.phantom_bold import truth as function_truth
from analysis.phantom_cortex import lps_from_template
from analysis.phantom_findings import FINDINGS, fa_factors, plant, planted_sides
from analysis.phantom_focal import foci_of, pushes_of, with_foci
from analysis.phantom_head import healthy_head
from analysis.phantom_neck import DEFINITIONS, NECK_FINDINGS, Neck, neck_of
from analysis.phantom_neck_scan import NECK_SEQUENCES
from analysis.phantom_scan import CONTRAST, SEQUENCES, scan, scan_diffusion
from analysis.phantom_shape import shape_of
from analysis.phantom_tracts import fibres_of
from analysis.phantom_voxels import scan_spectra
from analysis.volume import Image

__all__ = ["FINDINGS", "NECK_FINDINGS", "Phantom", "phantom"]
NECK, SPECTRA, FUNCTION = "neck", "mrs", "motor_activation"
FORAMEN_TEMPLATE_MM = np.array([[0.0], [-46.0], [-64.0]])


@dataclass(frozen=True, eq=False)
class Phantom:
    """`images` by series (t1, flair, swi, dwi, mrs; with a mass t1_contrast, with a neck cord_t2 and cord_t2_sagittal;
    with motor_activation bold_task and bold_rest);
    `truth`: what `truth.json` holds."""

    images: dict[str, Image]
    truth: dict[str, object]


def phantom(
    findings: tuple[str, ...] = (),
    severity: float = 0.5,
    seed: int = 0,
    *,
    roles: tuple[str, ...] | None = None,
    coarseness: float = 1.0,
    noise: float = 1.0,
) -> Phantom:
    """The phantom with these findings at a severity from 0 to 1; ValueError in a sentence where that is not possible.

    `roles`: the series to make, without it all of the head, with contrast where a mass is planted, and of the neck where one is asked
    for; where only series of the neck are asked for there is no head. `coarseness` multiplies the voxel sizes, `noise` the noise (0 also
    leaves out the bias field): for tests.
    """
    if not 0 <= severity <= 1:
        raise ValueError(f"a severity of {severity:g} cannot be planted; give a number from 0 (healthy) to 1")
    if seed < 0:
        raise ValueError(f"{seed} is no seed; give a whole number from 0 upwards")
    of_function = tuple(finding for finding in findings if finding.partition(":")[0] == FUNCTION)
    findings = tuple(finding for finding in findings if finding not in of_function)
    of_neck = tuple(finding for finding in findings if finding.partition(":")[0] in (NECK, *NECK_FINDINGS))
    of_head = tuple(finding for finding in findings if finding not in of_neck)
    contrast = (CONTRAST.role,) if "mass" in planted_sides(of_head) else ()
    more = (*contrast, *(NECK_SEQUENCES if of_neck else ()), *(FUNCTION_SERIES if of_function else ()))
    series = (*SEQUENCES, SPECTRA, *more) if roles is None else roles
    images, truth = ({}, {}) if series and set(series) <= set(NECK_SEQUENCES) else _head(
        of_head, severity, seed, series, coarseness, noise, hand_of(of_function))
    if of_neck or set(series) & set(NECK_SEQUENCES):
        foramen = lps_from_template(shape_of(seed), FORAMEN_TEMPLATE_MM)[:, 0]
        neck = neck_of(tuple(one for one in of_neck if one != NECK), severity, seed, foramen)
        images |= {name: neck.scan(name, coarseness, noise) for name in series if name in NECK_SEQUENCES}
        truth = with_neck(truth, neck)
    if of_function:
        truth = {**truth, "findings": [*truth.get("findings", ()), *of_function]}
    voxel_mm = {name: [round(float(size), 4) for size in image_spacing(image)] for name, image in images.items() if name != SPECTRA}
    return Phantom(images, {"seed": seed, "severity": severity, **truth, "voxel_mm": voxel_mm})


def _head(
    findings: tuple[str, ...], severity: float, seed: int, roles: tuple[str, ...], coarseness: float, noise: float,
    moves: str,
) -> tuple[dict[str, Image], dict[str, object]]:
    sides = planted_sides(findings)
    functional, of_voxels = tuple(role for role in roles if role in FUNCTION_SERIES), SPECTRA in roles
    roles = tuple(role for role in roles if role in SEQUENCES or role == CONTRAST.role)
    foci = foci_of(sides, severity, seed)
    shape = shape_of(seed).pushed(pushes_of(foci, severity))
    head, lesions = plant(healthy_head(), sides, severity, seed)
    fibres = fibres_of(head, fa_factors(sides, severity))
    head = with_foci(head, foci)
    images: dict[str, Image] = {}
    for role in roles:
        if role == "dwi":
            images[role] = scan_diffusion(head, fibres, shape, seed, coarseness, noise)
        else:
            images[role] = scan(head, shape, CONTRAST if role == CONTRAST.role else SEQUENCES[role], seed, coarseness, noise)
    if of_voxels:
        images[SPECTRA] = scan_spectra(head, shape, sides, severity, seed, noise)
    course = Course(moves=moves, noise=noise)
    images |= {name: scan_bold(head, shape, name, seed, course, coarseness) for name in functional}
    measurements = {
        **phantom_truth.measurements(head, fibres, shape, lesions, roles, noise),
        "motor_cortex_spectroscopy": phantom_truth.of_spectra(sides, severity, seed, noise),
    }
    if functional:
        measurements["motor_activation"] = function_truth(head, shape, seed, course)
    return images, {
        "findings": [f"{name}:{side}" for name, its in sides.items() for side in its],
        "measurements": measurements,
        "foci": phantom_truth.foci(head, shape, foci),
        "findings_expected": phantom_truth.expected(sides, severity),
        "lesions": phantom_truth.lesions(lesions),
        "scale": round(shape.scale, 5),
        "definitions": {**phantom_truth.DEFINITIONS, **(FUNCTION_DEFINITIONS if functional else {})},
    }


def hand_of(findings: tuple[str, ...]) -> str:
    """The hand that moves, by the side of the motor cortex that works: the right one unless only the right side works; ValueError for
    another side."""
    sides = {finding.partition(":")[2] or "left" for finding in findings}
    if not sides <= {"left", "right"}:
        raise ValueError(f"{sorted(sides)!r} are no sides; write {FUNCTION}:left, {FUNCTION}:right, or {FUNCTION}")
    return "both" if len(sides) == 2 else "left" if sides == {"right"} else "right"


def with_neck(truth: dict[str, object], neck: Neck) -> dict[str, object]:
    """What is true of the head and of the neck; what only the neck has stands under "neck"."""
    its = neck.truth()
    return {
        **truth,
        "findings": [*truth.get("findings", ()), *(f"{name}:{place}" if place else name for name, place in neck.places.items())],
        "measurements": {**truth.get("measurements", {}), **its.pop("measurements")},
        "findings_expected": [*truth.get("findings_expected", ()), *its.pop("findings_expected")],
        "definitions": {**truth.get("definitions", {}), **DEFINITIONS},
        "neck": its,
    }


def image_spacing(image: Image) -> tuple[float, float, float]:
    """Slice, row and column distance in mm."""
    columns = image.lps_from_index[:3, :3]
    return tuple((columns**2).sum(axis=0) ** 0.5)

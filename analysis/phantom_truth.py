"""The true value of what the phantom carries, measured on the deformed anatomy at 1 mm without noise, never on the images.

Names, sides, levels and units are those of report.json. A measurement whose truth cannot be defined is not here. DEFINITIONS say in words
what each number is the truth of; a marker that measures something else may differ from it for that reason alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis import phantom_voxels
from analysis.phantom_cortex import lps_from_template, mean_thickness_mm
from analysis.phantom_findings import FINDINGS, SIDES, Lesion, on_sides
from analysis.phantom_focal import PREFIX, Focus
from analysis.phantom_head import SHAPE, Head, axes_mm
from analysis.phantom_lesions import SITES, Ovoid
from analysis.phantom_regions import BAND_LEVELS_MM, band, brainstem, motor_strip, sensory_strip
from analysis.phantom_scan import CONTRAST, SEQUENCES, contrast, look_up
from analysis.phantom_shape import Shape
from analysis.phantom_tracts import LEVELS_Z_MM, MOTOR_SEGMENT_Y_MM, SPLENIUM_Y_MM, Fibres

DEFINITIONS = {
    "intracranial_volume": "everything inside the inner skull surface, down to the foramen magnum",
    "brain_volume": "grey and white matter, from fractions; the other tissues likewise",
    "cst_fa": "mean over the voxels whose fibres are those of the tract, from their tensors; the other diffusivities likewise",
    "cst_fa_asymmetry": "100 (right - left) / mean of both, whole tract",
    "cst_volume": "of those voxels, between the lowest and the highest level",
    "control_fa": "mean over callosal fibres within 8 mm of the midline between y -42 and -27 of the template",
    "callosal_motor_fa": "mean over callosal fibres within 8 mm of the midline between y -17 and -4 of the template",
    "midbrain_volume": "grey and white matter of the brainstem between planes across it; pons and medulla likewise",
    "precentral_volume": "grey matter between the central and the precentral sulcus, from the cingulate gyrus to the lateral fissure",
    "precentral_thickness": "mean over the white surface of that gyrus of the way outwards to the fluid or, in a sulcus, to where another "
    "white surface is as near; of the 14 mm behind the central sulcus likewise (postcentral_thickness), and their ratio",
    "cst_flair_contrast": "noise-free FLAIR signal of the tract, median of the medians of sections of 3 mm, minus that of frontal and "
    "occipital white matter, over the robust standard deviation of deep white matter above z 0 at 3 mm, without lesions (noise-free: the "
    "texture alone)",
    "motor_band_contrast": "the share of its SWI signal that the grey matter facing the central sulcus from the front has lost, noise-free "
    "and without veins, between |x| 6, 20, 42 and 66 mm; its neighbours, and it without a band, lose none",
    "motor_band_score": "0, 1 where the true contrast is at least 0.12, 2 where it is at least 0.25",
    "snr": "mean noise-free signal of what lies 25 mm and more under the surface, in the upper 100 mm of the head, over the noise",
    "motion": "0: the phantom does not move",
    "lesion_count": "lesions that were planted, those that run together being one; their volume from fractions; by where they stand",
    "acute_infarct_volume": "of the infarcts that were planted, from fractions",
    "midline_shift": "how far the middle between the lateral ventricles lies in the patient, mean over x 0, y -20 to 20, z 5 to "
    "22 of the template, from the plane through its frontal and occipital edge (y 48 to 64 and -94 to -78, z 0 to 40); without a sign",
    **phantom_voxels.DEFINITIONS,
}
REACH_MM, STEP_MM = (90.0, 110.0, 100.0), 1.0
BAND_SCORES = (0.12, 0.25)
DIFFUSIVITY_UNIT = "10-3.mm2/s"
TRACT_PURITY = 0.5
DEEP_MM, UPPER_MM, LOOK_STEP = 25.0, 100.0, 4
SECTION_MM, SPREAD_FWHM_MM = 3.0, 3.0


@dataclass(frozen=True, eq=False)
class _Patient:
    """The anatomy on the patient's own grid of 1 mm: `points` (3, n) of the template under each of the voxels inside the skull."""

    head: Head
    points: np.ndarray

    def at(self, image: np.ndarray, where: np.ndarray | slice = slice(None)) -> np.ndarray:
        return look_up(image.astype(np.float32, copy=False), self.points[:, where])

    def ml(self, image: np.ndarray) -> float:
        return float(self.at(image).sum(dtype=np.float64)) * STEP_MM**3 / 1000


def patient_of(head: Head, shape: Shape) -> _Patient:
    """The inside of the skull on the patient's own grid."""
    return _Patient(head, _points(head.inside_skull, shape))


def _points(region: np.ndarray, shape: Shape) -> np.ndarray:
    """Template points (3, n) under the voxels of the patient's grid that lie in a region of the template."""
    inside = region.astype(np.float32)
    x, y, z = (np.arange(-reach, reach + STEP_MM, STEP_MM) for reach in REACH_MM)
    kept = []
    for level in z:
        plane = np.stack(np.meshgrid(x, y, [level], indexing="ij")).reshape(3, -1) + shape.middle_mm[:, None]
        template = shape.template_from_lps(plane)
        kept.append(template[:, look_up(inside, template) > 0.5])
    return np.concatenate(kept, axis=1)


def _entry(name: str, value: float, unit: str, side: str | None = None, level: str | None = None) -> dict[str, object]:
    return {"name": name, "side": side, "level": level, "value": round(float(value), 5), "unit": unit}


def measurements(
    head: Head, fibres: Fibres, shape: Shape, made: tuple[Lesion | Ovoid, ...],
    roles: tuple[str, ...] = tuple(SEQUENCES), noise: float = 1.0,
) -> dict[str, list[dict[str, object]]]:  # fmt: skip
    """Truth by marker; `made`: the lesions that were planted; `roles`: the series that were made, with `noise` times their own."""
    patient = patient_of(head, shape)
    return {
        "brain_volumes": _volumes(patient),
        "cst_diffusion": _tract(patient, fibres),
        "callosum_diffusion": _callosum(patient, fibres),
        "brainstem": _brainstem(head, shape),
        "precentral_gyrus": _precentral(patient, shape),
        "cst_flair": _flair(patient, fibres),
        "motor_band": _band(patient),
        "white_matter_lesions": _lesions(patient, made),
        "cervical_cord": [],  # below the head there are no vertebrae to count
        "infarct": [_entry("acute_infarct_volume", patient.ml(_layer(head, "acute_infarct")), "ml")],
        "mass": [_entry("midline_shift", midline_shift_mm(shape), "mm")],
        "image_quality": _quality(head, roles, noise),
    }


def _volumes(patient: _Patient) -> list[dict[str, object]]:
    csf, grey, white = (patient.ml(patient.head.tissue[name]) for name in ("csf", "grey", "white"))
    inside = patient.points.shape[1] * STEP_MM**3 / 1000
    values = {"intracranial": inside, "brain": grey + white, "grey_matter": grey, "white_matter": white, "csf": csf}
    return [_entry(f"{name}_volume", value, "ml") for name, value in values.items()]


def scalars(tensor: np.ndarray) -> dict[str, np.ndarray]:
    """fa, md, rd and ad of tensors (6, n)."""
    matrix = tensor[[0, 3, 4, 3, 1, 5, 4, 5, 2]].T.reshape(-1, 3, 3)
    value = np.linalg.eigvalsh(matrix.astype(np.float64))
    mean = value.mean(axis=1)
    fa = np.sqrt(1.5 * ((value - mean[:, None]) ** 2).sum(axis=1) / (value**2).sum(axis=1))
    return {"fa": fa, "md": mean, "rd": value[:, :2].mean(axis=1), "ad": value[:, 2]}


def _tract_voxels(patient: _Patient, region: np.ndarray) -> np.ndarray:
    return np.flatnonzero(patient.at(region) > TRACT_PURITY)


def _levels(points: np.ndarray) -> dict[str, np.ndarray]:
    z = points[2]
    levels = {name: (z >= low) & (z < high) for name, (low, high) in LEVELS_Z_MM.items()}
    return {**levels, "whole": np.logical_or.reduce(list(levels.values()))}


def _sides(points: np.ndarray) -> dict[str, np.ndarray]:
    return {"left": points[0] < 0, "right": points[0] > 0}


def _tract(patient: _Patient, fibres: Fibres) -> list[dict[str, object]]:
    voxels = _tract_voxels(patient, fibres.cst)
    points = patient.points[:, voxels]
    value = scalars(np.stack([patient.at(component, voxels) for component in fibres.tensor]))
    out, whole = [], {}
    for side, on_side in _sides(points).items():
        for level, at_level in _levels(points).items():
            for name, numbers in value.items():
                mean = numbers[on_side & at_level].mean()
                out.append(_entry(f"cst_{name}", mean, "1" if name == "fa" else DIFFUSIVITY_UNIT, side, level))
                whole[side, level, name] = mean
        out.append(_entry("cst_volume", float((on_side & at_level).sum()) * STEP_MM**3 / 1000, "ml", side, "whole"))
    left, right = (whole[side, "whole", "fa"] for side in SIDES)
    return [*out, _entry("cst_fa_asymmetry", 200 * (right - left) / (left + right), "%")]


def _callosum(patient: _Patient, fibres: Fibres) -> list[dict[str, object]]:
    voxels = _tract_voxels(patient, fibres.callosum)
    x, y, _ = patient.points[:, voxels]
    value = scalars(np.stack([patient.at(component, voxels) for component in fibres.tensor]))
    motor, splenium = ((np.abs(x) <= 8) & (y >= low) & (y <= high) for low, high in (MOTOR_SEGMENT_Y_MM, SPLENIUM_Y_MM))
    return [
        _entry("callosal_motor_fa", value["fa"][motor].mean(), "1"),
        _entry("callosal_motor_md", value["md"][motor].mean(), DIFFUSIVITY_UNIT),
        _entry("control_fa", value["fa"][splenium].mean(), "1"),
    ]


def _brainstem(head: Head, shape: Shape) -> list[dict[str, object]]:
    """The medulla reaches below the foramen magnum of the phantom, so the points are the brainstem's own."""
    from scipy import ndimage

    parts = brainstem()
    near = ndimage.binary_dilation(np.logical_or.reduce(list(parts.values())), iterations=2)
    patient = _Patient(head, _points(near, shape))
    solid = head.tissue["grey"] + head.tissue["white"]
    return [_entry(f"{name}_volume", patient.ml(solid * part), "ml") for name, part in parts.items()]


def _precentral(patient: _Patient, shape: Shape) -> list[dict[str, object]]:
    head, out = patient.head, []
    motor, sensory = motor_strip(head), sensory_strip(head)
    for side, on_side in _sides(patient.points).items():
        inside = np.flatnonzero(on_side & (patient.at(motor) > 0.5))
        here = on_sides((side,))
        precentral_mm, postcentral_mm = (mean_thickness_mm(head, shape, strip & here) for strip in (motor, sensory))
        out.append(_entry("precentral_volume", float(patient.at(head.tissue["grey"], inside).sum(dtype=np.float64)) / 1000, "ml", side))
        out.append(_entry("precentral_thickness", precentral_mm, "mm", side))
        out.append(_entry("postcentral_thickness", postcentral_mm, "mm", side))
        out.append(_entry("precentral_postcentral_ratio", precentral_mm / postcentral_mm, "1", side))
    return out


def _flair(patient: _Patient, fibres: Fibres) -> list[dict[str, object]]:
    image, white = contrast(patient.head, SEQUENCES["flair"]), patient.head.tissue["white"]
    white = white * (1 - patient.head.spots["lesion"]) if "lesion" in patient.head.spots else white
    reference, spread = _normal_white_matter(image, white, fibres.cst)
    voxels = _tract_voxels(patient, fibres.cst)
    points, signal = patient.points[:, voxels], patient.at(image, voxels)
    section = np.floor(points[2] / SECTION_MM)
    sides, levels, out = _sides(points), _levels(points), []
    for side in SIDES:
        for level in LEVELS_Z_MM:
            here = sides[side] & levels[level]
            medians = [np.median(signal[here & (section == k)]) for k in np.unique(section[here])]
            out.append(_entry("cst_flair_contrast", (np.median(medians) - reference) / spread, "1", side, level))
    return out


def _normal_white_matter(image: np.ndarray, white: np.ndarray, cst: np.ndarray) -> tuple[float, float]:
    """The level of frontal and occipital white matter (mean of both lobes' medians), and the spread of deep white matter at 3 mm."""
    from scipy import ndimage

    _, y, z = axes_mm()
    deep = (white > 0.95) & ~ndimage.binary_dilation(cst, iterations=4) & (z > 0)
    lobes = (deep & (z < 34) & (y > 20), deep & (z < 34) & (y < -62))
    weight = ndimage.gaussian_filter(np.where(white > 0.8, np.float32(1), np.float32(0)), SPREAD_FWHM_MM / 2.355)
    smooth = ndimage.gaussian_filter(np.where(white > 0.8, image, np.float32(0)), SPREAD_FWHM_MM / 2.355)
    values = smooth[deep] / weight[deep]
    spread = 1.4826 * np.median(np.abs(values - np.median(values)))
    return float(np.mean([np.median(image[lobe]) for lobe in lobes])), float(spread)


def _band(patient: _Patient) -> list[dict[str, object]]:
    """Against the same head without the band: what its neighbours would look like with the same share of grey matter in each voxel."""
    head = patient.head
    usual = replace(head, spots={name: spot for name, spot in head.spots.items() if name != "dark_band"})
    lost = patient.at(contrast(usual, SEQUENCES["swi"]) - contrast(head, SEQUENCES["swi"]))
    grey, bank = patient.at(head.tissue["grey"]) * SEQUENCES["swi"].intensity["grey"], patient.at(band(head)) > 0.5
    x, sides, out = np.abs(patient.points[0]), _sides(patient.points), []
    for level, (low, high) in BAND_LEVELS_MM.items():
        for side in SIDES:
            here = bank & sides[side] & (x > low) & (x <= high)
            loss = lost[here].sum() / grey[here].sum()
            out.append(_entry("motor_band_contrast", loss, "1", side, level))
            out.append(_entry("motor_band_score", sum(loss >= least for least in BAND_SCORES), "1", side, level))
    return out


def _lesions(patient: _Patient, made: tuple[Lesion | Ovoid, ...]) -> list[dict[str, object]]:
    """Count and volume, of all and by site."""
    spots = {site: patient.head.spots.get(f"lesion_{site}") for site in SITES}
    whole = [one for one in made if getattr(one, "is_whole", True)]
    out = [_entry("lesion_count", len(whole), "1"), _entry("lesion_volume", patient.ml(patient.head.spots["lesion"]) if made else 0, "ml")]
    out += [_entry("lesion_count", sum(one.site == site for one in whole), "1", level=site) for site in SITES]
    return out + [_entry("lesion_volume", 0 if image is None else patient.ml(image), "ml", level=site) for site, image in spots.items()]


def lesions(made: tuple[Lesion | Ovoid, ...]) -> list[dict[str, object]]:
    """Each lesion that was planted as an ellipsoid with a length: its site, its middle on the template (RAS), its size, mm."""
    return [
        {"site": one.site, "template_mm": [round(float(at), 1) for at in one.middle_mm], "length_mm": one.length_mm,
         "width_mm": one.width_mm, "dark_on_t1": one.is_dark, "on_tract": one.is_on_tract, "runs_into_the_one_before": not one.is_whole}
        for one in made if isinstance(one, Ovoid)
    ]  # fmt: skip


def foci(head: Head, shape: Shape, planted: tuple[Focus, ...]) -> list[dict[str, object]]:
    """Every infarct and mass: its kind, side, territory or lobe, middle in the patient (LPS mm), and the volumes of its layers, ml. Foci of
    one kind on both sides are told apart by the middle plane."""
    patient, said = patient_of(head, shape) if planted else None, []
    for one in planted:
        layers = {"chronic_infarct": ("cavity", "rim"), "mass": ("tumour", "edge", "oedema")}.get(one.kind, (one.kind,))
        volumes = {layer: round(patient.ml(_layer(head, layer) * on_sides((one.side,))), 4) for layer in layers}
        middle = lps_from_template(shape, np.array(one.middle_mm)[:, None])[:, 0]
        said.append({"kind": one.kind, "side": one.side, "territory": one.territory, "middle_lps_mm": [round(float(v), 2) for v in middle],
                     "volume_ml": volumes})  # fmt: skip
    return said


def _layer(head: Head, name: str) -> np.ndarray:
    return head.spots[PREFIX + name] if PREFIX + name in head.spots else np.zeros(SHAPE, np.float32)


def midline_shift_mm(shape: Shape) -> float:
    """By the places of template points in the patient; the plane is that of least squares."""
    ends, deep = (
        lps_from_template(shape, np.concatenate([_points_in_plane(*box) for box in boxes], axis=1))
        for boxes in (((48, 64, 0, 40), (-94, -78, 0, 40)), ((-20, 20, 5, 22),))
    )
    middle = ends.mean(axis=1, keepdims=True)
    normal = np.linalg.svd(ends - middle, full_matrices=False)[0][:, 2]
    return float(abs((normal @ (deep - middle)).mean()))


def _points_in_plane(back: int, front: int, low: int, high: int) -> np.ndarray:
    y, z = np.meshgrid(np.arange(back, front + 1.0, 2.0), np.arange(low, high + 1.0, 2.0))
    return np.stack([np.zeros(y.size), y.ravel(), z.ravel()])


def _quality(head: Head, roles: tuple[str, ...], noise: float) -> list[dict[str, object]]:
    """Looked at in every fourth voxel of the template. Without noise there is no ratio."""
    from scipy import ndimage

    every = (slice(None, None, LOOK_STEP),) * 3
    solid = sum(image[every] for image in head.tissue.values()) > 0.5
    depth_mm = ndimage.distance_transform_edt(np.pad(solid, 1, mode="edge"))[1:-1, 1:-1, 1:-1] * LOOK_STEP
    height_mm = np.arange(solid.shape[2]) * LOOK_STEP
    top_mm = height_mm[solid.any(axis=(0, 1))].max()
    deep = (depth_mm > DEEP_MM) & (height_mm > top_mm - UPPER_MM)
    out = [_entry("motion", 0.0, "mm" if role == "dwi" else "1", level=role) for role in roles]
    if noise:
        sequences = {**SEQUENCES, CONTRAST.role: CONTRAST}
        signal = {role: contrast(head, sequences[role])[every][deep].mean() for role in roles}
        out += [_entry("snr", signal[role] / (sequences[role].noise * noise), "1", level=role) for role in roles]
    return out


def of_spectra(sides: dict[str, tuple[str, ...]], severity: float, seed: int, noise: float = 1.0) -> list[dict[str, object]]:
    """The truth of the spectra; all have a short echo time."""
    return [_entry(name, value, unit, side, "short_te") for name, value, unit, side in phantom_voxels.truths(sides, severity, seed, noise)]


def expected(sides: dict[str, tuple[str, ...]], severity: float) -> list[dict[str, str | None]]:
    """Every finding that can be planted, by side, and what a mass shows, of the whole head: present where it was planted at a severity
    above 0. Shine-through is no finding: it is there to be told apart."""
    by_side = [(name, side, side in sides.get(name, ())) for name in (*FINDINGS, "acute_infarct", "chronic_infarct") for side in SIDES]
    whole = [(name, None, "mass" in sides) for name in ("mass_effect", "abnormal_enhancement")]
    return [
        {"name": name, "side": side, "value": "present" if severity > 0 and planted else "absent"}
        for name, side, planted in by_side + whole
    ]

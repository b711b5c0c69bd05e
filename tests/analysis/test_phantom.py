"""The phantom: its arguments decide it, its truth follows what was planted, its images show the anatomy where it is."""

from functools import cache

import numpy as np
import pytest

from analysis.phantom import FINDINGS, phantom
from analysis.phantom_findings import plant, planted_sides
from analysis.phantom_head import healthy_head
from analysis.phantom_scan import COUNTS, SEQUENCES, DiffusionModel, gradients, look_up
from analysis.phantom_shape import shape_of
from analysis.phantom_tracts import CST_LINE, CST_MD, LEVELS_Z_MM, eigenvalues, fibres_of, radial_for
from analysis.phantom_truth import scalars

COARSE = 2.0
MARKER_OF = {
    "cst_degeneration": ("cst_diffusion", "cst_fa", -1),
    "cst_hyperintensity": ("cst_flair", "cst_flair_contrast", +1),
    "motor_band_sign": ("motor_band", "motor_band_contrast", +1),
    "motor_cortex_atrophy": ("precentral_gyrus", "precentral_volume", -1),
    "brainstem_atrophy": ("brainstem", "pons_volume", -1),
    "white_matter_lesions": ("white_matter_lesions", "lesion_volume", +1),
    "ms_lesions": ("white_matter_lesions", "lesion_volume", +1),
    "vascular_lesions": ("white_matter_lesions", "lesion_volume", +1),
    "naa_loss": ("motor_cortex_spectroscopy", "naa_cr", -1),
}


@cache
def truth(findings: tuple[str, ...], severity: float) -> dict:
    return phantom(findings, severity, seed=3, roles=()).truth


@cache
def noise_free():
    return phantom(seed=3, roles=("t1", "dwi"), coarseness=COARSE, noise=0.0)


def values(made: dict, marker: str, name: str, side: str | None = None) -> list[float]:
    return [m["value"] for m in made["measurements"][marker] if m["name"] == name and side in (None, m["side"])]


def test_the_same_arguments_give_the_same_images_and_another_seed_another_head():
    first, again = (phantom(severity=0.0, seed=1, roles=("swi",), coarseness=4.0) for _ in range(2))
    assert np.array_equal(first.images["swi"].array, again.images["swi"].array)
    assert first.truth == again.truth
    assert first.truth["measurements"] != truth((), 0.0)["measurements"]
    assert not np.allclose(shape_of(1).affine, shape_of(3).affine)


@pytest.mark.parametrize("name", FINDINGS)
def test_the_truth_follows_the_severity_and_stays_on_its_side(name):
    marker, measurement, sign = MARKER_OF[name]
    none, all_of_it = truth((), 0.0), truth(FINDINGS, 1.0)
    half = truth(tuple(f"{other}:left" for other in FINDINGS), 0.5)
    healthy, middle, worst = (np.mean(values(made, marker, measurement)) for made in (none, half, all_of_it))
    assert sign * healthy < sign * middle < sign * worst
    if values(none, marker, measurement, "right"):
        left, right = (np.array(values(half, marker, measurement, side)) for side in ("left", "right"))
        before = np.array(values(none, marker, measurement, "right"))
        assert np.allclose(right, before, rtol=0.03, atol=0.02)
        assert (sign * (left - np.array(values(none, marker, measurement, "left"))) > 0).all()


def test_what_is_expected_says_every_finding_and_side():
    made = truth(tuple(f"{name}:left" for name in FINDINGS), 0.5)
    said = {(f["name"], f["side"]): f["value"] for f in made["findings_expected"]}
    planted = {(name, side): "present" if side == "left" else "absent" for name in FINDINGS for side in ("left", "right")}
    assert {key: said[key] for key in planted} == planted
    others = {(name, side) for name in ("acute_infarct", "chronic_infarct") for side in ("left", "right")}
    others |= {("mass_effect", None), ("abnormal_enhancement", None)}
    assert set(said) == set(planted) | others and {said[key] for key in others} == {"absent"}
    assert made["findings"] == [f"{name}:left" for name in FINDINGS]
    assert {f["value"] for f in truth((), 0.0)["findings_expected"]} == {"absent"}


def test_the_truth_is_plausible():
    made = truth((), 0.0)
    measured = {m["name"]: m["value"] for m in made["measurements"]["brain_volumes"]}
    assert 1200 < measured["intracranial_volume"] < 1900
    assert measured["brain_volume"] == pytest.approx(measured["grey_matter_volume"] + measured["white_matter_volume"], abs=0.01)
    assert {m["level"] for m in made["measurements"]["cst_diffusion"] if m["level"]} == {"whole", *LEVELS_Z_MM}
    assert all(2.0 < thickness < 3.5 for thickness in values(made, "precentral_gyrus", "precentral_thickness"))
    assert made["measurements"]["white_matter_lesions"][0]["value"] == 0


@pytest.mark.parametrize("asked", [("als",), ("cst_degeneration:up",)])
def test_what_cannot_be_planted_is_refused_in_a_sentence(asked):
    with pytest.raises(ValueError, match=asked[0]):
        planted_sides(asked)
    with pytest.raises(ValueError, match="severity"):
        phantom(severity=1.5)


def test_radial_diffusivity_rises_where_anisotropy_falls():
    axial, radial = eigenvalues(np.array([0.4, 0.55, 0.75]), 0.7)
    fa = (axial - radial) / np.sqrt(axial**2 + 2 * radial**2)
    assert fa == pytest.approx([0.4, 0.55, 0.75])
    assert radial_for(fa, axial) == pytest.approx(radial)
    assert (radial_for(0.7 * fa, axial) > radial).all()


def test_the_t1_shows_the_anatomy_where_the_geometry_says():
    volume, shape, head = noise_free().images["t1"], shape_of(3), healthy_head()
    index = np.stack(np.meshgrid(*(np.arange(4, n - 4, 5) for n in volume.array.shape), indexing="ij")).reshape(3, -1)
    lps = volume.lps_from_index[:3, :3] @ index + volume.lps_from_index[:3, 3:]
    template = shape.template_from_lps(lps)
    for tissue in ("white", "csf", "fat"):
        pure = look_up(head.tissue[tissue], template) > 0.999
        assert pure.sum() > 10
        assert np.abs(volume.array[tuple(index[:, pure])] / COUNTS - SEQUENCES["t1"].intensity[tissue]).max() < 0.01


def fitted(signals: np.ndarray, b_values: np.ndarray, b_vectors: np.ndarray) -> np.ndarray:
    """Tensors (6, n) by least squares on the logarithm of signals (volume, n)."""
    b, (x, y, z) = b_values / 1000, b_vectors.T
    design = np.stack([-b * x * x, -b * y * y, -b * z * z, -2 * b * x * y, -2 * b * x * z, -2 * b * y * z, np.ones_like(b)], axis=1)
    return (np.linalg.pinv(design) @ np.log(signals))[:6]


def test_a_tensor_fitted_to_noise_free_signals_is_the_planted_one():
    b_values, b_vectors = gradients(3)
    head, _ = plant(healthy_head(), {}, 0.0, 3)
    fibres = fibres_of(head, {"left": 0.7, "right": 1.0})
    model = DiffusionModel(head, fibres, SEQUENCES["dwi"].intensity, b_values, b_vectors)
    for side, sign, factor in (("left", -1, 0.7), ("right", 1, 1.0)):
        points = np.array([[sign * line[1], line[2], line[0]] for line in CST_LINE[6:12]], np.float32).T
        turns = np.broadcast_to(np.diag([-1.0, -1.0, 1.0]), (points.shape[1], 3, 3))
        found = scalars(fitted(model.signals(points, turns), b_values, b_vectors))
        assert found["fa"] == pytest.approx(factor * CST_LINE[6:12, 4], abs=0.02), side
        healthy_axial, healthy_radial = eigenvalues(CST_LINE[6:12, 4], CST_MD)
        assert found["ad"] == pytest.approx(healthy_axial, rel=0.03)
        assert (found["rd"] > healthy_radial * 1.1).all() == (factor < 1)


def test_the_images_show_the_fibres_of_the_patient_as_the_gradients_say():
    diffusion, shape = noise_free().images["dwi"], shape_of(3)
    fibres = fibres_of(healthy_head(), {"left": 1.0, "right": 1.0})
    index = np.stack(np.meshgrid(*(np.arange(n) for n in diffusion.array.shape[:3]), indexing="ij")).reshape(3, -1)
    lps = diffusion.lps_from_index[:3, :3] @ index + diffusion.lps_from_index[:3, 3:]
    template = shape.template_from_lps(lps)
    for region in (fibres.callosum, fibres.cst):
        pure = (look_up(region.astype(np.float32), template) > 0.99) & (np.abs(template[2] - 8) < 24)
        tensor = fitted(np.maximum(diffusion.array[tuple(index[:, pure])].T, 1.0), diffusion.b_values_s_mm2, diffusion.b_vectors_lps)
        seen, planted = main_direction(tensor), main_direction(np.stack([look_up(c, template[:, pure]) for c in fibres.tensor]))
        true = np.einsum("nji,nj->ni", shape.turns(lps[:, pure]), planted)
        assert len(seen) > 5
        assert np.median(np.abs((seen * true).sum(axis=1))) > 0.98


def main_direction(tensor: np.ndarray) -> np.ndarray:
    return np.linalg.eigh(tensor[[0, 3, 4, 3, 1, 5, 4, 5, 2]].T.reshape(-1, 3, 3))[1][:, :, 2]


def test_fibres_run_across_in_the_callosum_and_up_in_the_tract():
    fibres = fibres_of(healthy_head(), {"left": 1.0, "right": 1.0})
    for region, axis in ((fibres.callosum, 0), (fibres.cst, 2)):
        along = fibres.tensor[:3, region].mean(axis=1)
        assert along.argmax() == axis
        assert along[axis] > 1.5 * np.delete(along, axis).max()


def test_infarcts_and_a_mass_stand_in_the_truth_and_leave_other_heads_as_they_are():
    whole = phantom(("acute_infarct:left", "chronic_infarct:right", "mass:right"), 1.0, seed=3, roles=()).truth
    half = phantom(("acute_infarct:left", "mass:right"), 0.5, seed=3, roles=()).truth
    kinds = {one["kind"]: one for one in whole["foci"]}
    assert {(kind, one["side"]) for kind, one in kinds.items()} == {
        ("acute_infarct", "left"), ("chronic_infarct", "right"), ("mass", "right")
    }  # fmt: skip
    assert kinds["acute_infarct"]["middle_lps_mm"][0] > 5 and kinds["mass"]["middle_lps_mm"][0] < -5
    (full_ml,), (half_ml,), (none_ml,) = (values(made, "infarct", "acute_infarct_volume") for made in (whole, half, truth((), 0.0)))
    assert full_ml == pytest.approx(2 * half_ml, rel=0.1) and 7 < full_ml < 14 and none_ml == 0
    shifts = [values(made, "mass", "midline_shift")[0] for made in (truth((), 0.0), half, whole)]
    assert shifts[2] > shifts[1] + 1 and shifts[2] > shifts[0] + 2
    said = {(one["name"], one["side"]): one["value"] for one in whole["findings_expected"]}
    assert said["acute_infarct", "left"] == said["chronic_infarct", "right"] == said["mass_effect", None] == "present"
    assert said["acute_infarct", "right"] == said["cst_degeneration", "left"] == "absent"
    assert truth((), 0.0)["foci"] == []


def test_an_acute_infarct_is_bright_where_diffusion_is_low_and_shine_through_where_it_is_not():
    made = phantom(("acute_infarct:left", "shine_through:right"), 1.0, seed=3, roles=("dwi",), coarseness=COARSE, noise=0.0)
    image = made.images["dwi"]
    adc, bright = {}, {}
    for focus in made.truth["foci"]:
        at = np.linalg.solve(image.lps_from_index, [*focus["middle_lps_mm"], 1.0])[:3]
        signal = image.array[tuple(np.round(at).astype(int))]
        b_zero, weighted = signal[image.b_values_s_mm2 == 0].mean(), np.exp(np.log(signal[image.b_values_s_mm2 > 0]).mean())
        adc[focus["kind"]], bright[focus["kind"]] = np.log(b_zero / weighted), weighted / COUNTS
    assert adc["acute_infarct"] == pytest.approx(0.45, abs=0.05) and adc["shine_through"] == pytest.approx(1.0, abs=0.05)
    assert min(bright.values()) > 0.36 > 0.5 * np.exp(-0.76) * 1.3

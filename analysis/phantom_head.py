"""The phantom's head before it becomes a patient: tissue fractions on the MNI template.

The brain is the ICBM152 2009a symmetric template that nilearn carries (T1, grey and white matter, 1 mm). The template is an
average, so its sulci are grey: where its T1 falls into a valley, cerebrospinal fluid is put back. Skull, scalp, face and neck are
geometry (ellipsoids, shells at a distance from the brain), so that a field of view holds more than a brain; they are not anatomy.
Arrays here are (x, y, z) in RAS, 1 mm, with `ORIGIN_MM` at index 0. Fractions of all tissues sum to at most 1; the rest is air.

Template: Fonov et al. 2011, 10.1016/j.neuroimage.2010.07.033.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

SHAPE = (197, 245, 267)
ORIGIN_MM = np.array([-98.0, -134.0, -150.0])
TISSUES = ("csf", "grey", "white", "bone", "fat", "soft")
FORAMEN_MAGNUM_Z_MM = -62.0
CSF_SHELL_MM, BONE_SHELL_MM, SCALP_SHELL_MM = 2.0, 8.0, 13.5
T1_CSF, T1_GREY = 0.34, 0.60


@dataclass(frozen=True, eq=False)
class Head:
    """`tissue`: fraction by name, float32, shape SHAPE. `inside_skull`: boolean, what the inner skull surface encloses above the
    foramen magnum. `spots`: what findings have painted, by name, fraction 0…1."""

    tissue: dict[str, np.ndarray]
    inside_skull: np.ndarray
    spots: dict[str, np.ndarray] = field(default_factory=dict)


def axes_mm() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, y and z of every voxel as three broadcastable arrays."""
    x, y, z = (ORIGIN_MM[k] + np.arange(SHAPE[k], dtype=np.float32) for k in range(3))
    return x[:, None, None], y[None, :, None], z[None, None, :]


def _template(load) -> np.ndarray:
    image = load(resolution=1)
    array = np.zeros(SHAPE, np.float32)
    start = np.round(image.affine[:3, 3] - ORIGIN_MM).astype(int)
    data = image.get_fdata(dtype=np.float32)[:, :, : SHAPE[2] - start[2]]
    keep = data[:, : SHAPE[1] - start[1]]
    array[start[0] : start[0] + keep.shape[0], start[1] : start[1] + keep.shape[1], start[2] : start[2] + keep.shape[2]] = keep
    return array


def _brain_tissue(t1: np.ndarray, grey: np.ndarray, white: np.ndarray) -> dict[str, np.ndarray]:
    """Fractions inside the template's mask: fluid by its T1 and by the depth of its valleys, the rest shared by the two maps."""
    from scipy import ndimage

    mask = t1 > 0
    valley = ndimage.grey_closing(t1, size=7) - t1
    fluid = np.clip((T1_GREY - t1) / (T1_GREY - T1_CSF), 0, 1)
    fluid = np.maximum(fluid, np.clip((valley - 0.05) / 0.18, 0, 1) * (t1 < 0.68))
    fluid = fluid**2 / (fluid**2 + (1 - fluid) ** 2)
    share = white / np.maximum(white + grey, 1e-3)
    share = share**2 / (share**2 + (1 - share) ** 2)
    core = ndimage.gaussian_filter(_brainstem_core(t1).astype(np.float32), 1.5)
    share = np.maximum(share, 0.85 * core)
    return {"csf": fluid * mask, "grey": (1 - fluid) * (1 - share) * mask, "white": (1 - fluid) * share * mask}


def _brainstem_core(t1: np.ndarray) -> np.ndarray:
    """Where the template cannot tell grey from white because the brainstem is both: mostly white matter there."""
    x, y, z = axes_mm()
    return (t1 > 0.66) & (np.abs(x) < 19) & (z < -6) & (y < -5) & (y > -48 + 0.28 * (z + 30).clip(-40, 25))


def _ellipsoid(centre: tuple[float, float, float], radii: tuple[float, float, float]) -> np.ndarray:
    """Signed distance in about mm, negative inside."""
    x, y, z = axes_mm()
    radius = np.sqrt(((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2 + ((z - centre[2]) / radii[2]) ** 2)
    return (radius - 1) * np.float32(min(radii))


def _tube(centre_y_mm: float, radii: tuple[float, float], top_z_mm: float) -> np.ndarray:
    """Signed distance in about mm to an upright elliptic cylinder that goes down from `top_z_mm` and out of the field."""
    x, y, z = axes_mm()
    radius = np.sqrt((x / radii[0]) ** 2 + ((y - centre_y_mm) / radii[1]) ** 2)
    return np.maximum((radius - 1) * np.float32(min(radii)), z - top_z_mm)


def _distance_from(mask: np.ndarray) -> np.ndarray:
    """mm from the closed brain, negative inside; computed at 2 mm, so that shells are smooth and cheap."""
    from scipy import ndimage

    coarse = mask[::2, ::2, ::2]
    closed = ndimage.distance_transform_edt(~coarse) * 2 < 12
    closed = ndimage.distance_transform_edt(closed) * 2 > 12
    closed |= coarse
    signed = ndimage.distance_transform_edt(~closed) - ndimage.distance_transform_edt(closed)
    signed = ndimage.gaussian_filter(signed.astype(np.float32) * 2, 1.0)
    fine = ndimage.zoom(signed, [n / m for n, m in zip(mask.shape, signed.shape, strict=True)], order=1, grid_mode=True, mode="nearest")
    return fine


def _within(signed_mm: np.ndarray) -> np.ndarray:
    """Fraction of a 1 mm voxel on the inner side of a surface."""
    return np.clip(0.5 - signed_mm, 0, 1).astype(np.float32)


def _soft_union(*signed_mm: np.ndarray, blend_mm: float = 12.0) -> np.ndarray:
    """The union of bodies with rounded joints."""
    total = sum(np.exp(-np.clip(s, -60, 60) / np.float32(blend_mm)) for s in signed_mm)
    return -np.float32(blend_mm) * np.log(total)


def _outside_brain(brain_mm: np.ndarray) -> dict[str, np.ndarray]:
    """Bone, fat and soft tissue as if there were no brain: later ones lie over earlier ones."""
    _, _, z = axes_mm()
    face = _ellipsoid((0, 38, -66), (60, 58, 76))
    nose = _ellipsoid((0, 90, -62), (13, 14, 22))
    neck = _tube(-28, (58, 58), -45)
    skin = np.minimum(_soft_union(brain_mm - SCALP_SHELL_MM, face, neck, blend_mm=5.0), nose)
    body, under_skin = _within(skin), _within(skin + 4.5)
    scalp = _within(brain_mm - SCALP_SHELL_MM - 3) * (z > -45)
    soft = under_skin * (1 - 0.75 * scalp)
    skull = _within(brain_mm - BONE_SHELL_MM) * _within(-(z + 66) * np.ones_like(brain_mm))
    diploe = 0.45 * np.exp(-(((brain_mm - 5.0) / 1.3) ** 2)) * skull
    spine = np.maximum(_within(_tube(-26, (12, 10), -72)), _within(_tube(-46, (14, 14), -72)))
    sinus = np.maximum.reduce([_within(_ellipsoid((s * 24, 58, -66), (12, 13, 14))) for s in (-1, 1)])
    airway = np.maximum.reduce([sinus, _within(_ellipsoid((0, 62, -52), (9, 22, 16))), _within(_tube(8, (9, 7), -62))])
    eyes = np.maximum.reduce([_within(_ellipsoid((s * 33, 68, -38), (12, 12, 12))) for s in (-1, 1)])
    bone = np.maximum(skull, 0.6 * spine)
    clear = (1 - airway) * (1 - eyes)
    fat = body * (1 - soft) * (1 - bone) + bone * diploe
    return {"bone": bone * (1 - diploe) * clear, "fat": fat * clear, "soft": soft * (1 - bone) * clear, "csf": eyes}


@lru_cache(maxsize=1)
def healthy_head() -> Head:
    """The head before anything is planted. Cached: whoever changes it works on copies."""
    from nilearn import datasets

    t1, grey, white = (_template(getattr(datasets, f"load_mni152_{name}template")) for name in ("", "gm_", "wm_"))
    brain = _brain_tissue(t1, grey, white)
    mask = t1 > 0
    brain_mm = _distance_from(mask)
    cord, canal = _within(_tube(-46, (6.5, 4.5), -66)), _within(_tube(-46, (9, 8), -66))
    shell = _within(brain_mm - CSF_SHELL_MM)
    _, _, z = axes_mm()
    inside = (shell > 0.5) & (z > FORAMEN_MAGNUM_Z_MM) | mask & (z > FORAMEN_MAGNUM_Z_MM)
    room = np.maximum(np.maximum(shell, canal), mask)
    solid = np.maximum(brain["grey"] + brain["white"], cord)
    tissue = {name: value * (1 - room) for name, value in _outside_brain(brain_mm).items()}
    tissue["white"] = np.maximum(brain["white"], cord * (1 - brain["grey"]))
    tissue["grey"] = brain["grey"]
    tissue["csf"] = tissue["csf"] + room * np.clip(1 - solid, 0, 1)
    total = np.maximum(sum(tissue.values()), 1)
    return Head({name: (tissue[name] / total).astype(np.float32) for name in TISSUES}, inside)

"""Infarcts and a mass of the phantom: where they lie, how large they are, and how bright each sequence shows them.

    acute_infarct      12 ml without blood: bright on DWI with an ADC of 0.45, hardly seen on T1 and FLAIR
    shine_through       6 ml that hold much water: bright on DWI and FLAIR, with an ADC of 1.0
    chronic_infarct    10 ml of fluid in place of brain, with a bright rim of 3 mm on FLAIR
    mass               34 ml, dark on T1, bright on FLAIR, with oedema around it and a rim of 3 mm that takes up contrast; it pushes
                       what lies around it away, the midline by 5 to 6 mm

Severity is linear in the volume; of the mass in the push as well. The place follows from the seed, one of PLACES, so that infarcts lie in
one known territory. The push is a part of the shape of the head: everything that is looked up on the template moves with it. Truth is
measured as all truth is, on the deformed anatomy. The skull keeps its place. ADC in 10⁻³ mm²/s; values are plausible, not a norm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.phantom_head import ORIGIN_MM, SHAPE, Head

FOCAL_FINDINGS = ("acute_infarct", "shine_through", "chronic_infarct", "mass")
# ml at a severity of 1, in the patient before its size is taken; of the mass on the template, before it is spread by the push
VOLUME_ML = {"acute_infarct": 16.0, "shine_through": 8.0, "chronic_infarct": 13.5, "mass": 8.2}
RIM_MM, OEDEMA_MM = 3.0, 7.0
PUSH, PUSH_REACH_MM = 0.5, 34.0
SKULL_CENTRE_MM, SKULL_RADII_MM = np.array([0.0, -18.0, 8.0]), np.array([70.0, 90.0, 76.0])
# |x|, y, z of the template by territory: away from the corticospinal tract's own course where that is possible
PLACES = {
    "acute_infarct": (("mca", (42, 8, 22)), ("pca", (18, -84, 4)), ("aca", (12, 42, 34)), ("mca", (48, -38, 28))),
    "shine_through": (("mca", (34, 24, 20)), ("pca", (26, -70, 14))),
    "chronic_infarct": (("mca", (44, -42, 30)), ("pca", (20, -82, 8)), ("mca", (40, 28, 22))),
    "mass": (("frontal", (30, 18, 28)), ("parietal", (28, -18, 34)), ("temporal", (36, -14, 6))),
}
# brightness by sequence, as phantom_scan has it for tissues; DWI: without weighting, and the ADC
INTENSITY = {
    "t1": {"acute_infarct": 0.76, "shine_through": 0.72, "rim": 0.62, "oedema": 0.70, "tumour": 0.50, "edge": 0.50},
    "t1_contrast": {"acute_infarct": 0.76, "shine_through": 0.72, "rim": 0.62, "oedema": 0.70, "tumour": 0.50, "edge": 1.50},
    "flair": {"acute_infarct": 0.80, "shine_through": 1.00, "rim": 1.00, "oedema": 1.05, "tumour": 0.98, "edge": 0.98},
    "swi": {"oedema": 0.62, "tumour": 0.64, "edge": 0.60},
    "dwi": {"acute_infarct": 0.66, "shine_through": 1.10, "rim": 0.80, "oedema": 0.90, "tumour": 0.85, "edge": 0.80},
}  # fmt: skip
ADC = {"acute_infarct": 0.45, "shine_through": 1.0, "rim": 1.2, "oedema": 1.45, "tumour": 1.3, "edge": 1.1}
LAYERS = tuple(ADC)
PITUITARY_MM = (0, -2, -34)
PLEXUS_MM = (((-24, -36, 14), 3.5), ((24, -36, 14), 3.5), ((-16, -22, 16), 2.0), ((16, -22, 16), 2.0))
PREFIX = "focal_"


@dataclass(frozen=True)
class Focus:
    """What was planted: `kind` of FOCAL_FINDINGS, `side`, `territory`, `middle_mm` (RAS of the template) and `radius_mm` there."""

    kind: str
    side: str
    territory: str
    middle_mm: tuple[float, float, float]
    radius_mm: float


@dataclass(frozen=True)
class Push:
    """A mass spreads what lies around `middle_mm` (template RAS): `strength` is the share by which its middle grows."""

    middle_mm: tuple[float, float, float]
    strength: float

    def origin_of(self, points_mm: np.ndarray) -> np.ndarray:
        """Where points of the pushed template (3, n) were before, mm."""
        middle = np.array(self.middle_mm)[:, None]
        away = points_mm - middle
        reach = np.exp(-0.5 * (away**2).sum(axis=0) / PUSH_REACH_MM**2)
        out = (((points_mm - SKULL_CENTRE_MM[:, None]) / SKULL_RADII_MM[:, None]) ** 2).sum(axis=0)
        return points_mm - away * (self.strength * reach * np.clip((1 - out) / 0.6, 0, 1))


def foci_of(sides: dict[str, tuple[str, ...]], severity: float, seed: int) -> tuple[Focus, ...]:
    """The foci of a seed, one of a kind and side, in the order of FOCAL_FINDINGS; none at a severity of 0."""
    if not severity:
        return ()
    found = []
    for number, kind in enumerate(FOCAL_FINDINGS):
        territory, (across, y, z) = PLACES[kind][np.random.default_rng([seed, 9, number]).integers(len(PLACES[kind]))]
        radius_mm = float((VOLUME_ML[kind] * severity * 750.0 / np.pi) ** (1 / 3))
        for side in sides.get(kind, ()):
            found.append(Focus(kind, side, territory, (float(-across if side == "left" else across), float(y), float(z)), radius_mm))
    return tuple(found)


def pushes_of(foci: tuple[Focus, ...], severity: float) -> tuple[Push, ...]:
    return tuple(Push(focus.middle_mm, PUSH * severity) for focus in foci if focus.kind == "mass")


def with_foci(head: Head, foci: tuple[Focus, ...]) -> Head:
    """The head with its foci: a cavity becomes fluid, everything else a layer of its own, `focal_<layer>`, fraction 0 to 1. The same
    head where there are none."""
    for focus in foci:
        head = _with(head, focus)
    return head


def _with(head: Head, focus: Focus) -> Head:
    inner = _ball(focus, 0.0)
    if focus.kind == "chronic_infarct":
        solid = {name: head.tissue[name] * inner for name in ("grey", "white")}
        tissue = {**head.tissue, **{name: head.tissue[name] - part for name, part in solid.items()}}
        tissue["csf"] = tissue["csf"] + solid["grey"] + solid["white"]
        around = (_ball(focus, RIM_MM) - inner) * np.clip(tissue["grey"] + tissue["white"], 0, 1)
        cavity = solid["grey"] + solid["white"]
        return replace(head, tissue=tissue, spots=_painted(head.spots, {"rim": around, "cavity": cavity}))
    solid = np.clip(head.tissue["grey"] + head.tissue["white"], 0, 1)
    if focus.kind == "mass":
        core = _ball(focus, -0.55 * RIM_MM)  # the push makes it thicker
        oedema = (_ball(focus, OEDEMA_MM) - inner) * np.clip(2 * head.tissue["white"], 0, 1)
        return replace(head, spots=_painted(head.spots, {"oedema": oedema, "tumour": core, "edge": inner - core}))
    return replace(head, spots=_painted(head.spots, {focus.kind: inner * solid}))


def _ball(focus: Focus, more_mm: float) -> np.ndarray:
    """A ball around the focus with an edge of 1 mm: float32, shape SHAPE."""
    axes = (ORIGIN_MM[k] + np.arange(SHAPE[k], dtype=np.float32) - focus.middle_mm[k] for k in range(3))
    x, y, z = np.ix_(*axes)
    return np.clip(0.5 + focus.radius_mm + more_mm - np.sqrt(x * x + y * y + z * z), 0, 1).astype(np.float32)


def _painted(spots: dict[str, np.ndarray], layers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The spots with more of each layer."""
    new = {PREFIX + name: np.maximum(spots.get(PREFIX + name, np.float32(0)), layer) for name, layer in layers.items()}
    return {**spots, **new}


def show(image: np.ndarray, head: Head, role: str) -> np.ndarray:
    """The brightness of the template in a sequence, with what was planted in place of what it was."""
    for layer in LAYERS:
        if PREFIX + layer in head.spots and layer in INTENSITY.get(role, {}):
            image = image + head.spots[PREFIX + layer] * (np.float32(INTENSITY[role][layer]) - image)
    return image


def planted_layers(head: Head) -> dict[str, np.ndarray]:
    """The layers that change diffusion, by name."""
    return {layer: head.spots[PREFIX + layer] for layer in LAYERS if PREFIX + layer in head.spots}


def enhancing(head: Head) -> np.ndarray:
    """What takes up contrast in every head, 0 to 1: the sinus along the vault, the plexus of both ventricles, the pituitary gland."""
    from analysis.phantom_veins import sinus_share

    found = sinus_share(head)
    for middle, radius_mm in ((PITUITARY_MM, 4.0), *PLEXUS_MM):
        found = np.maximum(found, _ball(Focus("", "", "", middle, radius_mm), 0.0))
    return found

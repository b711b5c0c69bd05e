"""The phantom's neck: T2 images of a cervical cord whose course, area and findings are known, and the truth about them.

    cord_atrophy             the cord lost 25 % of its area at a severity of 1; the canal stays
    cord_compression         a protrusion of a disc (C5/C6 unless another is named) takes 40 % of the depth of the cord at a severity of 1
    cord_t2_hyperintensity   a bright spot in the cord: at the protrusion where there is one, else in C3, or where it is named

Severity is linear in these. A place follows a colon: `cord_compression:C4/C5`, `cord_t2_hyperintensity:C2`. A pure function of its
arguments. It hangs below the head of the same seed and shares nothing with the markers but the names. Every number of the truth is a
formula of the shape (phantom_neck_shape): none is measured on an image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis.phantom_neck_scan import NECK_SEQUENCES, CordLesion, neck_grid, scan_neck
from analysis.phantom_neck_shape import DISCS, LEVELS, STEP_MM, NeckShape, neck_shape
from analysis.volume import Volume

NECK_FINDINGS = ("cord_atrophy", "cord_compression", "cord_t2_hyperintensity")
PLACES = {"cord_atrophy": (), "cord_compression": DISCS[:6], "cord_t2_hyperintensity": (*DISCS[:6], *LEVELS[:7])}
AREA_LOSS, DEPTH_LOSS = 0.25, 0.40
USUAL_DISC, USUAL_LEVEL = "C5/C6", "C3"
LESION_RADII_MM, LESION_SIDE_MM, LESION_BACK_MM, LEAST_GAIN = (5.0, 1.7, 1.5), 2.2, 0.6, 0.3
REFERENCE_FROM_MM, REFERENCE_TO_MM = 10.0, 30.0  # above and below, Miyanji 2007, 10.1148/radiol.2433060583
FORAMEN_LPS = np.array([0.0, 28.0, -60.0])
DEFINITIONS = {
    "cord_area": "mean over the middle half of the level of the area perpendicular to the cord; the diameters likewise. C1 begins at the "
    "upper edge of the atlas, a level below C2 at the middle of the disc above it",
    "cord_compression_ratio": "100 (1 - depth of the cord / mean of its depth 10 to 30 mm above and below), at the place between C2/C3 and "
    "C7/T1 where it is largest; the level is the nearest disc",
}


@dataclass(frozen=True, eq=False)
class Neck:
    """`shape` holds everything that a true number needs."""

    shape: NeckShape
    lesions: tuple[CordLesion, ...]
    worn: tuple[str, ...]
    places: dict[str, str | None]
    severity: float
    seed: int

    def scan(self, series: str = "cord_t2", coarseness: float = 1.0, noise: float = 1.0, visit: int = 0) -> Volume:
        """One of NECK_SEQUENCES; `coarseness` multiplies the voxel sizes, `noise` the noise (0 also leaves out the bias field). Every
        `visit` has another grid, noise and bias field."""
        sequence = NECK_SEQUENCES[series]
        grid = neck_grid(sequence, self.shape, self.seed, coarseness, visit)
        return self.scan_on(*grid, thickness_mm=sequence.thickness_mm * coarseness, noise=sequence.noise * noise, visit=visit)

    def scan_on(
        self, count: tuple[int, int, int], lps_from_index: np.ndarray, thickness_mm: float | None = None, noise: float = 0.03,
        visit: int = 0,
    ) -> Volume:  # fmt: skip
        """T2 on any grid: `count` (slice, row, column); `noise` as a share of fluid."""
        return scan_neck(self.shape, self.lesions, self.worn, (count, lps_from_index), self.seed, thickness_mm, noise, visit)

    def truth(self) -> dict[str, object]:
        """Measurements by marker, the discs in the patient (LPS mm), and the cord at every mm."""
        section, s = self.shape.section, self.shape.s_mm
        every = slice(None, None, round(1 / STEP_MM))
        return {
            "measurements": {"cervical_cord": self._levels(), "cord_compression": self._compression()},
            "findings_expected": [
                {"name": name, "side": None, "value": "present" if name in self.places and self.severity > 0 else "absent"}
                for name in NECK_FINDINGS
            ],
            "places": self.places,
            "discs_lps_mm": {name: np.round(self.shape.point(at), 3).tolist() for name, at in self.shape.discs_mm.items()},
            "levels_s_mm": {name: [round(edge, 3) for edge in edges] for name, edges in self.shape.levels_mm.items()},
            "profile": {
                "s_mm": s[every].tolist(),
                "lps_mm": np.round(self.shape.at_lps[:, every].T, 3).tolist(),
                "area_mm2": np.round(section.area_mm2[every], 3).tolist(),
                "ap_mm": np.round((section.front + section.back)[every], 3).tolist(),
                "rl_mm": np.round(2 * section.width[every], 3).tolist(),
            },
            "lesion_volume_mm3": [round(self._volume_mm3(one), 2) for one in self.lesions],
        }

    def _levels(self) -> list[dict[str, object]]:
        section, s, out = self.shape.section, self.shape.s_mm, []
        kinds = (("cord_area", section.area_mm2, "mm2"), ("cord_ap_diameter", section.front + section.back, "mm"),
                 ("cord_rl_diameter", 2 * section.width, "mm"))  # fmt: skip
        for name, values, unit in kinds:
            for level in LEVELS[:7]:
                first, last = self.shape.levels_mm[level]
                quarter = (last - first) / 4
                out.append(_entry(name, values[(s >= first + quarter) & (s < last - quarter)].mean(), unit, level))
        return out

    def _compression(self) -> list[dict[str, object]]:
        at, ratio = self.worst()
        disc = min(self.shape.discs_mm, key=lambda name: abs(self.shape.discs_mm[name] - at))
        return [_entry("cord_compression_ratio", 100 * ratio, "%", disc)]

    def worst(self) -> tuple[float, float]:
        """Where (s, mm) the cord is flattest against its depth above and below, and the ratio there."""
        depth, s = self.shape.section.front + self.shape.section.back, self.shape.s_mm
        first, last = self.shape.discs_mm["C2/C3"], self.shape.discs_mm["C7/T1"]
        ratios = {}
        for k in np.flatnonzero((s >= first) & (s <= last)):
            far = s - s[k]
            above = depth[(far >= -REFERENCE_TO_MM) & (far <= -REFERENCE_FROM_MM)].mean()
            below = depth[(far >= REFERENCE_FROM_MM) & (far <= REFERENCE_TO_MM)].mean()
            ratios[float(s[k])] = 1 - depth[k] / ((above + below) / 2)
        at = max(ratios, key=ratios.__getitem__)
        return at, float(ratios[at])

    def _volume_mm3(self, lesion: CordLesion) -> float:
        """Of what lies in the cord, by summing over a grid of 0.1 mm in the coordinates of the neck."""
        ds, du, dv = (np.arange(-r, r, 0.1) + 0.05 for r in lesion.radii_mm)
        a, b, c = np.meshgrid(ds, du, dv, indexing="ij")
        ball = sum((x / r) ** 2 for x, r in zip((a, b, c), lesion.radii_mm, strict=True)) < 1
        at = lesion.middle_mm[0] + ds
        width, front, back = (self.shape.table(getattr(self.shape.section, name), at)[:, None, None] for name in ("width", "front", "back"))
        u, v = lesion.middle_mm[1] + b, lesion.middle_mm[2] + c
        return float((ball & ((u / width) ** 2 + (v / np.where(v < 0, front, back)) ** 2 < 1)).sum() * 1e-3)


def planted_places(findings: tuple[str, ...]) -> dict[str, str | None]:
    """Where each finding is planted, by name; ValueError in a sentence for a name or a place that does not exist."""
    places: dict[str, str | None] = {}
    for finding in findings:
        name, _, place = finding.partition(":")
        if name not in NECK_FINDINGS:
            raise ValueError(f"{name!r} is not a finding of the neck; choose among {', '.join(NECK_FINDINGS)}")
        if place and place not in PLACES[name]:
            known = f"write {name}:{PLACES[name][0]}, or another of {', '.join(PLACES[name])}" if PLACES[name] else f"write {name} alone"
            raise ValueError(f"{finding!r} names the place {place!r}; {known}")
        places[name] = place or None
    if "cord_compression" in places:
        places["cord_compression"] = places["cord_compression"] or USUAL_DISC
    if "cord_t2_hyperintensity" in places:
        places["cord_t2_hyperintensity"] = places["cord_t2_hyperintensity"] or places.get("cord_compression") or USUAL_LEVEL
    return places


def neck_of(findings: tuple[str, ...] = (), severity: float = 0.5, seed: int = 0, foramen_lps: np.ndarray = FORAMEN_LPS) -> Neck:
    """The neck with these findings at a severity from 0 to 1, below a foramen magnum at LPS mm."""
    if not 0 <= severity <= 1:
        raise ValueError(f"a severity of {severity:g} cannot be planted; give a number from 0 (healthy) to 1")
    places = planted_places(findings)
    disc = places.get("cord_compression")
    press = {disc: DEPTH_LOSS * severity} if disc and severity else {}
    shape = neck_shape(seed, foramen_lps, AREA_LOSS * severity * ("cord_atrophy" in places), press)
    lesion = _lesion(shape, places.get("cord_t2_hyperintensity"), severity, seed)
    return Neck(shape, lesion, tuple(press), places, severity, seed)


def _lesion(shape: NeckShape, place: str | None, severity: float, seed: int) -> tuple[CordLesion, ...]:
    if place is None or not severity:
        return ()
    middle = shape.discs_mm[place] if place in shape.discs_mm else float(np.mean(shape.levels_mm[place]))
    side = LESION_SIDE_MM * np.random.default_rng([seed, 10]).choice((-1, 1))
    return (CordLesion((middle, float(side), LESION_BACK_MM), LESION_RADII_MM, LEAST_GAIN + (1 - LEAST_GAIN) * severity, place),)


def _entry(name: str, value: float, unit: str, level: str) -> dict[str, object]:
    return {"name": name, "side": None, "level": level, "value": round(float(value), 5), "unit": unit}

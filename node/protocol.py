"""Which scanner a series comes from, and by which protocol: two texts, the same for series whose measurements may be compared.

The scanner is manufacturer, model and field strength; a digest of its serial number (else device UID, else station name) tells devices of
one model apart. Its software is not part of it. Nothing of the patient goes in. The protocol is the physics that moves a measurement: role,
dimension, kind of sequence, times, flip angle of a gradient echo, voxels, b-values and how many images have one. Scanners adapt times a
little to each patient, so they are rounded to two digits, voxels to 0.1 mm and b-values to 50 s/mm²; classic and enhanced headers give the
same text. Both texts are names: abbreviations of the trade and units, the same in every language.
What a header does not say is left out; without manufacturer and model there is no scanner, without times no protocol: the text is empty.
"""

from __future__ import annotations

import hashlib

from node.contrast import bounds, dimension_of
from node.physics import Physics
from node.spectra import SpectrumFacts
from node.stack import Stack
from node.study import Series

VENDORS = {
    "siemens": "Siemens", "ge": "GE", "general": "GE", "philips": "Philips", "toshiba": "Canon", "canon": "Canon", "hitachi": "Fujifilm",
    "fujifilm": "Fujifilm", "uih": "United Imaging", "united": "United Imaging",
}  # fmt: skip
FIELDS_T = (0.055, 0.2, 0.3, 0.35, 0.4, 0.55, 0.7, 1.0, 1.2, 1.5, 3.0, 4.7, 5.0, 7.0, 9.4, 10.5, 11.7)
FIELD_TOLERANCE = 0.05  # of the nominal field: a "3 T" magnet has 2.89 T
GAUSS_PER_T = 10_000.0
B_STEP_S_MM2 = 50.0
MOST_SHELLS = 6
DIGEST_DIGITS = 8


def scanner_of(series: Series, physics: Physics) -> str:
    """`Siemens Skyra, 3 T, #5f2c9a10`; empty where the header names neither manufacturer nor model."""
    maker, model = vendor_of(physics.manufacturer), _text(series, "ManufacturerModelName")
    if not (maker or model):
        return ""
    device = next((text for word in ("DeviceSerialNumber", "DeviceUID", "StationName") if (text := _text(series, word))), "")
    digest = hashlib.sha256(f"{maker}|{model}|{device}".casefold().encode()).hexdigest()[:DIGEST_DIGITS]
    parts = [f"{maker} {model}".strip(), field_words(physics.field_t), f"#{digest}" if device else ""]
    return ", ".join(part for part in parts if part)


def vendor_of(manufacturer: str) -> str:
    """A manufacturer as one name: the texts in headers change with the software."""
    words = manufacturer.replace("_", " ").split()
    return VENDORS.get(words[0].casefold(), " ".join(words)) if words else ""


def field_words(field_t: float | None) -> str:
    """The nominal field strength; empty where it is not stated."""
    if field_t is None:
        return ""
    known_t = field_t / GAUSS_PER_T if field_t > 100 else field_t
    nominal_t = min(FIELDS_T, key=lambda one: abs(one - known_t))
    return f"{nominal_t if abs(nominal_t - known_t) <= FIELD_TOLERANCE * nominal_t else known_t:.2g} T"


def protocol_of(role: str, physics: Physics, stack: Stack) -> str:
    """`t1: 3D GRE IR, TR 2300 ms, TE 3 ms, TI 900 ms, 9°, 1.0 × 1.0 × 1.0 mm`; the step of the slices first."""
    if physics.is_silent:
        return ""
    flip = f"{physics.flip_deg:.0f}°" if physics.is_gradient_echo and physics.flip_deg and not physics.is_echo_planar else ""
    voxels = " × ".join(f"{size:.1f}" for size in stack.voxel_mm) + " mm"
    parts = [_kind(physics, stack), *_times(physics), flip, _weighting(physics, stack) if role == "dwi" else "", voxels]
    return f"{role}: " + ", ".join(part for part in parts if part)


def protocol_of_spectrum(facts: SpectrumFacts) -> str:
    """`mrs: PRESS, TR 2000 ms, TE 30 ms, 20 × 20 × 20 mm`; a T2 weighting moves a ratio, so echo times that differ are two protocols."""
    if not facts.echo_time_ms:
        return ""
    times = (("TR", _words(facts.repetition_time_ms)), ("TE", _words(facts.echo_time_ms)))
    voxel = " × ".join(f"{size:.0f}" for size in sorted(facts.edges_mm)) + " mm" if facts.edges_mm else ""
    parts = [facts.sequence, *(f"{name} {value} ms" for name, value in times if value), voxel]
    return "mrs: " + ", ".join(part for part in parts if part)


def _kind(physics: Physics, stack: Stack) -> str:
    if physics.is_echo_planar and dimension_of(physics, stack) == "2D":
        return "2D EPI"
    is_gradient, is_spin = bool(physics.is_gradient_echo), bool(physics.is_spin_echo)
    echo = "" if is_gradient == is_spin else "GRE" if is_gradient else "SE"
    inversion = "IR" if physics.is_inversion or physics.ti_ms else ""
    return " ".join(part for part in (dimension_of(physics, stack), echo, inversion) if part)


def _times(physics: Physics) -> list[str]:
    echoes = sorted({_rounded(echo) for echo in physics.echo_times_ms})
    shown = f"{echoes[0]:g}–{echoes[-1]:g} ({len(echoes)})" if len(echoes) > 1 else f"{echoes[0]:g}" if echoes else ""
    times = (("TR", _words(physics.tr_ms)), ("TE", shown), ("TI", _words(physics.ti_ms)))
    return [f"{name} {value} ms" for name, value in times if value]


def _words(time_ms: float | None) -> str:
    return f"{_rounded(time_ms):g}" if time_ms else ""


def _rounded(time_ms: float) -> float:
    """Two significant digits."""
    return float(f"{time_ms:.1e}")


def _weighting(physics: Physics, stack: Stack) -> str:
    """The shells in s/mm², and how many weighted images there are of a slice; what the scanner computed from them does not count."""
    gradients = [frame.gradient for frame in physics.frames if not frame.is_derived] or list(physics.gradients)
    weighted = [one for one in gradients if (one.b_value_s_mm2 or 0) >= bounds()["dwi"]["b_least"]]
    shells = sorted({B_STEP_S_MM2 * round(one.b_value_s_mm2 / B_STEP_S_MM2) for one in weighted})
    shown = " ".join(f"{shell:.0f}" for shell in shells) if len(shells) <= MOST_SHELLS else f"{shells[0]:.0f}–{shells[-1]:.0f}"
    return f"b {shown} s/mm² ({round(len(weighted) * stack.images_per_slice / max(len(gradients), 1))})"


def _text(series: Series, keyword: str) -> str:
    return " ".join(str(series.header.get(keyword) or "").split())

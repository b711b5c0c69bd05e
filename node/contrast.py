"""The contrast of a series from its physics: which role its times, angles and weightings allow, in words, wherever it was taken.

Region, contrast agent and wholeness come later, in `node.roles`. The bounds stand in config/series.toml. A description breaks a tie
that the physics leaves open, and then the words say so.
"""

from __future__ import annotations

import functools
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.words import joined, say
from node.physics import Physics
from node.stack import Stack

BOUNDS_FILE = Path(__file__).resolve().parent.parent / "config" / "series.toml"


@dataclass(frozen=True)
class Contrast:
    """A role that the physics allows, in words, and what weakens it. `is_b_zero`: diffusion images, none of them weighted."""

    role: str
    why: str
    problems: tuple[str, ...] = ()
    is_b_zero: bool = False


@functools.cache
def bounds() -> Mapping[str, Mapping[str, Any]]:
    return tomllib.loads(BOUNDS_FILE.read_text(encoding="utf-8"))


def contrast_of(physics: Physics, stack: Stack) -> Contrast:
    """The contrast of a magnitude image in space; `other` with the reason where no role fits."""
    return _diffusion(physics) or _moving(physics, stack) or _still(physics, stack)


def _diffusion(physics: Physics) -> Contrast | None:
    weighted = [gradient for gradient in physics.gradients if (gradient.b_value_s_mm2 or 0) >= bounds()["dwi"]["b_least"]]
    if not weighted:
        return None  # Philips writes b = 0 into every image
    values = sorted({round(float(gradient.b_value_s_mm2 or 0), -1) for gradient in physics.gradients if gradient.b_value_s_mm2 is not None})
    directed = [gradient.b_vector_lps for gradient in weighted if gradient.b_vector_lps is not None]
    directions = len({tuple(np.round(vector * np.sign(vector[np.argmax(np.abs(vector))]), 2).tolist()) for vector in directed})
    if "TRACEW" in physics.tokens or all(gradient.is_trace for gradient in weighted):
        trace = say("trace-weighted diffusion, b {values} s/mm²: computed by the scanner, without directions", values=_listed(values))
        if min(values) >= bounds()["dwi"]["b_least"]:
            return Contrast("other", trace)
        return Contrast("dwi", trace, (say("without directions there is no tensor: only infarcts are looked for"),))
    problems = ()
    if directed and directions < bounds()["dwi"]["directions_for_tensor"]:
        few = say("only {directions} directions of diffusion: a tensor needs at least six", directions=directions)
        problems = (few if directions > 1 else say("only 1 direction of diffusion: a tensor needs at least six"),)
    known = say("{directions} directions", directions=directions) if directed else say("directions not in the standard's tags")
    computed = sum(gradient.is_trace or gradient.b_vector_lps is None for gradient in weighted) if directed else 0
    if computed:
        left_out = say("{computed} images that the scanner computed from them are left out", computed=computed)
        known = joined([known, left_out], "; ")
    return Contrast("dwi", say("diffusion, b {values} s/mm², {known}", values=_listed(values), known=known), problems)


def _moving(physics: Physics, stack: Stack) -> Contrast | None:
    """Series of many images per slice: functional, or dynamic."""
    per_slice = stack.images_per_slice // max(len(physics.echo_times_ms) * len(physics.components), 1)
    rule = bounds()["bold"]
    if per_slice < rule["images_least"]:
        return None
    if physics.has_agent:
        return Contrast("other", say(
            "{per_slice} images per slice with a contrast agent: perfusion or a dynamic series",
            per_slice=per_slice,
        ))
    echo = physics.te_ms or 0
    if physics.is_echo_planar and physics.is_spin_echo is not True and rule["te_shortest"] <= echo <= rule["te_longest"]:
        return Contrast("bold", say(
            "gradient-echo echo-planar time series, {per_slice} images, {times}",
            per_slice=per_slice, times=_times(physics),
        ))
    return Contrast("other", say("a time series of {per_slice} images, but no gradient-echo echo-planar one", per_slice=per_slice))


def _still(physics: Physics, stack: Stack) -> Contrast:
    if physics.is_silent:
        return _named(physics, stack)
    if physics.is_echo_planar and dimension_of(physics, stack) == "2D":
        # Siemens' echo-planar diffusion states neither echo; Philips writes b = 0 into gradient echoes as well
        if not physics.is_gradient_echo and all(gradient.b_value_s_mm2 == 0 for gradient in physics.gradients):
            return Contrast("other", say("diffusion images with b = 0 only: for the correction of distortion"), is_b_zero=True)
        return Contrast("other", say("a single echo-planar image, {times}: a reference of a time series", times=_times(physics)))
    if physics.is_spin_echo and not physics.is_gradient_echo:
        return _spin_echo(physics, stack)
    if physics.is_gradient_echo:
        return _gradient_echo(physics, stack)
    if physics.tr_ms and physics.te_ms:  # "RM", "IR" alone: the times must do
        return _spin_echo(physics, stack) if physics.te_ms > bounds()["t2"]["te_shortest"] else _short_echo(physics, stack)
    return Contrast("other", say(
        "the sequence is not stated well enough ({times}) to know the contrast", times=_times(physics) or say("no times")
    ))


def _short_echo(physics: Physics, stack: Stack) -> Contrast:
    is_quick = (physics.flip_deg or 90) <= 45
    return _gradient_echo(physics, stack) if is_quick else _spin_echo(physics, stack)


def _spin_echo(physics: Physics, stack: Stack) -> Contrast:
    flair, t1, t2, stir = (bounds()[name] for name in ("flair", "t1", "t2", "stir"))
    tr, te, ti = physics.tr_ms or 0, physics.te_ms or 0, physics.ti_ms
    words = say("{dimension} spin echo", dimension=dimension_of(physics, stack))
    is_long = tr >= flair["tr_shortest"] and te >= flair["te_shortest"]
    if ti is not None and (physics.is_inversion or is_long or ti > stir["inversion_longest"]):
        words, at = say("{words} with inversion", words=words), _times(physics)
        if is_long and flair["inversion_shortest"] <= ti <= flair["inversion_longest"]:
            return Contrast("flair", say("{words}, {at}: fluid is nulled", words=words, at=at))
        if ti <= stir["inversion_longest"]:
            return Contrast("other", say("{words}, {at}: fat is nulled (STIR)", words=words, at=at))
        if te <= t1["spin_te_longest"] and ti <= t1["inversion_longest"] and tr <= t1["t1_flair_tr_longest"]:
            return Contrast("t1", joined([words, at]))
        return Contrast("other", say("{words}, {at}: neither FLAIR nor T1", words=words, at=at))
    if ti is None and physics.is_inversion:
        return _inversion_unknown(physics, words, is_long)
    if (tr >= t2["tr_shortest"] and te >= t2["te_shortest"]) or (tr >= t2["late_tr_shortest"] and te >= t2["late_te_shortest"]):
        return Contrast("t2", joined([words, _times(physics)]))
    if 0 < tr <= t1["spin_tr_longest"] and te <= t1["spin_te_longest"]:
        return Contrast("t1", joined([words, _times(physics)]))
    return Contrast("other", say("{words}, {times}: neither T1 nor T2 (proton density or mixed)", words=words, times=_times(physics)))


def _inversion_unknown(physics: Physics, words: str, is_long: bool) -> Contrast:
    """An inversion whose time is not stated: fluid or fat may be nulled. This is a tie, and a description may break it."""
    said = say("{words} with inversion, {times}, inversion time not stated", words=words, times=_times(physics))
    if is_long and speaks_of("flair", physics) and not speaks_of("stir", physics):
        why = say("{said}; taken as FLAIR because the description says so", said=said)
        return Contrast("flair", why, (say("the inversion time is not in the header"),))
    return Contrast("other", say("{said}: the contrast is open", said=said))


def _gradient_echo(physics: Physics, stack: Stack) -> Contrast:
    t1, t2star = bounds()["t1"], bounds()["t2star"]
    dimension, tr, te = dimension_of(physics, stack), physics.tr_ms or 0, physics.te_ms or 0
    words = say("{dimension} gradient echo", dimension=dimension)
    if physics.is_balanced:
        return Contrast("other", say("{words}, balanced steady state, {times}", words=words, times=_times(physics)))
    if dimension == "3D" and te <= t1["prepared_te_longest"]:
        prepared = _prepared(physics, words)
        if prepared:
            return prepared
    if len(physics.echo_times_ms) <= 2 and _is_field_map(physics, stack):
        echoes = joined([say("{echo_ms:.1f}", echo_ms=echo) for echo in physics.echo_times_ms], " and ")
        return Contrast("other", say(
            "{words}, TE {echoes} ms, {plane_mm:.1f} mm in the plane: a field map",
            words=words, echoes=echoes, plane_mm=max(stack.voxel_mm[1:]),
        ))
    if t2star["te_shortest"] <= te <= t2star["te_longest"]:
        is_weighted = "SWI" in physics.tokens or (dimension == "3D" and len(physics.echo_times_ms) == 1)
        return Contrast("swi" if is_weighted else "t2star", say(
            "{words}, {times}: weighted by susceptibility",
            words=words, times=_times(physics),
        ))
    return _spoiled(physics, words, dimension, tr, te)


def _prepared(physics: Physics, words: str) -> Contrast | None:
    """Magnetisation prepared by an inversion; None where nothing says that it was."""
    t1, ti = bounds()["t1"], physics.ti_ms
    if ti is not None and ti > t1["inversion_longest"]:
        return Contrast("other", say("{words} with inversion, {times}: too late for T1", words=words, times=_times(physics)))
    if physics.is_inversion or (ti is not None and ti >= t1["inversion_shortest"]):
        return Contrast("t1", say("{words} with inversion, {times}", words=words, times=_times(physics)))
    if physics.is_prepared:
        return Contrast("t1", say("{words} with preparation, {times}", words=words, times=_times(physics)))
    if (physics.tr_ms or 0) >= t1["cycle_shortest"] and (physics.flip_deg or 90) <= t1["cycle_flip_longest"]:
        said = say("{words}, {times}, flip angle {flip:.0f}°", words=words, times=_times(physics), flip=physics.flip_deg)
        return Contrast("t1", say("{said}: the repetition time is that of an inversion cycle", said=said))
    return None


def _is_field_map(physics: Physics, stack: Stack) -> bool:
    rule, echoes = bounds()["t2star"], physics.echo_times_ms
    is_pair = len(echoes) == 2 and echoes[1] - echoes[0] <= rule["field_map_echo_step_longest"]
    return is_pair and max(stack.voxel_mm[1:]) >= rule["field_map_voxel_least"]


def _spoiled(physics: Physics, words: str, dimension: str, tr: float, te: float) -> Contrast:
    """Spoiled gradient echo without inversion: T1 where the flip angle lies well above the Ernst angle of white matter."""
    t1 = bounds()["t1"]
    flip = physics.flip_deg
    if not tr or flip is None or te > t1["gradient_te_longest"]:
        return Contrast("other", say("{words}, {times}: no contrast that is measured", words=words, times=_times(physics)))
    ernst_deg = math.degrees(math.acos(math.exp(-tr / t1["white_matter_t1"])))
    fits_2d = dimension == "2D" and tr <= t1["gradient_2d_tr_longest"] and flip >= t1["gradient_2d_flip_least"]
    fits_3d = dimension == "3D" and tr <= t1["gradient_tr_longest"] and flip >= t1["flip_over_ernst_least"] * ernst_deg
    said = say("{words}, {times}, flip angle {flip:.0f}°", words=words, times=_times(physics), flip=flip)
    if (fits_2d or fits_3d) and speaks_of("angiography", physics):
        return Contrast("other", say(
            "{said}; T1 and inflow look alike here: taken as angiography because the description says so",
            said=said,
        ))
    if fits_2d or fits_3d:
        return Contrast("t1", said)
    is_between = dimension == "3D" and tr <= t1["gradient_tr_longest"] and flip >= t1["flip_over_ernst_open"] * ernst_deg
    if is_between and speaks_of("t1", physics) and not speaks_of("angiography", physics):
        why = say(
            "{said}, between proton density and T1, an inversion is not stated; taken as T1 because the description says so",
            said=said,
        )
        warning = say("the header does not say whether an inversion came first: the role rests on the name, so check it")
        return Contrast("t1", why, (warning,))
    return Contrast("other", say(
        "{said}: not weighted by T1 (white matter needs more than {ernst_deg:.0f}°)",
        said=said, ernst_deg=ernst_deg,
    ))


def _named(physics: Physics, stack: Stack) -> Contrast:
    """No times in the header at all: only the name is left, and the reader is told."""
    said = [role for role in ("flair", "t1", "t2") if speaks_of(role, physics)]
    if len(said) != 1:
        return Contrast("other", say("no TR, TE or TI in the header, and no description that names one contrast"))
    why = say("no TR, TE or TI in the header; taken as {name} because the description says so", name=said[0].upper())
    sizes = [say("{size_mm:.1f}", size_mm=size) for size in stack.voxel_mm]
    warning = say("the header does not say how this series was made: its role rests on its name, so check it")
    sized = say("{why}, {count} slices of {sizes} mm", why=why, count=stack.slices, sizes=joined(sizes, " × "))
    return Contrast(said[0], sized, (warning,))


def speaks_of(name: str, physics: Physics) -> bool:
    words = re.sub(r"[^a-z0-9]+", " ", physics.description.lower()).split()
    said = f" {' '.join(words)} "
    return any(f" {word} " in said for word in bounds()["words"][name])


def dimension_of(physics: Physics, stack: Stack) -> str:
    """As stated; else thin slices mean 3D."""
    is_3d = physics.is_3d if physics.is_3d is not None else stack.voxel_mm[0] <= 2.0
    return "3D" if is_3d else "2D"


def _times(physics: Physics) -> str:
    echoes = [say("{echo_ms:.3g}", echo_ms=echo) for echo in physics.echo_times_ms]
    more = ["…"] if len(echoes) > 3 else []
    parts = [
        say("TR {ms:.0f} ms", ms=physics.tr_ms) if physics.tr_ms else None,
        say("TE {echoes} ms", echoes=joined([*echoes[:3], *more], "/")) if echoes else None,
        say("TI {ms:.0f} ms", ms=physics.ti_ms) if physics.ti_ms else None,
    ]
    return joined(part for part in parts if part)


def _listed(values: Sequence[float]) -> str:
    shown = [f"{value:.0f}" for value in values]
    return joined([joined(shown[:-1]), shown[-1]], " and ") if len(shown) > 1 else shown[0]

"""What each series is for: its role, decided from the physics in its header, with the reason in words.

A description never decides. It may break a tie that the physics leaves open, and then `why` says so and a problem warns the reader.
Every series gets exactly one decision: what is not recognised, not whole or not MR is `other` or not usable, with a sentence.
The bounds stand in config/series.toml.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from pydicom import uid

from analysis.examination import ROLES
from analysis.words import Name, joined, say
from node import spectrum_csa
from node.contrast import Contrast, bounds, contrast_of, speaks_of
from node.errors import StudyError
from node.frames import has_trace_and_b_zero, why_no_frames
from node.physics import Physics, physics_of
from node.protocol import protocol_of, protocol_of_spectrum, scanner_of
from node.spectra import facts_of
from node.stack import Stack, stack_of, stack_of_mosaic
from node.study import Series

NOT_ANALYSED = {
    uid.RawDataStorage: say("raw data: stored, never analysed"),
    uid.SecondaryCaptureImageStorage: say("secondary capture: stored, never analysed"),
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage: say("secondary capture: stored, never analysed"),
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage: say("secondary capture: stored, never analysed"),
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage: say("secondary capture: stored, never analysed"),
    uid.MultiFrameSingleBitSecondaryCaptureImageStorage: say("secondary capture: stored, never analysed"),
    uid.EnhancedMRColorImageStorage: say("a colour image: a map, not a measurement"),
}
MR_IMAGES = (uid.MRImageStorage, uid.EnhancedMRImageStorage, uid.LegacyConvertedEnhancedMRImageStorage)
PROTON = ("", "1H", "H1", "H", "PROTON", "HYDROGEN")
PROJECTIONS = frozenset({"MIP", "MNIP", "MINIP", "MIN_IP", "MAX_IP", "PROJECTION IMAGE"})
MAPS = frozenset(
    {"ADC", "EADC", "EXP", "EXPONENTIAL", "FA", "COLFA", "TENSOR", "B0", "B1", "B0 MAP", "B1 MAP", "FIELD_MAP", "QSM", "QUANT", "T_TEST"}
    | {"T1 MAP", "T1_MAP", "T2 MAP", "T2_MAP", "T2_STAR MAP", "T2STAR MAP", "R2 MAP", "R2_STAR MAP"}
    | {"TTP", "MTT", "CBF", "CBV", "RCBF", "RCBV", "CDG"}
)


@dataclass(frozen=True, eq=False)
class Decision:
    """`role` is one of `analysis.examination.ROLES`; `problems` are sentences; `usable` is False where nothing may be measured on it.
    `is_b_zero`: diffusion images, none of them weighted: they may tell the distortion of those that are. `scanner` and `protocol` are the
    texts of `node.protocol`."""

    series: Series
    role: str
    why: str
    problems: tuple[str, ...] = ()
    usable: bool = True
    merit: tuple[float, ...] = ()
    is_b_zero: bool = False
    scanner: str = ""
    protocol: str = ""


def decide(series: Series) -> Decision:
    """The role of one series. Never raises on what a scanner may send: a header that contradicts itself is `other`, with the reason."""
    try:
        return _decide(series)
    except StudyError as error:
        return Decision(series, "other", error.reason, usable=False)
    except Exception as error:  # a value is decoded when it is asked for, and pydicom raises many kinds on a damaged one
        why = say("its headers could not be understood ({error})", error=type(error).__name__)
        return Decision(series, "other", why, (say("{why}: the series was not used", why=why),), usable=False)


def _decide(series: Series) -> Decision:
    sop_class = str(series.header.get("SOPClassUID"))
    modality = str(series.header.get("Modality") or say("an unnamed modality"))
    if sop_class in (uid.MRSpectroscopyStorage, spectrum_csa.CSA_NON_IMAGE):
        return _spectrum(series)
    if sop_class in NOT_ANALYSED:
        return Decision(series, "other", NOT_ANALYSED[uid.UID(sop_class)], usable=False)
    if sop_class not in MR_IMAGES or modality != "MR":
        why = say("{modality}, {kind}: no MR image", modality=modality, kind=uid.UID(sop_class).name)
        return Decision(series, "other", why, usable=False)
    physics = physics_of(series)
    stack = _stack(series, physics)
    if isinstance(stack, str):
        return Decision(series, "other", stack, usable=False)
    reason = _why_no_source_image(physics, stack)
    if reason:
        return Decision(series, "other", reason, usable=False)
    decision = _weigh(series, physics, stack, _placed(contrast_of(physics, stack), physics, stack))
    return replace(decision, scanner=scanner_of(series, physics), protocol=protocol_of(decision.role, physics, stack))


def _spectrum(series: Series) -> Decision:
    """A spectrum of hydrogen in one voxel can be used; every other object of these classes says what it is."""
    header = series.header
    if spectrum_csa.is_csa(header) and not spectrum_csa.is_spectrum(header):
        return Decision(series, "other", say("a private object of Siemens without a spectrum"), usable=False)
    physics = physics_of(series)
    facts = facts_of(series, physics)
    if facts.nucleus not in PROTON:
        return Decision(series, "other", say("a spectrum of {nucleus}, not of hydrogen", nucleus=facts.nucleus), usable=False)
    echo = say("TE {ms:.0f} ms", ms=facts.echo_time_ms) if facts.echo_time_ms else ""
    hydrogen = say("MR spectroscopy of hydrogen")
    why = joined([part for part in (hydrogen, Name(facts.sequence), echo, facts.kind) if part])
    unfit = facts.why_unfit
    return Decision(series, "mrs", why, (unfit,) if unfit else (), not unfit, (1.0,), scanner=scanner_of(series, physics),
                    protocol=protocol_of_spectrum(facts))  # fmt: skip


def _stack(series: Series, physics: Physics) -> Stack | str:
    """The geometry, or why there is none."""
    shown = [frame for frame in physics.frames if not frame.is_derived] or list(physics.frames)
    if shown:
        return stack_of(shown, bounds()["geometry"]["spacing_tolerance"], bounds()["geometry"]["spacing_tolerance_mm"])
    mosaic = stack_of_mosaic(series.header, physics.mosaic, len(series.instances)) if physics.mosaic else None
    return mosaic or say("an MR image without a place in the patient: {reason}", reason=why_no_frames(series))


def _why_no_source_image(physics: Physics, stack: Stack) -> str | None:
    """Why the series is no image to measure on, whatever its contrast: a survey, a projection, a map, a phase image, another nucleus."""
    if physics.nucleus not in PROTON:
        return say("an image of {nucleus}, not of hydrogen", nucleus=physics.nucleus)
    if "LOCALIZER" in physics.tokens or stack.orientations > 1:
        many = say("a localizer: {count} orientations", count=stack.orientations)
        return many if stack.orientations > 1 else say("a localizer, says ImageType")
    if physics.tokens & PROJECTIONS:
        return say("a projection of other images (minimum or maximum intensity)")
    if physics.tokens & MAPS:
        return say("a map that the scanner computed ({kinds})", kinds=joined(sorted(physics.tokens & MAPS)))
    if "magnitude" not in physics.components:
        return say("a {components} image, no magnitude", components=joined(sorted(physics.components), " and "))
    if physics.frames and all(frame.is_derived for frame in physics.frames) and not has_trace_and_b_zero(physics.frames):
        return say("derived diffusion images (trace or map) without the images they were computed from")
    if physics.is_angiography:
        return say("an angiography: flow, not tissue")
    if physics.is_labelled:
        return say("perfusion by spin labelling")
    return None


def _placed(contrast: Contrast, physics: Physics, stack: Stack) -> Contrast:
    """Head, cervical cord or elsewhere: from BodyPartExamined and the field of view."""
    if contrast.role == "other":
        return contrast
    region, words = _region(physics, stack)
    if region == "head":
        return contrast if not words else replace(contrast, why=joined([contrast.why, words], "; "))
    if region == "cord" and contrast.role in ("t2", "t2star", "swi"):
        role = "cord_t2" if contrast.role == "t2" else "cord_t2star"
        return replace(contrast, role=role, why=joined([contrast.why, words], "; "))
    return replace(contrast, role="other", why=say("{why}; {words}: no part that is measured", why=contrast.why, words=words))


def _region(physics: Physics, stack: Stack) -> tuple[str, str]:
    body, rule = bounds()["body"], bounds()["geometry"]
    part = physics.body_part
    shows_head = stack.width_mm >= rule["head_width"]
    is_slab = stack.plane == "sagittal" and stack.extent_mm[0] <= rule["cord_width_longest"]
    is_narrow = is_slab and stack.height_mm >= rule["cord_height_least"]
    is_small = stack.plane == "axial" and max(stack.extent_mm[1:]) <= rule["cord_axial_field_longest"]
    if part in body["other"]:
        return "elsewhere", say("the body part is {part}", part=part.lower())
    if part in body["part_of_head"] and not shows_head:
        return "elsewhere", say("the body part is {part}, and the field of view holds no whole head", part=part.lower())
    if part in (*body["cord"], *body["part_of_head"]):
        if shows_head:
            return "head", say("the body part says {part}, but the field of view holds a head", part=part.lower())
        return "cord", say("cervical: the body part is {part}", part=part.lower())
    if part in body["head"]:
        # The body part is often left over from the examination before: a narrow or small field and the name together outweigh it.
        if (is_narrow or is_small) and speaks_of("cord", physics):
            why = say(
                "cervical: a {plane} field of {width_mm:.0f} mm and the description say so",
                plane=stack.plane, width_mm=stack.width_mm,
            )
            return "cord", say("{why}, though the body part says {part}", why=why, part=part.lower())
        return "head", ""
    if is_narrow and not shows_head:
        return "cord", say(
            "cervical, by its geometry: sagittal, {width_mm:.0f} mm wide and {height_mm:.0f} mm high; no body part is stated",
            width_mm=stack.extent_mm[0], height_mm=stack.height_mm,
        )  # fmt: skip
    return "head", ""


def _weigh(series: Series, physics: Physics, stack: Stack, contrast: Contrast) -> Decision:
    """Agent, resolution, wholeness; and the merit by which one series per role is chosen."""
    role, why, problems = contrast.role, contrast.why, [*contrast.problems]
    rule = bounds()["geometry"]
    if role == "other":
        return Decision(series, role, why, tuple(problems), usable=False, is_b_zero=contrast.is_b_zero)
    speaks_of_agent = speaks_of("contrast", physics)
    if role == "t1":
        role = "t1_contrast" if physics.has_agent else "t1"
    if role in ("t1", "t1_contrast"):
        agent = say("contrast enhanced") if physics.has_agent else say("not contrast enhanced")
        why = joined([why, _resolution(stack), agent])
        if speaks_of_agent and not physics.has_agent:
            problems.append(say("the description may speak of a contrast agent, the header names none"))
    else:
        why = joined([why, _resolution(stack)])
    faults = list(stack.faults)
    if stack.slices < rule["slices_least"]:
        faults.append(say("only {count} slices", count=stack.slices) if stack.slices > 1 else say("only 1 slice"))
    is_partial = not role.startswith("cord") and stack.width_mm < rule["head_extent_least"]
    if is_partial:
        problems.append(say(
            "only a part of the head: {width_mm:.0f} mm in the {plane} direction or in the plane",
            width_mm=stack.width_mm, plane=stack.plane,
        ))
    if role == "bold" and "MOCO" in physics.tokens:
        faults.append(say("a copy that the scanner corrected for motion: the series it was made from tells how much the head moved"))
    is_reformatted = bool({"MPR", "REFORMATTED", "MPR_STD"} & physics.tokens)
    if is_reformatted:
        problems.append(say("reformatted by the scanner from other images"))
    merit = (
        float(not is_partial),
        float(not is_reformatted and not physics.is_silent),
        float(not (role == "t1" and speaks_of_agent)),
        *_merit_of_role(role, physics, stack),
        -round(max(stack.voxel_mm), 1),
        -math.prod(stack.voxel_mm),
        math.prod(stack.extent_mm),
    )
    assert role in ROLES
    return Decision(series, role, why, (*faults, *problems), usable=not faults, merit=merit)


def _merit_of_role(role: str, physics: Physics, stack: Stack) -> tuple[float, ...]:
    if role == "dwi":
        return (float(len(physics.gradients)) / max(stack.slices, 1),)
    if role == "bold":
        return (float(stack.images_per_slice),)
    if role == "swi":
        return (float("SWI" in physics.tokens),)
    return ()


def choose(decisions: Sequence[Decision]) -> dict[str, Series]:
    """The best usable series of each role but `other`: the whole head before a part, the source before a reformat, then resolution."""
    chosen: dict[str, Decision] = {}
    for decision in decisions:
        if decision.usable and decision.role != "other" and (decision.role not in chosen or decision.merit > chosen[decision.role].merit):
            chosen[decision.role] = decision
    return {role: decision.series for role, decision in chosen.items()}


def with_choice(decisions: Sequence[Decision], chosen: Mapping[str, Series]) -> tuple[Decision, ...]:
    """The decisions again; those that could have been used and were not say so."""

    def told(decision: Decision) -> Decision:
        if not decision.usable or chosen.get(decision.role) in (None, decision.series):
            return decision
        number = chosen[decision.role].header.get("SeriesNumber")
        better = say("series {number}", number=number) if number not in (None, "") else say("another series")
        unused = say("not used: {better} serves as {role}", better=better, role=decision.role)
        return replace(decision, problems=(*decision.problems, unused))

    return tuple(told(decision) for decision in decisions)


def _resolution(stack: Stack) -> str:
    through, rows, columns = stack.voxel_mm
    if max(stack.voxel_mm) - min(stack.voxel_mm) < 0.05:
        return say("{through:.1f} mm", through=through)
    return say(
        "{plane} {rows:.1f} × {columns:.1f} mm, slices every {through:.1f} mm",
        plane=stack.plane, rows=rows, columns=columns, through=through,
    )

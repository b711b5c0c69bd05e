"""One sentence per marker: what it measured and found, or why not. For the reader who wants that marker in a line."""

from __future__ import annotations

from analysis.outcome import FAILED, MEASURED, Finding, Measurement, Outcome
from analysis.words import Name, Words, joined, say

TITLES = {
    "brain_volumes": say("Brain volumes"),
    "brainstem": say("Brainstem"),
    "cervical_cord": say("Cervical cord"),
    "cord_compression": say("Compression of the cervical cord"),
    "image_quality": say("Image quality"),
    "precentral_gyrus": say("Motor cortex"),
    "cst_diffusion": say("Diffusion of the corticospinal tract"),
    "callosum_diffusion": say("Diffusion of the callosum"),
    "cst_flair": say("Corticospinal tract on FLAIR"),
    "motor_band": say("Motor band sign"),
    "white_matter_lesions": say("Lesions of the white matter"),
    "motor_cortex_spectroscopy": say("Metabolites of the motor cortex"),
    "infarct": say("Infarct"),
    "mass": say("Signs of a mass"),
    "motor_activation": say("Function of the motor cortex"),
}
SERIES_NAMES = {
    "t1": say("T1"), "t1_contrast": say("T1 with contrast"), "flair": say("FLAIR"), "t2": say("T2"), "swi": say("SWI"),
    "t2star": say("T2*"), "dwi": say("DWI"), "bold": say("BOLD"), "mrs": say("MRS"), "cord_t2": say("T2 of the cord"),
    "cord_t2star": say("T2* of the cord"),
}  # fmt: skip
SIDES = {"left": say("left"), "right": say("right")}
VERDICTS = {"present": say("present"), "absent": say("absent"), "indeterminate": say("indeterminate"), "not assessed": say("not assessed")}
PARTS = {"midbrain_volume": say("midbrain"), "pons_volume": say("pons"), "medulla_volume": say("medulla")}
LEVELS = {
    "whole": say("whole tract"), "subcortical": say("under the cortex"), "corona_radiata": say("corona radiata"),
    "plic": say("internal capsule"), "peduncle": say("cerebral peduncle"), "pons": say("pons"),
    "periventricular": say("periventricular"), "juxtacortical": say("juxtacortical"), "infratentorial": say("infratentorial"),
    "deep": say("deep"), "short_te": say("short echo time"), "long_te": say("long echo time"),
    "rest": say("rest"), "task": say("task"), "task_left_hand": say("task, left hand"), "task_right_hand": say("task, right hand"),
    "task_both_hands": say("task, both hands"), "run": say("functional run"),
}  # fmt: skip


def level_of(level: str) -> Words | str:
    """A level as a sentence says it; runs of one kind are numbered."""
    kind, _, number = level.rpartition("_")
    if number.isdigit() and kind in LEVELS:
        return say("{level} ({number})", level=LEVELS[kind], number=int(number))
    return LEVELS.get(level, level.replace("_", " "))


def title_of(marker: str) -> str:
    """A marker's name as a person writes it."""
    return TITLES.get(marker, marker.replace("_", " ").capitalize())


def sentence_of(outcome: Outcome) -> Words:
    """What a marker says, with its title in front; it ends with a full stop."""
    title = title_of(outcome.marker)
    if outcome.outcome == FAILED:
        return say("{title}: failed, {reason}.", title=title, reason=outcome.reason)
    if outcome.outcome != MEASURED:
        return say("{title}: not measurable, {reason}.", title=title, reason=outcome.reason)
    return say("{title}: {said}.", title=title, said=result_of(outcome))


def result_of(outcome: Outcome) -> Words:
    """What a marker that was measured says, without its title and without a full stop."""
    return SENTENCES.get(outcome.marker, _any)(outcome)


def _any(outcome: Outcome) -> Words:
    return say("{count} measurements", count=len(outcome.measurements))


def _volumes(outcome: Outcome) -> Words:
    value = {m.name: m for m in outcome.measurements}
    brain = _millilitres(value["brain_volume"])
    if "intracranial_volume" not in value:
        said = [say("brain {brain}", brain=brain)]
        if outcome.gaps:
            said.append(say("intracranial volume and CSF: {reason}", reason=outcome.gaps[0].reason))
        return joined(said, "; ")
    whole = value["intracranial_volume"]
    share = 100 * value["brain_volume"].value / whole.value
    return say("brain {brain}, {share:.0f} % of the intracranial volume of {whole}", brain=brain, share=share, whole=_millilitres(whole))


def _millilitres(measurement: Measurement) -> Words:
    if measurement.uncertainty is None:
        return say("{value:.0f} ml", value=measurement.value)
    return say("{value:.0f} ± {error:.0f} ml", value=measurement.value, error=measurement.uncertainty)


def _brainstem(outcome: Outcome) -> Words:
    known = outcome.measurements
    parts = [say("{part} {value:.1f} ± {error:.1f} ml", part=PARTS[one.name], value=one.value, error=one.uncertainty) for one in known]
    parts += [say("{part}: {reason}", part=PARTS[gap.name], reason=gap.reason) for gap in outcome.gaps]
    (atrophy,) = outcome.findings
    return say("{parts}; atrophy: {verdict}", parts=joined(parts), verdict=_verdict(atrophy))


def _cord(outcome: Outcome) -> Words:
    areas = [one for one in outcome.measurements if one.name == "cord_area"]
    shown = [one for one in areas if one.level in ("C2", "C3")] or areas[:2]
    parts = [say("area at {level} {value:.0f} ± {error:.0f} mm²", level=Name(one.level), value=one.value, error=one.uncertainty)
             for one in shown]  # fmt: skip
    span = say("measured from {first} to {last}", first=Name(areas[0].level), last=Name(areas[-1].level))
    return say("{parts}; {span}; atrophy: {verdict}", parts=joined(parts), span=span, verdict=_verdict(outcome.findings[0]))


def _compression(outcome: Outcome) -> Words:
    (ratio,), (flat, bright) = outcome.measurements, outcome.findings
    said = say("flattest at {disc}: {value:.0f} ± {error:.0f} % less deep than above and below", disc=Name(ratio.level), value=ratio.value,
               error=ratio.uncertainty)  # fmt: skip
    if bright.level and bright.value == "present":
        return say("{said}; compression: {flat}; signal in the cord: {bright}, at {level}", said=said, flat=_verdict(flat),
                   bright=_verdict(bright), level=Name(bright.level))  # fmt: skip
    return say("{said}; compression: {flat}; signal in the cord: {bright}", said=said, flat=_verdict(flat), bright=_verdict(bright))


def _verdict(finding: Finding) -> Words:
    verdict = VERDICTS[finding.value]
    return say("{verdict} ({reason})", verdict=verdict, reason=finding.reason) if finding.reason else verdict


def _by_side(findings: tuple[Finding, ...]) -> Words:
    """The verdicts of both sides; once where they are the same."""
    if len({(finding.value, finding.reason) for finding in findings}) == 1:
        return _verdict(findings[0])
    return joined((say("{side} {verdict}", side=SIDES[one.side], verdict=_verdict(one)) for one in findings if one.side), "; ")


def _diffusion(outcome: Outcome) -> Words:
    fa = {(m.side, m.level): m for m in outcome.measurements if m.name == "cst_fa"}
    whole = ("left", "whole") in fa or ("right", "whole") in fa
    values = joined(say("{side} {value:.3f}", side=SIDES[side], value=fa[side, level].value)
                    for side in SIDES for level in ("whole" if whole else "plic",) if (side, level) in fa)  # fmt: skip
    if not values:
        first = say("anisotropy at {count} places", count=len(fa))
    elif whole:
        first = say("anisotropy, mean of the tract: {values}", values=values)
    else:
        first = say("anisotropy, internal capsule: {values}", values=values)
    missing = sorted({gap.level for gap in outcome.gaps if gap.level not in (None, "whole")})
    parts = [first, *_asymmetry(outcome)]
    if missing:
        parts.append(say("not measured: {levels}", levels=joined(LEVELS.get(level, level) for level in missing)))
    if any(finding.value != "not assessed" for finding in outcome.findings):
        parts.append(say("degeneration: {verdict}", verdict=_by_side(outcome.findings)))
    return joined(parts, "; ")


def _asymmetry(outcome: Outcome) -> list[Words]:
    found = [one for one in outcome.measurements if one.name == "cst_fa_asymmetry"]
    if not found:
        return []
    value, error = abs(found[0].value), found[0].uncertainty
    if value > 2 * error:
        return [say("left and right differ by {value:.1f} %, more than the error of the measurement", value=value)]
    return [say("left and right differ by {value:.1f} %, not more than the error of the measurement", value=value)]


def _callosum(outcome: Outcome) -> Words:
    value = {m.name: m for m in outcome.measurements}
    motor = value["callosal_motor_fa"]
    said = say("anisotropy of the motor segment {value:.3f} ± {error:.3f}", value=motor.value, error=motor.uncertainty)
    if "control_fa" not in value:
        return said
    return say("{motor}, of the splenium {value:.3f}", motor=said, value=value["control_fa"].value)


def _quality(outcome: Outcome) -> Words:
    good = [SERIES_NAMES[one.level] for one in outcome.findings if one.value == "absent"]
    parts = [say("{series} sufficient", series=joined(good))] if good else []
    for one in outcome.findings:
        series = SERIES_NAMES[one.level]
        if one.value == "present":
            parts.append(say("{series} limited: {reason}", series=series, reason=one.reason))
        elif one.value != "absent":
            parts.append(say("{series} {verdict}: {reason}", series=series, verdict=VERDICTS[one.value], reason=one.reason))
    return joined(parts, "; ")


def _tract_brightness(outcome: Outcome) -> Words:
    value = {(m.side, m.level): m.value for m in outcome.measurements}
    parts = [say("measured on T2")] if any(mask.role == "t2" for mask in outcome.masks) else []
    for level in ("subcortical", "plic"):
        if ("left", level) in value and ("right", level) in value:
            parts.append(say("{level}: left {left:+.1f}, right {right:+.1f} spreads of normal white matter above it", level=LEVELS[level],
                             left=value["left", level], right=value["right", level]))  # fmt: skip
    return joined([*parts, say("hyperintensity along the tract: {verdict}", verdict=_by_side(outcome.findings))], "; ")


def _motor_cortex(outcome: Outcome) -> Words:
    value = {(m.name, m.side): m for m in outcome.measurements}
    parts = [_thickness(value, side) for side in SIDES if ("precentral_thickness", side) in value]
    if not parts:
        volumes = joined(say("{side} {value:.1f} ml", side=SIDES[m.side], value=m.value)
                         for m in outcome.measurements if m.name == "precentral_volume")  # fmt: skip
        return say("volume of the grey matter {volumes}; thickness not measured: {reason}", volumes=volumes, reason=outcome.gaps[0].reason)
    return say("thickness of the precentral gyrus {parts}; atrophy: {verdict}", parts=joined(parts), verdict=_by_side(outcome.findings))


def _thickness(value: dict, side: str) -> Words:
    """`left 2.41 ± 0.10 mm (percentile 38; 1.24 times the postcentral gyrus)`."""
    thick, ratio = value["precentral_thickness", side], value["precentral_postcentral_ratio", side]
    said = say("{side} {value:.2f} ± {error:.2f} mm", side=SIDES[side], value=thick.value, error=thick.uncertainty)
    if thick.reference is None:
        return say("{thickness} ({ratio:.2f} times the postcentral gyrus)", thickness=said, ratio=ratio.value)
    return say("{thickness} (percentile {percentile:.0f}; {ratio:.2f} times the postcentral gyrus)", thickness=said,
               percentile=thick.reference.percentile, ratio=ratio.value)  # fmt: skip


def _band(outcome: Outcome) -> Words:
    scores = [m for m in outcome.measurements if m.name == "motor_band_score"]
    parts = []
    for finding in outcome.findings:
        mine = [int(m.value) for m in scores if m.side == finding.side]
        said = say("{side} {verdict}", side=SIDES[finding.side], verdict=VERDICTS[finding.value])
        parts.append(say("{said} (score {score} of {most})", said=said, score=sum(mine), most=2 * len(mine)) if mine else said)
    return say("{parts}; the motor cortex also darkens with age", parts=joined(parts, "; "))


def _lesions(outcome: Outcome) -> Words:
    value = {(m.name, m.level): m for m in outcome.measurements}
    count, volume = value["lesion_count", None], value["lesion_volume", None]
    here = joined(say("{region} {count:.0f}", region=LEVELS[level], count=one.value)
                  for (name, level), one in value.items() if name == "lesion_count" and level and one.value)  # fmt: skip
    said = say("{count:.0f} lesions, {volume:.1f} ± {error:.1f} ml", count=count.value, volume=volume.value, error=volume.uncertainty)
    parts = [say("{lesions} ({regions})", lesions=said, regions=here) if here else said]
    return joined([*parts, say("lying as in multiple sclerosis: {verdict}", verdict=_verdict(outcome.findings[0]))], "; ")


def _infarct(outcome: Outcome) -> Words:
    found = {name: tuple(one for one in outcome.findings if one.name == name) for name in ("acute_infarct", "chronic_infarct")}
    return say("acute: {acute}; old: {old}", acute=_by_side(found["acute_infarct"]), old=_by_side(found["chronic_infarct"]))


def _mass(outcome: Outcome) -> Words:
    shift = outcome.measurements[0]
    effect, enhancement = outcome.findings
    return say("shift of the midline {shift:.1f} ± {error:.1f} mm; mass effect: {effect}; abnormal enhancement: {enhancement}",
               shift=shift.value, error=shift.uncertainty, effect=_verdict(effect), enhancement=_verdict(enhancement))  # fmt: skip


def _metabolites(outcome: Outcome) -> Words:
    """NAA over creatine of each side and echo time, or how many ratios there are without it."""
    shown = [m for m in outcome.measurements if m.name == "naa_cr"]
    ratios = [m for m in outcome.measurements if m.name not in ("snr", "linewidth")]
    if not shown:
        return say("{count} ratios of metabolites; NAA/Cr was not measured", count=len(ratios))
    parts = [say("{side} {value:.2f} ± {error:.2f} ({level})", side=SIDES[m.side], value=m.value, error=m.uncertainty,
                 level=LEVELS[m.level]) for m in shown]  # fmt: skip
    return say("NAA/Cr {parts}; it depends on scanner and sequence", parts=joined(parts))


def _function(outcome: Outcome) -> Words:
    """Run by run; then that it is described and not judged."""
    value = {(one.name, one.side, one.level): one for one in outcome.measurements}
    parts = []
    for level in dict.fromkeys(one.level for one in outcome.measurements):
        said = _of_run(value, level)
        parts.append(say("{run}: {said}", run=level_of(level), said=joined(said)))
    return joined([*parts, say("described, not judged: no norm is usable")], "; ")


def _of_run(value: dict, level: str) -> list[Words]:
    said = []
    if ("activation_volume", "left", level) in value:
        left, right = (value["activation_volume", side, level].value for side in SIDES)
        said.append(say("active motor cortex left {left:.1f} ml, right {right:.1f} ml", left=left, right=right))
    if ("laterality_index", None, level) in value:
        one = value["laterality_index", None, level]
        said.append(say("laterality index {value:+.2f} ± {error:.2f}", value=one.value, error=one.uncertainty))
    if ("m1_m1_connectivity", None, level) in value:
        one = value["m1_m1_connectivity", None, level]
        said.append(say("correlation of both hand areas {value:.2f} ± {error:.2f}", value=one.value, error=one.uncertainty))
    return said


SENTENCES = {
    "motor_cortex_spectroscopy": _metabolites,
    "brain_volumes": _volumes,
    "brainstem": _brainstem,
    "cervical_cord": _cord,
    "cord_compression": _compression,
    "precentral_gyrus": _motor_cortex,
    "cst_diffusion": _diffusion,
    "callosum_diffusion": _callosum,
    "cst_flair": _tract_brightness,
    "motor_band": _band,
    "white_matter_lesions": _lesions,
    "infarct": _infarct,
    "mass": _mass,
    "motor_activation": _function,
    "image_quality": _quality,
}

"""The few sentences that a reader with two minutes gets: what was measured, what was not, and what a number cannot say."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.outcome import FAILED, MEASURED, Measurement, Outcome

TITLES = {
    "brain_volumes": "Brain volumes",
    "brainstem": "Brainstem",
    "image_quality": "Image quality",
    "precentral_gyrus": "Motor cortex",
    "cst_diffusion": "Diffusion of the corticospinal tract",
    "callosum_diffusion": "Diffusion of the callosum",
    "cst_flair": "Corticospinal tract on FLAIR",
    "motor_band": "Motor band sign",
}

SERIES_NAMES = {
    "t1": "T1", "t1_contrast": "T1 with contrast", "flair": "FLAIR", "t2": "T2", "swi": "SWI", "t2star": "T2*", "dwi": "DWI",
    "bold": "BOLD", "mrs": "MRS", "cord_t2": "T2 of the cord", "cord_t2star": "T2* of the cord",
}  # fmt: skip


def title_of(marker: str) -> str:
    """A marker's name as a person writes it."""
    return TITLES.get(marker, marker.replace("_", " ").capitalize())


def summary_of(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    """One sentence per marker, then what was found."""
    return tuple(_sentence(outcome) for outcome in outcomes)


def _sentence(outcome: Outcome) -> str:
    title = title_of(outcome.marker)
    if outcome.outcome != MEASURED:
        return f"{title}: {'failed' if outcome.outcome == FAILED else 'not measurable'}, {_lower(outcome.reason)}."
    return f"{title}: {SENTENCES.get(outcome.marker, _any)(outcome)}"


def _lower(text: str) -> str:
    return text.rstrip(".")


def _any(outcome: Outcome) -> str:
    return f"{len(outcome.measurements)} measurements."


def _volumes(outcome: Outcome) -> str:
    value = {m.name: m for m in outcome.measurements}
    if "intracranial_volume" not in value:
        missing = f"intracranial volume and CSF {_lower(outcome.gaps[0].reason)}"
        return f"brain {_with_error(value['brain_volume'])}; {missing}; no reference population."
    brain, whole = value["brain_volume"], value["intracranial_volume"]
    share = 100 * brain.value / whole.value
    return f"brain {_with_error(brain)}, {share:.0f} % of the intracranial volume of {_with_error(whole)}; no reference population."


def _brainstem(outcome: Outcome) -> str:
    parts = [f"{m.name.removesuffix('_volume')} {m.value:.1f} ± {m.uncertainty:.1f} ml" for m in outcome.measurements]
    parts += [f"{gap.name.removesuffix('_volume')} {_lower(gap.reason)}" for gap in outcome.gaps]
    (atrophy,) = outcome.findings
    return ", ".join(parts) + f"; atrophy: {atrophy.value}" + (f", {_lower(atrophy.reason)}." if atrophy.reason else ".")


def _diffusion(outcome: Outcome) -> str:
    fa = {(m.side, m.level): m for m in outcome.measurements if m.name == "cst_fa"}
    level = "whole" if ("left", "whole") in fa or ("right", "whole") in fa else "plic"
    place = "mean of the tract" if level == "whole" else "internal capsule"
    known = [f"{side} {fa[side, level].value:.3f}" for side in ("left", "right") if (side, level) in fa]
    asymmetry = next((m for m in outcome.measurements if m.name == "cst_fa_asymmetry"), None)
    words = f"anisotropy ({place}) {', '.join(known)}" if known else f"anisotropy at {len(fa)} places"
    if asymmetry is not None:
        clear = abs(asymmetry.value) > 2 * asymmetry.uncertainty
        words += (
            f"; left and right differ by {abs(asymmetry.value):.1f} %, {'more' if clear else 'not more'} than the error of the measurement"
        )
    missing = sorted({gap.level.replace("_", " ") for gap in outcome.gaps if gap.level not in (None, "whole")})
    missing_words = f"; not measured: {', '.join(missing)}" if missing else ""
    verdicts = {f.value if f.side is None else f"{f.side} {f.value}" for f in outcome.findings}
    placed = any(m.reference is not None for m in fa.values())
    return words + missing_words + (f"; degeneration: {', '.join(sorted(verdicts))}." if placed else "; no reference population.")


def _callosum(outcome: Outcome) -> str:
    value = {m.name: m for m in outcome.measurements}
    motor = value["callosal_motor_fa"]
    control = f", of the splenium {value['control_fa'].value:.3f}" if "control_fa" in value else ""
    return f"anisotropy of the motor segment {motor.value:.3f} ± {motor.uncertainty:.3f}{control}; no reference population."


def _quality(outcome: Outcome) -> str:
    named = [(SERIES_NAMES[finding.level], finding) for finding in outcome.findings]
    good = [name for name, finding in named if finding.value == "absent"]
    words = [f"{', '.join(good)} sufficient"] if good else []
    words += [f"{name} limited: {_lower(finding.reason)}" for name, finding in named if finding.value == "present"]
    words += [f"{name} {finding.value}: {_lower(finding.reason)}" for name, finding in named if finding.value not in ("present", "absent")]
    return "; ".join(words) + "."


def _tract_brightness(outcome: Outcome) -> str:
    value = {(m.side, m.level): m.value for m in outcome.measurements}
    parts = [
        f"{words} left {value['left', level]:+.1f} and right {value['right', level]:+.1f}"
        for level, words in (("subcortical", "under the motor cortex"), ("plic", "in the internal capsule"))
        if ("left", level) in value and ("right", level) in value
    ]
    signal = f"{', '.join(parts)} spreads of normal white matter above it; " if parts else ""
    role = next((mask.role for mask in outcome.masks), "flair")
    found = ", ".join(f"{finding.side} {finding.value}" for finding in outcome.findings)
    return f"{'measured on T2; ' if role == 't2' else ''}{signal}hyperintensity along the tract: {found}; no reference population."


def _motor_cortex(outcome: Outcome) -> str:
    value = {(m.name, m.side): m for m in outcome.measurements}
    parts = [_thickness_words(value, side) for side in ("left", "right") if ("precentral_thickness", side) in value]
    if not parts:
        volumes = [f"{m.side} {m.value:.1f} ml" for m in outcome.measurements if m.name == "precentral_volume"]
        return f"volume of the grey matter {', '.join(volumes)}; thickness not measured: {_lower(outcome.gaps[0].reason)}."
    found = "; ".join(
        f"{finding.side} {finding.value}" + (f" ({_lower(finding.reason)})" if finding.reason else "") for finding in outcome.findings
    )
    if len({(finding.value, finding.reason) for finding in outcome.findings}) == 1:
        found = found.split("; ")[0].split(" ", 1)[1]
    return f"thickness of the precentral gyrus {', '.join(parts)}; atrophy {found}."


def _thickness_words(value: dict, side: str) -> str:
    """`left 2.41 ± 0.10 mm (percentile 38; 1.24 times the postcentral gyrus)`."""
    thick, ratio = value["precentral_thickness", side], value["precentral_postcentral_ratio", side]
    place = f"percentile {thick.reference.percentile:.0f}; " if thick.reference else ""
    return f"{side} {thick.value:.2f} ± {thick.uncertainty:.2f} mm ({place}{ratio.value:.2f} times the postcentral gyrus)"


def _with_error(measurement: Measurement) -> str:
    return f"{measurement.value:.0f} ± {measurement.uncertainty:.0f} {measurement.unit}"


def _band(outcome: Outcome) -> str:
    scores = [m for m in outcome.measurements if m.name == "motor_band_score"]
    total = {side: sum(int(m.value) for m in scores if m.side == side) for side in ("left", "right")}
    count = {side: sum(m.side == side for m in scores) for side in ("left", "right")}
    words = "; ".join(
        f"{finding.side} {finding.value} (score {total[finding.side]} of {2 * count[finding.side]})"
        if count[finding.side]
        else f"{finding.side} not assessed"
        for finding in outcome.findings
    )
    return f"{words}; supportive only: the motor cortex also darkens with age, and the score has no reference population."


SENTENCES = {
    "brain_volumes": _volumes,
    "brainstem": _brainstem,
    "precentral_gyrus": _motor_cortex,
    "cst_diffusion": _diffusion,
    "callosum_diffusion": _callosum,
    "cst_flair": _tract_brightness,
    "motor_band": _band,
    "image_quality": _quality,
}

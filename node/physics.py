"""What the headers of one series say of how it was made: numbers and flags of physics, no decision.

Classic headers carry the values at the top; enhanced ones (PS3.3 C.8.13) in functional groups; legacy converted ones keep the classic
names inside. What a header does not say is None or False here, never a default. Pixels are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from node.frames import Frame, frames_of, images_in_mosaic, is_enhanced
from node.gradients import Gradient, gradient_of
from node.study import Series

NO_AGENT = frozenset({"", "NO", "NONE", "N", "0", "OFF", "WITHOUT", "NON", "NEIN", "UNKNOWN", "NOCONTRAST", "PRE"})
OF_THE_FRAME = (
    "MRTimingAndRelatedParametersSequence",
    "MREchoSequence",
    "MRModifierSequence",
    "MRImagingModifierSequence",
    "MRImageFrameTypeSequence",
    "MRSpectroscopyFrameTypeSequence",
    "ContrastBolusUsageSequence",
    "MRArterialSpinLabelingSequence",
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)


@dataclass(frozen=True, eq=False)
class Physics:
    """One series. Flags that the header does not state are None where that differs from no."""

    modality: str
    manufacturer: str
    tokens: frozenset[str]
    sequence_name: str
    is_gradient_echo: bool | None
    is_spin_echo: bool | None
    is_inversion: bool
    is_prepared: bool
    is_echo_planar: bool
    is_balanced: bool
    is_3d: bool | None
    tr_ms: float | None
    ti_ms: float | None
    flip_deg: float | None
    echo_times_ms: tuple[float, ...]
    components: frozenset[str]
    has_agent: bool
    is_angiography: bool
    is_labelled: bool
    body_part: str
    nucleus: str
    field_t: float | None
    description: str
    gradients: tuple[Gradient, ...]
    frames: tuple[Frame, ...]
    mosaic: int

    @property
    def te_ms(self) -> float | None:
        """The longest echo."""
        return self.echo_times_ms[-1] if self.echo_times_ms else None

    @property
    def is_silent(self) -> bool:
        """Whether no timing at all is stated: then nothing of the contrast is known from physics."""
        return self.tr_ms is None and self.te_ms is None and self.ti_ms is None


def physics_of(series: Series) -> Physics:
    header = series.header
    frames = frames_of(series)
    mosaic = images_in_mosaic(header)
    shown = [frame for frame in frames if not frame.is_derived] or list(frames)
    first = _flat(series.instances[shown[0].instance].header, (shown[0].number or 1) - 1) if shown else _flat(header, 0)
    scanning = {str(word).upper() for word in _many(first.get("ScanningSequence"))}
    variant = {str(word).upper() for word in _many(first.get("SequenceVariant"))}
    name = " ".join(str(first.get(word) or "") for word in ("SequenceName", "PulseSequenceName")).strip().lower()
    is_planar = first.get("EchoPlanarPulseSequence") == "YES" or name.startswith(("ep", "*ep"))
    return Physics(
        modality=str(header.get("Modality") or ""),
        manufacturer=str(header.get("Manufacturer") or ""),
        tokens=_tokens(first),
        sequence_name=name,
        is_gradient_echo=_is_echo(first, scanning, "GR", ("GRADIENT", "BOTH")),
        is_spin_echo=_is_echo(first, scanning, "SE", ("SPIN", "BOTH")),
        is_inversion="IR" in scanning or first.get("InversionRecovery") == "YES" or _philips_prepulse(first) == "INV",
        is_prepared="MP" in variant,
        is_echo_planar=is_planar or "EP" in scanning or _epi_factor(first) > 1,
        is_balanced=first.get("SteadyStatePulseSequence") in ("FREE_PRECESSION", "TIME_REVERSED")
        or ("SS" in variant and not variant & {"SP", "MP"} and "GR" in scanning),
        is_3d={"3D": True, "2D": False}.get(str(first.get("MRAcquisitionType") or "")),
        tr_ms=_number(first.get("RepetitionTime")),
        ti_ms=_inversion_ms(first),
        flip_deg=_number(first.get("FlipAngle")),
        echo_times_ms=_echo_times(shown, first, series),
        components=frozenset(frame.component for frame in frames) or frozenset({"magnitude"}),
        has_agent=_has_agent(first),
        is_angiography=first.get("AngioFlag") == "Y" or first.get("TimeOfFlightContrast") == "YES" or first.get("PhaseContrast") == "YES",
        is_labelled=bool(first.get("ArterialSpinLabelingContrast")) or bool({"ASL", "PERFUSION", "RCBF", "CBF"} & _tokens(first)),
        body_part=re.sub(r"[^A-Z]", "", str(first.get("BodyPartExamined") or "").upper()) or _region(header),
        nucleus=str(first.get("ResonantNucleus") or first.get("ImagedNucleus") or "").upper(),
        field_t=_number(first.get("MagneticFieldStrength")),
        description=" ".join(str(header.get(word) or "") for word in ("SeriesDescription", "ProtocolName")).strip(),
        gradients=tuple(frame.gradient for frame in frames) or tuple(gradient_of(instance.header) for instance in series.instances),
        frames=frames,
        mosaic=mosaic,
    )


def _flat(header: Dataset, number: int) -> dict[str, object]:
    """The attributes that hold for one frame, by keyword: of the frame before of all frames before of the object."""
    values: dict[str, object] = {}
    for item in _items(header, number):
        for element in item:
            if element.keyword and element.VR != "SQ" and element.value not in (None, ""):
                values.setdefault(element.keyword, element.value)
    for key, (group, element) in {"_epi": (0x2001, 0x1013), "_prepulse": (0x2001, 0x101C), "_delay": (0x2001, 0x101B)}.items():
        if (group, element) in header:
            values[key] = header[group, element].value
    for word in ("ContrastBolusAgentSequence",):
        values.setdefault(word, header.get(word))
    return values


def _items(header: Dataset, number: int) -> Iterator[Dataset]:
    if is_enhanced(header):
        shared = header.get("SharedFunctionalGroupsSequence")
        for groups in (header.PerFrameFunctionalGroupsSequence[number], *(shared[:1] if shared else ())):
            yield from (groups.get(word)[0] for word in OF_THE_FRAME if groups.get(word))
    yield header


def _many(value: object) -> list[object]:
    return list(value) if isinstance(value, MultiValue | list | tuple) else [value]


def _number(value: object) -> float | None:
    try:
        number = float(_many(value)[0])  # type: ignore[arg-type]
    except (TypeError, ValueError, IndexError):
        return None
    return number if number > 0 else None


def _tokens(values: dict[str, object]) -> frozenset[str]:
    words = [*_many(values.get("ImageType")), *_many(values.get("FrameType")), values.get("VolumeBasedCalculationTechnique")]
    return frozenset(str(word).upper() for word in words if word not in (None, "", "NONE"))


def _is_echo(values: dict[str, object], scanning: set[str], code: str, stated: tuple[str, ...]) -> bool | None:
    if values.get("EchoPulseSequence"):
        return values["EchoPulseSequence"] in stated
    return code in scanning if scanning & {"SE", "GR"} else None


def _inversion_ms(values: dict[str, object]) -> float | None:
    """InversionTime, InversionTimes, or Philips' prepulse delay where the prepulse is an inversion."""
    delay = values.get("_delay") if _philips_prepulse(values) == "INV" else None
    return _number(values.get("InversionTime")) or _number(values.get("InversionTimes")) or _number(delay)


def _philips_prepulse(values: dict[str, object]) -> str:
    value = values.get("_prepulse")
    return (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")).strip().upper()


def _epi_factor(values: dict[str, object]) -> float:
    return _number(values.get("_epi")) or 0.0


def _echo_times(frames: list[Frame], values: dict[str, object], series: Series) -> tuple[float, ...]:
    times = {round(frame.echo_time_ms, 2) for frame in frames if frame.echo_time_ms}
    if not frames:
        times = {time for instance in series.instances if (time := _number(instance.header.get("EchoTime"))) is not None}
    stated = _number(values.get("EchoTime")) or _number(values.get("EffectiveEchoTime"))
    return tuple(sorted(times)) or ((stated,) if stated else ())


def _has_agent(values: dict[str, object]) -> bool:
    if values.get("ContrastBolusAgentAdministered") == "YES" or _number(values.get("ContrastBolusVolume")):
        return True
    agent = re.sub(r"[^A-Z0-9]", "", str(values.get("ContrastBolusAgent") or "").upper())
    return agent not in NO_AGENT or bool(values.get("ContrastBolusAgentSequence"))


def _region(header: Dataset) -> str:
    """The region as a code of the enhanced objects or of the classic sequence; its meaning, in capitals."""
    holders = [header, *(header.get("SharedFunctionalGroupsSequence") or ())[:1]]
    holders += [anatomy for holder in holders for anatomy in (holder.get("FrameAnatomySequence") or ())[:1]]
    for holder in holders:
        for code in (holder.get("AnatomicRegionSequence") or ())[:1]:
            return re.sub(r"[^A-Z]", "", str(code.get("CodeMeaning") or "").upper())
    return ""

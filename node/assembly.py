"""A volume put together from the frames of a series, slice by slice, as their headers place them.

This is the second way, for objects that dcm2niix cannot read or puts in another order than their headers say. It is exact by
construction, and it refuses what is not a whole, even stack. It knows no vendor's private ways: no mosaics, no private gradients.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import groupby

import numpy as np
from pydicom.dataset import Dataset

from analysis.words import say
from node.contrast import bounds
from node.errors import StudyError
from node.frames import Frame, functional_group, has_trace_and_b_zero, is_enhanced
from node.stack import stack_of
from node.study import Series


def source_frames(frames: Sequence[Frame], role: str) -> list[Frame]:
    """The magnitude frames that the scanner measured, of the echo that the role wants; StudyError where they are no even stack."""
    measured = [frame for frame in frames if not frame.is_derived and frame.component == "magnitude"]
    if not measured and role == "dwi" and has_trace_and_b_zero(frames):
        measured = [frame for frame in frames if frame.component == "magnitude"]
    if not measured:
        raise StudyError(say("the series holds no magnitude image that the scanner measured, only phase or derived ones"))
    echoes = sorted({round(frame.echo_time_ms, 2) for frame in measured if frame.echo_time_ms is not None})
    if len(echoes) > 1:
        echo = wanted_echo_ms(echoes, role)
        measured = [frame for frame in measured if frame.echo_time_ms is None or round(frame.echo_time_ms, 2) == echo]
    stack = stack_of(measured, bounds()["geometry"]["spacing_tolerance"], bounds()["geometry"]["spacing_tolerance_mm"])
    faults = list(stack.faults) if stack.orientations == 1 else [say("the images lie in different planes")]
    if stack.slices < 2:
        faults.append(say("there is only one slice"))
    if faults:
        raise StudyError(say("the series makes no volume: {fault}", fault=faults[0]))
    return measured


def wanted_echo_ms(echoes: Sequence[float], role: str) -> float:
    """T2 wants the longest echo, T2* the one nearest to the wanted time, everything else the shortest."""
    if role in ("t2star", "cord_t2star", "swi"):
        return min(echoes, key=lambda echo: abs(echo - bounds()["t2star"]["echo_wanted"]))
    return max(echoes) if role in ("t2", "cord_t2", "flair") else min(echoes)


def assembled(series: Series, frames: Sequence[Frame]) -> tuple[np.ndarray, np.ndarray, list[Frame]]:
    """The array (slice, row, column, volume) float32, its map, and for each volume one of the frames it was made of.

    `frames` are those of `source_frames`. A diffusion volume is made of the frames of one gradient.
    """
    volumes = _volumes(frames)
    along_mm = np.array([frame.origin_lps @ frames[0].normal_lps for frame in frames])
    places_mm = np.unique(np.round(along_mm, 1))
    if any(len(volume) != len(places_mm) for volume in volumes):
        raise StudyError(say("not every volume of the series is whole; send the series again"))
    array = np.zeros((len(places_mm), frames[0].rows, frames[0].columns, len(volumes)), dtype=np.float32)
    where = {id(frame): (slot, number) for number, volume in enumerate(volumes) for slot, frame in enumerate(_in_order(volume))}
    for instance, group in groupby(sorted(frames, key=lambda frame: frame.instance), key=lambda frame: frame.instance):
        _fill(array, series, instance, list(group), where)
    ordered = _in_order(volumes[0])
    matrix = ordered[0].lps_from_index.copy()
    matrix[:3, 0] = (ordered[-1].origin_lps - ordered[0].origin_lps) / (len(ordered) - 1)
    return array, matrix, [volume[0] for volume in volumes]


def _in_order(volume: Sequence[Frame]) -> list[Frame]:
    return sorted(volume, key=lambda frame: float(frame.origin_lps @ volume[0].normal_lps))


def _volumes(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Frames of one gradient that come at the same turn of their place belong together."""
    turns: Counter[tuple] = Counter()
    volumes: dict[tuple, list[Frame]] = defaultdict(list)
    for frame in frames:
        vector = () if frame.b_vector_lps is None else tuple(np.round(frame.b_vector_lps, 3).tolist())
        gradient = (frame.b_value_s_mm2, vector)
        place = (gradient, tuple(np.round(frame.origin_lps, 2).tolist()))
        volumes[(gradient, turns[place])].append(frame)
        turns[place] += 1
    return list(volumes.values())


def _fill(array: np.ndarray, series: Series, instance: int, frames: Sequence[Frame], where: dict[int, tuple[int, int]]) -> None:
    from pydicom.pixels import pixel_array

    source = series.instances[instance]
    try:
        pixels = pixel_array(source.path)
    except (RuntimeError, NotImplementedError, ValueError, AttributeError, OSError) as error:
        raise StudyError(say(
            "the pixels of {file} could not be decoded: {error}", file=source.path.name, error=str(error).splitlines()[0]
        )) from error
    for frame in frames:
        slope, intercept = _rescale(source.header, frame)
        picture = pixels if pixels.ndim == 2 else pixels[(frame.number or 1) - 1]
        slot, number = where[id(frame)]
        array[slot, :, :, number] = picture.astype(np.float32) * slope + intercept


def _rescale(header: Dataset, frame: Frame) -> tuple[float, float]:
    holder = functional_group(header, frame.number, "PixelValueTransformationSequence") if is_enhanced(header) else header
    return float(holder.get("RescaleSlope") or 1.0), float(holder.get("RescaleIntercept") or 0.0)

"""Whether a series has come whole, by what its own images say: gaps, unequal counts, and the counts that scanner and archive state.

Only images that the scanner measured, as magnitude, count; a series whose role is `other` (a localizer, a map, phase images) is never
missing anything. Evidence is one-sided: what may be explained in another way, such as two stacks apart in one series, says nothing. A loss
that leaves no trace in the images, such as the last slice of a volume, shows only where a header or an archive states the count.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from analysis.words import say
from node.inventory import Facts, Picture, SeriesFacts

SAME_PLACE_MM = 0.02
STEP_TOLERANCE = 0.1  # of the slice spacing, as config/series.toml has it for a stack
MOST_LOST = 4  # the usual step is at most so many times the spacing: else slices that lie askew would pass for many lost ones
LARGEST_START = 0.1  # numbers that begin later than at this share of the series are numbered on from another one


def gaps(series: SeriesFacts) -> list[str]:
    """A sentence for each thing that the series says is missing; none where it is whole, or where nothing can be said."""
    if series.role == "other":
        return []
    facts = list(series.instances.values())
    objects = [*_frames(facts), *_concatenations(facts)]
    if series.role == "mrs":
        return objects  # its objects have no slices, and are numbered as the scanner likes
    return objects or _places(facts) or _numbers(facts) or _stated(facts)


def lacking(series: Iterable[SeriesFacts], expected: Sequence[str]) -> list[str]:
    """A sentence for each role that the site's protocol has and the study does not; "swi or t2star" is met by either."""
    there = {one.role for one in series}
    return [say("no series with the role {role} has come", role=role) for role in expected if not there & set(role.split(" or "))]


def fewer_than(
    series: Mapping[str, SeriesFacts], stated: Mapping[str, int], own: Iterable[str] = ()
) -> list[tuple[SeriesFacts | None, str]]:
    """(series, sentence) for each series of which an archive has more images than came; None where it did not come at all.

    `stated`: how many instances of which MR series the archive has. `own`: the series of the node's own results, which it has as well.
    """
    found: list[tuple[SeriesFacts | None, str]] = []
    absent = [uid for uid in stated if uid not in series and uid not in set(own) and stated[uid]]
    for uid, one in series.items():
        there, whole = len(one.instances), stated.get(uid, 0)
        if one.role != "other" and there < whole:
            found.append((one, say("{there} of the {whole} images that the archive has are there", there=there, whole=whole)))
    if absent:
        found.append((None, say("the archive has {count} MR series of which nothing has come", count=len(absent))))
    return found


def _frames(facts: Sequence[Facts]) -> list[str]:
    return [say("an object holds {there} of its {stated} frames", there=one.frames[0], stated=one.frames[1])
            for one in facts if one.frames and one.frames[0] < one.frames[1]][:1]


def _concatenations(facts: Sequence[Facts]) -> list[str]:
    """Parts of an enhanced object that was cut into several (PS3.3 C.7.6.16.1). Where no total is stated, the last one may lack unseen."""
    parts: dict[str, dict[int, int]] = defaultdict(dict)
    for uid, number, total in (one.part for one in facts if one.part):
        parts[uid][number] = total
    said = []
    for numbers in parts.values():
        whole = max(*numbers.values(), *numbers, 0)
        if len(numbers) < whole:
            said.append(say("{missing} of the {whole} parts of a concatenation are missing", missing=whole - len(numbers), whole=whole))
    return said


def _places(facts: Sequence[Facts]) -> list[str]:
    """Gaps between slices, and slices that did not come as often as the others, per plane."""
    planes: dict[str, list[Picture]] = defaultdict(list)
    for picture in (picture for one in facts for picture in one.pictures if picture.kind):
        planes[picture.plane].append(picture)
    is_numbered = _run_on([one.number for one in facts])
    return [sentence for pictures in planes.values() for sentence in _gaps_of(pictures, is_numbered)]


def _run_on(numbers: Sequence[int | None]) -> bool:
    """Whether the images are numbered one by one without a hole: then none between them can be missing."""
    known = {number for number in numbers if number is not None}
    return len(known) == len(numbers) and max(known) - min(known) + 1 == len(known)


def _gaps_of(pictures: Sequence[Picture], is_numbered: bool) -> list[str]:
    slots = _slots(np.array([picture.along_mm for picture in pictures]))
    if slots is None:
        return []  # no even stack: there is no telling what belongs between
    kinds: dict[str, Counter[int]] = defaultdict(Counter)
    for picture, slot in zip(pictures, slots.tolist(), strict=True):
        kinds[picture.kind][slot] += 1
    there = set(slots.tolist())
    holes = 0 if is_numbered else max(there) + 1 - len(there)
    if holes:
        return [say("{missing} of {whole} slices are missing between the others", missing=holes, whole=max(there) + 1)]
    if len(set(Counter(slots.tolist()).values())) == 1:
        return []
    whole = sum(max(counts.values()) * len(_shared(counts, there)) for counts in kinds.values())
    missing = whole - len(pictures)
    return [say("{missing} of {whole} images are missing: not every slice has come as often as the others", missing=missing, whole=whole)
            ] if missing else []


def _shared(counts: Counter[int], there: set[int]) -> set[int]:
    """The slices that a kind of images should have: all of them, unless it has so few that it is a stack of its own."""
    return there if 2 * len(counts) >= len(there) else set(counts)


def _slots(along_mm: np.ndarray) -> np.ndarray | None:
    """The number of the slice on which each picture lies; None where the slices have no even spacing."""
    ordered = np.unique(along_mm)
    places = ordered[np.concatenate([[True], np.diff(ordered) > SAME_PLACE_MM])]
    if len(places) < 2:
        return np.zeros(len(along_mm), dtype=int)
    steps = np.diff(places)
    usual = float(np.median(steps))
    for step in (max(float(steps.min()), usual / MOST_LOST), usual):
        counted = np.maximum(np.round(steps / step), 1)
        fine = float(np.sum(steps) / np.sum(counted))
        slots = np.round((places - places[0]) / fine)
        if np.abs(places - places[0] - slots * fine).max() <= max(STEP_TOLERANCE * fine, SAME_PLACE_MM):
            where = np.searchsorted(places, along_mm + SAME_PLACE_MM, side="right") - 1
            return slots[where].astype(int)
    return None


def _numbers(facts: Sequence[Facts]) -> list[str]:
    """Objects that hold a volume each are numbered from 1; single slices only seldom begin later by a few, and then those are missing."""
    known = sorted({one.number for one in facts if one.number is not None})
    if len(known) < max(2, len(facts)):
        return []
    are_volumes = all(one.is_mosaic or (one.frames and one.frames[0] > 1) for one in facts)
    if are_volumes:
        missing = known[-1] - len(known) if known[0] > 0 else known[-1] - known[0] + 1 - len(known)
        if 0 < missing <= len(known):
            return [say("{missing} of {whole} volumes are missing, by their numbers", missing=missing, whole=missing + len(known))]
    elif known[-1] - known[0] + 1 == len(known) and 1 < known[0] <= 1 + LARGEST_START * len(known):
        return [say("the first {missing} images are missing, by their numbers", missing=known[0] - 1)]
    return []


def _stated(facts: Sequence[Facts]) -> list[str]:
    """The counts that the scanner states, where fewer are there."""
    return _slices(facts) or _times(facts) or _acquisitions(facts)


def _slices(facts: Sequence[Facts]) -> list[str]:
    stated = max((one.slices or 0 for one in facts), default=0)
    places = {(picture.plane, round(picture.along_mm, 1)) for one in facts for picture in one.pictures}
    return [_of_scanner(len(places), stated, say("slices"))] if 1 < len(places) < stated and stated % len(places) else []


def _times(facts: Sequence[Facts]) -> list[str]:
    """NumberOfTemporalPositions; a series of single slices that holds one position is one of many into which the scanner splits them."""
    stated = max((one.times or 0 for one in facts), default=0)
    there = Counter((picture.plane, round(picture.along_mm, 1)) for one in facts for picture in one.pictures)
    count = max(there.values(), default=len(facts) if all(one.is_mosaic for one in facts) else 0)
    least = 1 if any(one.frames for one in facts) else 2
    return [_of_scanner(count, stated, say("time points"))] if least <= count < stated else []


def _acquisitions(facts: Sequence[Facts]) -> list[str]:
    """ImagesInAcquisition, unless it is a multiple of what is there: then its images are spread over several series, or are the slices."""
    there = Counter(one.acquisition for one in facts if one.frames is None)
    stated = {one.acquisition: one.images_in_acquisition for one in facts if one.images_in_acquisition and one.frames is None}
    return [_of_scanner(there[number], count, say("images of an acquisition")) for number, count in stated.items()
            if there[number] < count and count % there[number]]


def _of_scanner(there: int, whole: int, things: str) -> str:
    return say("{there} of {whole} {things} are there, by the count of the scanner", there=there, whole=whole, things=things)

"""What lies in the spool of a study, as far as it tells whether more is to come: a few facts of every instance, read from its header once.

The facts are kept in a file per study, so that a look at a study that has grown reads only what is new, also after a restart. The role of
a series is decided from its headers, or from `AT_ONCE` of them taken evenly, and anew when the series has doubled, so few are read again.
Reading is done in a process of its own (`python -m node.inventory STUDY FILE`), at most `AT_ONCE` new instances at a time: a broken header,
or 20,000 of them, hold no other study. What cannot be read is no evidence of anything and has no facts.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
from collections.abc import Callable, Container, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from node.errors import BetzError
from node.frames import Frame, frames_of, images_in_mosaic
from node.log import quiet, unforeseen
from node.roles import decide
from node.study import Series, read_series

AT_ONCE = 2000
B_STEP_S_MM2, ECHO_STEP_MS = 50.0, 0.5  # images that differ by less are of one kind: scanners write what they measured
_BROKEN = (BetzError, AttributeError, TypeError, ValueError, LookupError, NotImplementedError)
_SLICES = ((0x2001, 0x1018, "Philips"), (0x0021, 0x104F, "GEMS"))


@dataclass(frozen=True)
class Picture:
    """One picture: `plane` is its orientation, matrix and pixel size; `kind` its echo and b-value, "" where it is no magnitude image that
    the scanner measured; `along_mm` its place along the normal of the plane."""

    plane: str
    kind: str
    along_mm: float


@dataclass(frozen=True)
class Facts:
    """One instance. Numbers that its header does not state are None. `frames`: (there, stated) where it has many. `part`: (concatenation,
    number, stated total or 0)."""

    number: int | None = None
    pictures: tuple[Picture, ...] = ()
    is_mosaic: bool = False
    frames: tuple[int, int] | None = None
    part: tuple[str, int, int] | None = None
    acquisition: int | None = None
    images_in_acquisition: int | None = None
    times: int | None = None
    slices: int | None = None


@dataclass
class SeriesFacts:
    """One series: its role and `number`, of how many instances the role was decided, and the facts of each, by the mark of its file."""

    number: str = ""
    role: str = "other"
    decided: int = 0
    instances: dict[str, Facts] = field(default_factory=dict)


Inventory = dict[str, SeriesFacts]
"""The series of a study by their UID; under "" what cannot be read."""


def marks_of(folder: Path) -> dict[str, Path]:
    """The files of a study by a mark that tells a file from another one that took its name (after a person removed the study, say)."""
    with os.scandir(folder) as entries:
        return {f"{one.name} {one.stat().st_mtime_ns}": Path(one.path) for one in entries if one.name.endswith(".dcm")}


def taken(folder: Path, before: Inventory | None = None, at_most: int = AT_ONCE,
          series_in: Callable[[list[Path]], list[Series]] = read_series) -> Inventory:
    """The inventory of a folder, from that of an earlier look: only what is new is read, by `series_in`, and `at_most` of it at once."""
    marks = marks_of(folder)
    inventory = only(before or {}, marks)
    new = sorted(set(marks) - marks_in(inventory))[:at_most]
    names = {marks[mark].name: mark for mark in new}
    for series in series_in([marks[mark] for mark in new]):
        one = inventory.setdefault(series.series_instance_uid, SeriesFacts())
        facts = {names.pop(name): found for name, found in _facts(series).items()}
        one.instances.update(facts)
        if len(one.instances) >= 2 * one.decided:
            is_all = len(facts) == len(one.instances)
            known = [] if is_all else series_in([marks[mark] for mark in _evenly(sorted(one.instances), at_most)])
            _decide(one, next((other for other in known if other.series_instance_uid == series.series_instance_uid), series))
    if names:
        inventory.setdefault("", SeriesFacts()).instances.update(dict.fromkeys(names.values(), Facts()))
    return inventory


def only(inventory: Inventory, marks: Container[str]) -> Inventory:
    """What of an inventory is about these files."""
    kept = {uid: replace(one, instances={mark: facts for mark, facts in one.instances.items() if mark in marks})
            for uid, one in inventory.items()}
    return {uid: one for uid, one in kept.items() if one.instances}


def marks_in(inventory: Inventory) -> set[str]:
    """The marks of all files that were looked at."""
    return {mark for one in inventory.values() for mark in one.instances}


def _evenly(marks: Sequence[str], at_most: int) -> Sequence[str]:
    return marks[:: math.ceil(len(marks) / at_most)]


def _decide(one: SeriesFacts, series: Series) -> None:
    """The role; headers of earlier looks were read again for it."""
    one.role, one.decided = decide(series).role, len(one.instances)
    number = _number(series.header.get("SeriesNumber"))
    one.number = "" if number is None else str(number)


def _facts(series: Series) -> dict[str, Facts]:
    pictures: dict[int, list[Picture]] = {}
    for frame in _frames(series):
        pictures.setdefault(frame.instance, []).append(_picture(frame))
    return {instance.path.name: _facts_of(instance.header, tuple(pictures.get(index, ())))
            for index, instance in enumerate(series.instances)}


def _frames(series: Series) -> list[Frame]:
    """Where one instance cannot be placed, those of the others."""
    with contextlib.suppress(*_BROKEN):
        return list(frames_of(series))
    found = []
    for index, instance in enumerate(series.instances):
        with contextlib.suppress(*_BROKEN):
            found += [replace(frame, instance=index) for frame in frames_of(Series(series.series_instance_uid, (instance,)))]
    return found


def _facts_of(header, pictures: tuple[Picture, ...]) -> Facts:
    frames = header.get("PerFrameFunctionalGroupsSequence")
    part = header.get("ConcatenationUID"), _number(header.get("InConcatenationNumber"))
    slices = [_private(header, *place) for place in _SLICES]
    return Facts(
        number=_number(header.get("InstanceNumber")),
        pictures=pictures,
        is_mosaic=images_in_mosaic(header) > 1,
        frames=None if frames is None else (len(frames), _number(header.get("NumberOfFrames")) or len(frames)),
        part=(str(part[0]), part[1], _number(header.get("InConcatenationTotalNumber")) or 0) if part[0] and part[1] else None,
        acquisition=_number(header.get("AcquisitionNumber")),
        images_in_acquisition=_number(header.get("ImagesInAcquisition")),
        times=_number(header.get("NumberOfTemporalPositions")),
        slices=next((count for count in slices if count), None),
    )


def _picture(frame: Frame) -> Picture:
    matrix = frame.lps_from_index
    turn = [round(float(number), 2) + 0.0 for number in matrix[:3, 1:3].T.ravel()]
    kind = ""
    if not frame.is_derived and frame.component == "magnitude":
        echo = -1 if frame.echo_time_ms is None else round(frame.echo_time_ms / ECHO_STEP_MS)
        weight = -1 if frame.b_value_s_mm2 is None else round(frame.b_value_s_mm2 / B_STEP_S_MM2)
        kind = f"{echo}/{weight}"
    return Picture(f"{frame.rows}x{frame.columns} {turn}", kind, round(float(frame.origin_lps @ frame.normal_lps), 3))


def _private(header, group: int, element: int, creator: str) -> int | None:
    if creator not in str(header.get((group, element >> 8), "")):
        return None
    return _number(header[group, element].value) if (group, element) in header else None


def _number(value: object) -> int | None:
    try:
        return int(value)  # type: ignore[call-overload]
    except (TypeError, ValueError):
        return None


def read(file: Path) -> Inventory:
    """The inventory that was written last; an empty one where there is none, or none that this version understands."""
    try:
        return {uid: _series(one) for uid, one in json.loads(file.read_text()).items()}
    except (OSError, ValueError, TypeError, AttributeError, LookupError):
        return {}


def _series(one: dict) -> SeriesFacts:
    instances = {}
    for mark, facts in one.pop("instances").items():
        facts["pictures"] = tuple(Picture(*picture) for picture in facts["pictures"])
        instances[mark] = Facts(**{key: tuple(value) if isinstance(value, list) else value for key, value in facts.items()})
    return SeriesFacts(**one, instances=instances)


def write(inventory: Inventory, file: Path) -> None:
    """Whole or not at all. It can be made again from the spool, so it need not be durable."""
    told = {uid: {"number": one.number, "role": one.role, "decided": one.decided,
                  "instances": {mark: _told(facts) for mark, facts in one.instances.items()}} for uid, one in inventory.items()}
    partial = file.with_name(f"{file.name}.partial")
    partial.write_text(json.dumps(told))
    os.replace(partial, file)


def _told(facts: Facts) -> dict:
    """What is stated; a picture as a list."""
    given = {key: value for key, value in vars(facts).items() if key != "pictures" and value is not None and value is not False}
    return {**given, "pictures": [list(asdict(picture).values()) for picture in facts.pictures]}


def main(folder: str, file: str) -> int:
    """The status. What a library says of a header may quote it, and stays out of what the node logs."""
    from node.child import die_with_parent, is_child
    from node.isolation import isolate

    die_with_parent()
    if is_child():
        isolate()
    quiet()
    try:
        write(taken(Path(folder), read(Path(file))), Path(file))
        return 0
    except Exception as error:
        print(f"the images could not be looked at: {unforeseen(error)}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))

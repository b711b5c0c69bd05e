"""The machine: how much memory the node may use, and how many analyses fit into it at once.

What a container or a service unit may use (cgroup, version 1 or 2) counts, not only what is built in. An analysis is planned with all that
its limit allows, whatever it needs in the end. Where not even one fits, one at a time is run all the same, and ended before the kernel
would end something.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from node.settings import Worker

NODE_GIB = 0.5  # what is left for the node itself and its system


@dataclass(frozen=True)
class Places:
    """How many analyses run at once, and how much memory each may take, in GiB. `memory_gib`: what there is."""

    count: int
    limit_gib: float
    memory_gib: float


def places_of(rules: Worker, memory_gib: float) -> Places:
    """As many as the settings ask for and the memory holds; one where it does not even hold that."""
    room_gib = max(memory_gib - NODE_GIB, memory_gib / 2)
    count = min(rules.studies_at_once, int(room_gib // rules.memory_limit_gib))
    return Places(max(1, count), min(rules.memory_limit_gib, room_gib), memory_gib)


def sentence_of(rules: Worker, places: Places) -> str:
    """What follows from the machine's memory, for a person."""
    said = f"memory: {places.memory_gib:.1f} GiB"
    if places.limit_gib < rules.memory_limit_gib:
        return (f"{said}, too little for one analysis of [worker] memory_limit_gib = {rules.memory_limit_gib:g}; studies are analysed one "
                f"at a time, and one that needs more than {places.limit_gib:.1f} GiB is ended")
    if places.count < rules.studies_at_once:
        return (f"{said}, too little for [worker] studies_at_once = {rules.studies_at_once} with {rules.memory_limit_gib:g} GiB each; "
                f"{places.count} at once are analysed")
    return f"{said}, enough for {places.count} at once with {rules.memory_limit_gib:g} GiB each"


def memory_gib(root: Path = Path("/")) -> float:
    """What this process may use: the memory that is built in, or what its control groups leave of it."""
    import psutil

    return min([psutil.virtual_memory().total, *_limits(root)]) / 2**30


def _limits(root: Path) -> Iterator[int]:
    """The limits of every control group above this process. Without a limit version 2 says "max", version 1 a number beyond any memory."""
    for folder, name in _groups(root):
        try:
            yield int((folder / name).read_text())
        except (OSError, ValueError):
            continue


def _groups(root: Path) -> Iterator[tuple[Path, str]]:
    """Each group with the name of its limit. In a container the path may be that of the host: then only the top is there, and is ours."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, place = line.split(":", 2)
        if kinds in ("", "memory"):
            top = root / "sys/fs/cgroup" / kinds
            own = top / place.lstrip("/")
            for folder in (own, *own.parents):
                if folder.is_relative_to(top):
                    yield folder, "memory.limit_in_bytes" if kinds else "memory.max"

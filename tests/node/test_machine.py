from __future__ import annotations

import psutil
import pytest

from node.machine import memory_gib, places_of, sentence_of
from node.settings import Worker

GIB = 2**30


@pytest.mark.parametrize(("asked", "limit_gib", "there_gib", "count", "may_take_gib"), [
    (1, 8, 64, 1, 8), (4, 8, 64, 4, 8), (4, 8, 24.5, 3, 8), (4, 8, 24, 2, 8), (4, 8, 8, 1, 7.5), (1, 8, 0.6, 1, 0.3),
])
def test_only_as_many_as_the_memory_holds_and_always_one(asked, limit_gib, there_gib, count, may_take_gib):
    places = places_of(Worker(studies_at_once=asked, memory_limit_gib=limit_gib), there_gib)
    assert (places.count, places.limit_gib) == (count, may_take_gib)


@pytest.mark.parametrize(("asked", "there_gib", "words"), [
    (2, 32, "enough for 2 at once"), (4, 24, "2 at once are analysed"), (1, 6, "more than 5.5 GiB is ended")])
def test_the_check_says_what_follows_from_the_memory(asked, there_gib, words):
    rules = Worker(studies_at_once=asked, memory_limit_gib=8)
    assert words in sentence_of(rules, places_of(rules, there_gib))


def _group(root, lines, limits):
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(lines)
    for name, value in limits.items():
        (root / "sys/fs/cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "sys/fs/cgroup" / name).write_text(f"{value}\n")


@pytest.mark.parametrize(("lines", "limits"), [
    ("0::/system.slice/betz.service\n", {"system.slice/betz.service/memory.max": "max", "system.slice/memory.max": GIB // 4}),
    ("0::/\n", {"memory.max": GIB // 4}),
    ("9:name=systemd:/\n4:memory:/docker/ab\n0::/\n", {"memory/docker/ab/memory.limit_in_bytes": GIB // 4}),
    ("4:memory:/docker/of-the-host\n", {"memory/memory.limit_in_bytes": GIB // 4}),
])
def test_the_limit_of_a_control_group_counts(tmp_path, lines, limits):
    _group(tmp_path, lines, limits)
    assert memory_gib(tmp_path) == 0.25


def test_without_a_limit_the_memory_that_is_built_in_counts(tmp_path):
    built_in_gib = psutil.virtual_memory().total / GIB
    assert memory_gib(tmp_path) == built_in_gib
    _group(tmp_path, "0::/a\n4:memory:/b\n", {"a/memory.max": "max", "memory/b/memory.limit_in_bytes": 9223372036854771712})
    assert memory_gib(tmp_path) == built_in_gib

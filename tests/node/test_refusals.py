"""A thousand knocks at the door are a few lines in the log, and none of them is forgotten."""

from __future__ import annotations

from node.refusals import EVERY_S, Refusals


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_first_is_said_at_once_and_its_repetitions_once_a_minute(events):
    clock = Clock()
    refusals = Refusals(clock)
    for _ in range(1000):
        refusals.note("association_rejected", "192.0.2.7", "not on the list", calling="WRONG")
        refusals.tell_due()
    assert [(one["calling"], one.get("times")) for one in events()] == [("WRONG", None)]
    clock.now = EVERY_S
    refusals.tell_due()
    refusals.tell_due()
    assert [(one["address"], one["reason"], one.get("times")) for one in events()[1:]] == [("192.0.2.7", "not on the list", 999)]


def test_what_stopped_is_forgotten_and_said_at_once_when_it_comes_again(events):
    clock = Clock()
    refusals = Refusals(clock)
    for clock.now in (0.0, EVERY_S, 2 * EVERY_S):
        refusals.note("connection_refused", "192.0.2.7", "it asked for nothing")
        refusals.tell_due()
    clock.now = 4 * EVERY_S
    refusals.tell_due()
    refusals.note("connection_refused", "192.0.2.7", "it asked for nothing")
    assert sum(one.get("times", 1) for one in events()) == 4


def test_other_addresses_and_reasons_are_told_apart(events):
    refusals = Refusals(Clock())
    for address, reason in (("a", "x"), ("b", "x"), ("a", "y"), ("a", "x")):
        refusals.note("connection_refused", address, reason)
    assert [(one["address"], one["reason"]) for one in events()] == [("a", "x"), ("b", "x"), ("a", "y")]


def test_reasons_and_addresses_without_end_fill_neither_log_nor_memory(events):
    refusals = Refusals(Clock())
    for number in range(5000):
        refusals.note("connection_refused", f"2001:db8::{number:x}", f"its request claims {number} bytes")
    assert len(events()) == len(refusals._known) == 1001
    refusals.tell_due(everything=True)
    assert sum(one.get("times", 1) for one in events()) == 5000

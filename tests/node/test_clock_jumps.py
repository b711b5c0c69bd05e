from __future__ import annotations

import pytest

from node.clock_jumps import ClockJumps
from node.journal import Journal
from node.outbox import Outbox
from node.records import PARKED, PENDING, READY, RECEIVING
from node.sender import Sender
from node.settings import Destination, Settings, Storage
from node.settings import Sender as Rules
from node.spool import Spool

STUDY, HOUR_S, YEARS_S = "1.2.3", 3600.0, 56 * 365 * 86400.0


class Clocks:
    """The wall clock, which can be put, and one that cannot."""

    def __init__(self):
        self.wall, self.steady = 2e9, 5.0

    def go(self, seconds):
        self.wall += seconds
        self.steady += seconds


@pytest.fixture
def site(tmp_path):
    """A result that waits for a destination that is away, and was tried for an hour."""
    clocks = Clocks()
    journal = Journal(tmp_path / "j.sqlite", lambda: clocks.wall)
    jumps = ClockJumps(journal, lambda: clocks.steady)
    peer = Destination("pacs", "PACS", "127.0.0.1", 11113)
    settings = Settings(storage=Storage(tmp_path), destination=(peer,), sender=Rules(give_up_h=2.0, retry_maximum_s=HOUR_S, timeout_s=1.0))
    sender = Sender(settings, peer, journal, Spool(tmp_path), Outbox(tmp_path), lambda: clocks.wall, lambda: 0.0, follow=jumps.follow)
    journal.stored(STUDY)
    journal.move(STUDY, (RECEIVING,), READY)
    journal.start(STUDY)
    journal.answer(STUDY, "v", "x", ("a.dcm",), ("pacs",))
    row, = journal.due("pacs")
    journal.sent(row, PENDING, "away", clocks.wall + HOUR_S)
    clocks.go(HOUR_S / 2)
    yield clocks, journal, sender, jumps
    journal.close()


@pytest.mark.parametrize("jump_s", [YEARS_S, 86400.0, -86400.0, -YEARS_S])
def test_a_clock_that_is_put_gives_nothing_up_and_changes_no_wait(site, jump_s, capfd):
    clocks, journal, sender, _ = site
    clocks.wall += jump_s
    assert sender.step() == 0, "it is not due yet"
    row, = journal.results_of(STUDY)
    assert row.state == PENDING and (row.first_try, row.next_try) == (2e9 + jump_s, 2e9 + jump_s + HOUR_S)
    assert '"clock_jumped"' in capfd.readouterr().err and journal.study(STUDY).since == 2e9 + jump_s
    clocks.go(HOUR_S / 2)
    assert len(journal.due("pacs")) == 1


def test_what_truly_waited_is_given_up_all_the_same(site):
    clocks, journal, sender, _ = site
    clocks.wall += YEARS_S
    sender.follow()
    clocks.go(3 * HOUR_S)
    row, = journal.due("pacs")
    sender.delivery.again(row, "away")
    assert journal.results_of(STUDY)[0].state == PARKED


def test_what_ntp_does_every_day_moves_nothing(site):
    clocks, journal, _, jumps = site
    clocks.wall += 2.0
    assert jumps.follow() == 0.0 and journal.results_of(STUDY)[0].first_try == 2e9

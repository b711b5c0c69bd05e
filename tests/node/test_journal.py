from __future__ import annotations

import os
import sqlite3

import pytest

from node.errors import BetzError, JournalError
from node.journal import Journal
from node.records import ANSWERED, CANCELLED, DELIVERED, FAILED, PARKED, PENDING, READY, RECEIVING, SUPERSEDED
from node.spool import Spool

STUDY = "1.2.3"


@pytest.fixture
def clock():
    class Clock:
        now = 1000.0

        def __call__(self):
            return self.now
    return Clock()


@pytest.fixture
def journal(tmp_path, clock):
    journal = Journal(tmp_path / "journal.sqlite", clock)
    yield journal
    journal.close()


def _answered(journal, files=("a.dcm", "b.dcm"), peers=("pacs", "archive"), version="v1", answer="x1", failure=""):
    journal.stored(STUDY)
    journal.move(STUDY, (RECEIVING,), READY)
    assert journal.start(STUDY)
    assert journal.answer(STUDY, version, answer, files, peers, failure)


def _state(journal):
    return journal.study(STUDY).state


def test_a_study_goes_from_receiving_to_delivered(journal):
    _answered(journal)
    assert _state(journal) == ANSWERED and journal.study(STUDY).version == "v1"
    for peer in ("pacs", "archive"):
        for row in journal.due(peer):
            journal.sent(row, DELIVERED)
    assert _state(journal) == DELIVERED and journal.due("pacs") == []


def test_one_refused_object_parks_the_study_and_resend_takes_it_up(journal):
    _answered(journal, peers=("pacs",))
    first, second = journal.due("pacs")
    journal.sent(first, PARKED, "no such class")
    assert _state(journal) == ANSWERED
    journal.sent(second, DELIVERED)
    assert _state(journal) == PARKED and journal.study(STUDY).reason == "no such class"
    assert journal.resend(STUDY) == 1 and _state(journal) == ANSWERED
    assert [row.file for row in journal.due("pacs")] == ["a.dcm"]


def test_a_new_instance_makes_an_answered_study_receiving_and_its_new_answer_supersedes(journal):
    _answered(journal, peers=("pacs",))
    journal.sent(journal.due("pacs")[0], DELIVERED)
    journal.stored(STUDY)
    assert _state(journal) == RECEIVING
    _answered(journal, peers=("pacs",), version="v2", answer="x2")
    assert sorted((row.answer, row.state) for row in journal.results_of(STUDY)) == [
        ("x1", DELIVERED), ("x1", SUPERSEDED), ("x2", PENDING), ("x2", PENDING)]


def test_the_same_answer_again_is_not_sent_twice(journal):
    _answered(journal, peers=("pacs",))
    for row in journal.due("pacs"):
        journal.sent(row, DELIVERED)
    journal.stored(STUDY)
    _answered(journal, peers=("pacs",))
    assert journal.due("pacs") == [] and _state(journal) == DELIVERED


def test_without_a_destination_the_answer_stays_and_says_so(journal):
    _answered(journal, peers=())
    assert _state(journal) == ANSWERED and "no destination" in journal.study(STUDY).reason


def test_a_failed_study_stays_failed_when_its_answer_is_delivered(journal):
    _answered(journal, peers=("pacs",), failure="took too long")
    for row in journal.due("pacs"):
        journal.sent(row, DELIVERED)
    assert _state(journal) == FAILED and journal.study(STUDY).reason == "took too long"


def test_a_cancelled_study_is_left_alone(journal):
    _answered(journal)
    journal.cancel(STUDY)
    journal.stored(STUDY)
    assert _state(journal) == CANCELLED and journal.due("pacs") == []


def test_an_answer_after_a_cancel_changes_nothing(journal):
    journal.stored(STUDY)
    journal.move(STUDY, (RECEIVING,), READY)
    journal.start(STUDY)
    journal.cancel(STUDY)
    assert not journal.answer(STUDY, "v", "x", ("a.dcm",), ("pacs",)) and journal.results_of(STUDY) == []


def test_only_one_starts_a_study(journal):
    journal.stored(STUDY)
    journal.move(STUDY, (RECEIVING,), READY)
    assert journal.start(STUDY) and not journal.start(STUDY)


def test_what_waits_is_not_due_before_its_time(journal, clock):
    _answered(journal, files=("a.dcm",), peers=("pacs",))
    journal.sent(journal.due("pacs")[0], PENDING, "down", next_try=1010.0)
    assert journal.due("pacs") == [] and journal.waiting() == {"pacs": 1}
    clock.now = 1010.0
    assert journal.due("pacs")[0].attempts == 1 and journal.due("pacs")[0].first_try == 1000.0


def _spooled(tmp_path, study=STUDY, name="1.dcm"):
    spool = Spool(tmp_path)
    (spool.studies_folder / study).mkdir(exist_ok=True)
    (spool.studies_folder / study / name).write_bytes(b"")
    return spool


def test_after_a_crash_what_ran_is_ready_and_what_was_stored_is_known(tmp_path, clock):
    spool = _spooled(tmp_path)
    _spooled(tmp_path, "1.2.4")
    before = Journal(tmp_path / "journal.sqlite", clock)
    before.stored(STUDY)
    before.move(STUDY, (RECEIVING,), READY)
    before.start(STUDY)  # and now the power fails
    after = Journal(tmp_path / "journal.sqlite", clock)
    said = after.recover(spool)
    assert [(row.study, row.state, row.attempts) for row in sorted(after.all(), key=lambda row: row.study)] == [
        (STUDY, READY, 1), ("1.2.4", RECEIVING, 0)]
    assert len(said) == 2 and after.recover(spool) == []


@pytest.mark.parametrize("after_s", [5, -86400, 86400])
def test_an_instance_that_the_journal_missed_is_found_whatever_the_clock_says(tmp_path, journal, clock, after_s):
    spool = _spooled(tmp_path)
    _answered(journal, version=spool.version(STUDY))
    assert journal.recover(spool) == []
    _spooled(tmp_path, name="2.dcm")
    os.utime(spool.studies_folder / STUDY, (clock.now + after_s, clock.now + after_s))
    assert len(journal.recover(spool)) == 1 and _state(journal) == RECEIVING


def test_a_node_that_was_killed_after_the_last_object_was_sent_finds_the_study_delivered(tmp_path, journal):
    """The outcome of the last object and the state of its study are two transactions; found by `benchmarks/kill.py`."""
    _answered(journal)
    with journal.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE results SET state = 'delivered'")
    assert _state(journal) == ANSWERED
    journal.recover(Spool(tmp_path))
    assert _state(journal) == DELIVERED


def test_a_study_is_found_by_the_end_of_its_uid(journal):
    for study in ("1.2.30", "1.2.31", "1.9.31"):
        journal.stored(study)
    assert journal.find("2.30").study == "1.2.30" and journal.find("1.2.31").study == "1.2.31"
    for text, words in (("31", "2 studies"), ("7.7", "No study")):
        with pytest.raises(BetzError, match=words):
            journal.find(text)


def test_what_sqlite_says_of_the_disk_is_a_sentence(tmp_path):
    with pytest.raises(JournalError, match=r"unable to open database file.*nothing is lost"):
        Journal(tmp_path / "not there" / "journal.sqlite")


def test_a_folder_without_an_instance_is_no_study(tmp_path, journal):
    """A disk that is full between the two steps leaves one behind."""
    (Spool(tmp_path).studies_folder / STUDY).mkdir()
    assert journal.recover(Spool(tmp_path)) == [] and journal.study(STUDY) is None


def test_the_file_is_a_durable_wal(tmp_path, journal):
    journal.stored(STUDY)
    assert sqlite3.connect(tmp_path / "journal.sqlite").execute("PRAGMA journal_mode").fetchone() == ("wal",)
    with journal.engine.connect() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1

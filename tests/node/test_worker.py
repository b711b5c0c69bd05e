from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from node.child import Limits, run_child
from node.errors import CrashError, JobError
from node.journal import Journal
from node.outbox import Outbox
from node.quiet import Quiet
from node.records import ANSWERED, CANCELLED, DELIVERED, FAILED, PARKED, PENDING, READY, RECEIVING, RUNNING
from node.settings import Destination, Settings, Storage
from node.spool import Spool
from node.worker import STARTS_AT_MOST, Worker, in_child, pause_s

STUDY = "1.2.3"
PEER = Destination("pacs", "PACS", "127.0.0.1", 11113)


class Site:
    """A node's storage with one study, and a worker whose executor is a function."""

    def __init__(self, folder, submit=None, answer_failure=None):
        self.now = time.time()
        self.settings = Settings(storage=Storage(folder, 0.0), destination=(PEER,))
        self.journal, self.spool, self.outbox = Journal(folder / "j.sqlite", lambda: self.now), Spool(folder), Outbox(folder)
        self.worker = Worker(self.settings, self.journal, self.spool, self.outbox, submit or self.good, answer_failure or self.not_analysed,
                             lambda: self.now)
        self.runs = []
        self.arrive("1")
        self.worker.find_ready()

    def arrive(self, name):
        (self.spool.studies_folder / STUDY).mkdir(exist_ok=True)
        (self.spool.studies_folder / STUDY / f"{name}.dcm").write_bytes(b"image")
        os.utime(self.spool.studies_folder / STUDY, (self.now, self.now))
        self.journal.stored(STUDY)

    def good(self, study, out, earlier, stopped):
        self.runs.append(sorted(path.name for path in study.iterdir()))
        self.earlier = earlier
        out.mkdir()
        (out / "report.dcm").write_text(f"{self.runs[-1]}")

    def not_analysed(self, study, out, earlier, reason, stopped):
        out.mkdir()
        (out / "failed.dcm").write_text(reason)

    def go(self):
        """Let the quiet time pass, then analyse what is ready."""
        self.worker.find_ready()
        self.now += 31
        self.worker.find_ready()
        return self.turn()

    def turn(self):
        """Analyse what has its turn, now or after the pause of an attempt that failed."""
        for wait_s in (0, pause_s(STARTS_AT_MOST)):
            self.now += wait_s
            if taken := self.worker.take():
                for study in taken:
                    self.worker.run(study)
                break
        return self.journal.study(STUDY)

    def objects(self):
        return [self.outbox.path_of(row.study, row.answer, row.file).read_text() for row in self.journal.results_of(STUDY, PENDING)]


def _raising(reason):
    def submit(study, out, earlier, stopped):
        raise JobError(reason)
    return submit


def test_a_study_waits_until_it_is_quiet(tmp_path):
    site = Site(tmp_path)
    site.now += 29
    assert site.worker.find_ready() == []
    site.arrive("2")
    site.now += 29
    assert site.worker.find_ready() == []
    assert site.go().state == ANSWERED and site.runs == [["1.dcm", "2.dcm"]]
    assert site.objects() == ["['1.dcm', '2.dcm']"] and list(site.worker.work.iterdir()) == []


@pytest.mark.parametrize("jump_s", [86400, -86400, -1e9])
def test_a_clock_that_jumps_ends_no_quiet_time_and_prolongs_none(tmp_path, jump_s):
    """The clock of the file system and the journal jumps; the worker's own goes on."""
    site = Site(tmp_path)
    worker_now, site.worker.quiet = [0.0], Quiet(lambda: worker_now[0])
    site.worker.find_ready()
    site.now += jump_s
    worker_now[0] = 29
    assert site.worker.find_ready() == []
    site.arrive("2")
    assert site.worker.find_ready() == []
    worker_now[0] += 29
    assert site.worker.find_ready() == []
    worker_now[0] += 2
    assert site.worker.find_ready() == [STUDY]


def test_a_late_instance_makes_a_new_version(tmp_path):
    site = Site(tmp_path)
    first = site.go()
    site.arrive("2")
    second = site.go()
    assert second.state == ANSWERED and second.version != first.version and site.objects() == ["['1.dcm', '2.dcm']"]


def test_an_answer_names_the_one_that_a_reader_may_have_seen(tmp_path):
    site = Site(tmp_path)
    first = site.go()
    assert site.earlier is None
    site.arrive("2")
    site.go()
    assert site.earlier is None  # the first answer never left
    (row,) = site.journal.results_of(STUDY, PENDING)
    site.journal.sent(row, DELIVERED)
    site.arrive("3")
    site.go()
    assert site.earlier == site.outbox.path_of(STUDY, row.answer) and row.answer != first.answer


def test_an_answer_names_one_that_may_have_arrived(tmp_path):
    """The node was killed, or the connection lost, between the archive's C-STORE and what it said of it."""
    site = Site(tmp_path)
    first = site.go()
    site.journal.offer(site.journal.results_of(STUDY, PENDING)[0])
    for name in "23":  # the second answer never leaves
        site.arrive(name)
        site.go()
        assert site.earlier == site.outbox.path_of(STUDY, first.answer)


def test_an_answer_that_was_refused_for_good_is_not_named(tmp_path):
    site = Site(tmp_path)
    site.go()
    (row,) = site.journal.results_of(STUDY, PENDING)
    site.journal.offer(row)
    site.journal.sent(row, PARKED, "refused")
    site.arrive("2")
    site.go()
    assert site.earlier is None


def test_what_a_killed_node_left_of_an_analysis_is_swept(tmp_path):
    """SIGKILL between the outbox and the journal: nobody was told of that answer, and the study is analysed again."""
    site = Site(tmp_path)
    site.go()
    known = site.journal.study(STUDY).answer
    site.now += 60
    site.arrive("2")
    site.worker.find_ready()
    site.now += 31
    site.worker.find_ready()
    assert site.journal.start(STUDY)
    for name, when in (("older", site.now - 500), ("unknown", site.now + 1)):
        place = site.outbox.path_of(STUDY, name)
        place.mkdir()
        os.utime(place, (when, when))
    (site.worker.work / STUDY / "out").mkdir(parents=True)
    (site.worker.work / "left.txt").write_text("a temporary file")
    site.worker.sweep()
    assert {path.name for path in (tmp_path / "outbox" / STUDY).iterdir()} == {known, "older"}
    assert not list(site.worker.work.iterdir())


def test_an_instance_during_the_run_makes_the_result_void(tmp_path):
    site = Site(tmp_path)

    def submit(study, out, earlier, stopped):
        site.good(study, out, earlier, stopped)
        if len(site.runs) == 1:
            site.arrive("2")
    site.worker.submit = submit
    assert site.go().state == RECEIVING and site.objects() == []
    assert site.go().state == ANSWERED and site.objects() == ["['1.dcm', '2.dcm']"]


def test_a_failure_is_answered_with_its_reason(tmp_path):
    row = (site := Site(tmp_path, _raising("the analysis took longer than 1800 s"))).go()
    assert (row.state, row.reason) == (FAILED, "the analysis took longer than 1800 s")
    assert site.objects() == ["the analysis took longer than 1800 s"]


def test_a_failure_whose_answer_fails_is_not_silent(tmp_path):
    def no_answer(study, out, earlier, reason, stopped):
        raise JobError("nothing can be read")
    row = Site(tmp_path, _raising("crash"), no_answer).go()
    assert row.state == FAILED and "crash" in row.reason and "nothing can be read" in row.reason and row.version


def test_an_analysis_without_an_object_is_a_failure(tmp_path):
    row = Site(tmp_path, lambda study, out, earlier, stopped: out.mkdir()).go()
    assert row.state == FAILED and "without an object" in row.reason


def test_a_study_that_keeps_stopping_the_node_is_given_up(tmp_path):
    site = Site(tmp_path)
    site.now += 31
    site.worker.find_ready()
    for _ in range(STARTS_AT_MOST):
        site.journal.start(STUDY)
        site.journal.recover(site.spool)
    row = site.go()
    assert row.state == FAILED and "stopped 3 times" in row.reason and site.runs == []


def test_a_node_that_cannot_keep_answers_gives_up_in_the_end(tmp_path):
    site = Site(tmp_path)

    def keep(study, out):
        raise OSError(28, "No space left on device")
    site.outbox.keep = keep
    states = [site.go().state for _ in range(STARTS_AT_MOST + 1)]
    assert states == [READY] * STARTS_AT_MOST + [FAILED]


def _dying(study, out, earlier, stopped):
    raise CrashError("the analysis was ended by signal 11 (SIGSEGV)")


def test_a_study_that_kills_its_process_is_parked_after_three_attempts_and_answered(tmp_path):
    site = Site(tmp_path, _dying)
    rows = [site.go()] + [site.turn() for _ in range(STARTS_AT_MOST - 1)]
    assert [(row.state, row.attempts) for row in rows] == [(READY, 1), (READY, 2), (FAILED, 0)]
    assert {row.reason for row in rows[:2]} == {"the analysis was ended by signal 11 (SIGSEGV)"}
    assert rows[2].reason == "the analysis was ended by signal 11 (SIGSEGV), 3 times" and site.objects() == [rows[2].reason]


def test_attempts_have_a_pause_in_between_and_others_go_before(tmp_path):
    site = Site(tmp_path, _dying)
    site.go()
    assert site.worker.take() == [], "it rests"
    site.journal.stored("1.2.4")
    site.now += pause_s(1)
    site.journal.move("1.2.4", (RECEIVING,), READY)
    assert site.worker.take() == ["1.2.4"], "it became ready later, and was never tried"
    site.worker._running.clear()
    site.journal.cancel("1.2.4")
    assert site.worker.take() == [STUDY]


def test_a_retry_ends_the_pause_but_a_new_crash_begins_another(tmp_path):
    site = Site(tmp_path, _dying)
    site.go()
    assert site.journal.move(STUDY, (READY,), READY, "asked for by a person", attempts=0)  # what `betz retry` does
    assert site.worker.take() == [STUDY]
    site.worker.run(STUDY)
    assert site.journal.study(STUDY).attempts == 1 and site.worker.take() == []


def test_what_a_person_put_first_goes_first_and_what_has_an_answer_last(tmp_path):
    site = Site(tmp_path)
    site.go()
    for study in ("1.2.4", "1.2.5"):
        site.journal.stored(study)
        site.journal.move(study, (RECEIVING,), READY)
        site.now += 1
    site.journal.move(STUDY, (ANSWERED,), READY)
    site.journal.hurry("1.2.5")
    order = []
    for _ in range(3):
        order += site.worker.take()
        site.worker._running.clear()
        site.journal.cancel(order[-1])
    assert order == ["1.2.5", "1.2.4", STUDY] and site.journal.urgent() == set()


def test_without_room_nothing_starts_and_it_goes_on_by_itself(tmp_path, capfd):
    site = Site(tmp_path)
    site.spool.minimum_free_bytes = 2**60
    assert [site.go().state, site.turn().state] == [READY, READY] and site.runs == []
    assert capfd.readouterr().err.count("worker_waits") == 1
    site.spool.minimum_free_bytes = 0
    assert site.turn().state == ANSWERED


def test_an_analysis_for_which_the_room_was_too_small_is_tried_again(tmp_path):
    def submit(study, out, earlier, stopped):
        site.spool.minimum_free_bytes = 2**60
        raise JobError("[Errno 28] No space left on device")
    site = Site(tmp_path, submit)
    row = site.go()
    assert (row.state, row.reason, row.attempts) == (READY, "there was no room on the disk", 1)
    site.spool.minimum_free_bytes, site.worker.submit = 0, site.good
    assert site.turn().state == ANSWERED


def test_an_answer_that_cannot_be_kept_for_lack_of_room_is_made_again_without_end(tmp_path):
    site = Site(tmp_path)
    keep = site.outbox.keep

    def full(study, out):
        site.spool.minimum_free_bytes = 2**60
        raise OSError(28, "No space left on device")
    for _ in range(STARTS_AT_MOST + 2):
        site.outbox.keep = full
        row = site.go()
        assert row.state == READY and row.attempts == 0 and "the free space is below the minimum" in row.reason
        site.spool.minimum_free_bytes = 0
    site.outbox.keep = keep
    assert site.turn().state == ANSWERED


def test_a_cancelled_run_is_stopped_and_stays_cancelled(tmp_path):
    site = Site(tmp_path)

    def submit(study, out, earlier, stopped):
        site.journal.cancel(STUDY)
        assert stopped()
        raise JobError("the analysis was stopped")
    site.worker.submit = submit
    assert site.go().state == CANCELLED and site.objects() == []


def test_a_cancel_from_another_process_ends_the_one_of_the_study(tmp_path):
    def submit(study, out, earlier, stopped):
        run_child(_python("import time; time.sleep(600)"), Limits(600, 4.0), tmp_path / "log", stopped)
    site = Site(tmp_path, submit)
    thread = threading.Thread(target=site.go, daemon=True)
    thread.start()
    person, deadline = Journal(tmp_path / "j.sqlite"), time.monotonic() + 30
    while person.study(STUDY).state != RUNNING:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    person.cancel(STUDY)
    thread.join(30)
    assert not thread.is_alive() and person.study(STUDY).state == CANCELLED and site.objects() == []


def test_no_more_studies_at_once_than_allowed(tmp_path):
    site = Site(tmp_path)
    for study in ("1.2.4", "1.2.5"):
        site.journal.stored(study)
        site.journal.move(study, (RECEIVING,), READY)
    assert len(site.worker.take()) == 1 and site.worker.take() == []


def _python(code):
    return [sys.executable, "-c", code]


def test_a_child_that_sleeps_is_ended_with_its_family(tmp_path):
    code = ("import subprocess, sys, time\n"
            "one = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)\n"
            "print(one.pid, file=sys.stderr, flush=True); time.sleep(60)")
    with pytest.raises(JobError, match=r"longer than 1.5 s"):
        run_child(_python(code), Limits(1.5, 4.0), tmp_path / "log")
    grandchild = int((tmp_path / "log").read_text())
    _wait_for_the_end(grandchild)


def _wait_for_the_end(pid):
    """The kernel takes a moment to end what was killed."""
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_greedy_child_is_ended(tmp_path):
    code = "import time\nheld = []\nwhile True: held.append(bytearray(b'x') * 2**24); time.sleep(.01)"
    with pytest.raises(JobError, match=r"more than 0.2 GiB"):
        run_child(_python(code), Limits(60, 0.2), tmp_path / "log")


def test_a_child_that_a_signal_ended_may_have_another_start(tmp_path):
    with pytest.raises(CrashError, match="SIGKILL"):
        run_child(_python("import os, signal; os.kill(os.getpid(), signal.SIGKILL)"), Limits(60, 4.0), tmp_path / "log")
    with pytest.raises(JobError) as error:
        run_child(_python("import sys; sys.exit(137)"), Limits(60, 4.0), tmp_path / "log")
    assert not isinstance(error.value, CrashError)


@pytest.mark.parametrize(("code", "reason"), [
    ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal 11 (SIGSEGV)"),
    ("import sys; print('  3 s  reading', file=sys.stderr); sys.exit('betz: The folder is empty.')", "The folder is empty."),
    ("import sys; sys.exit(3)", "status 3"),
])
def test_the_end_of_a_child_is_a_reason(tmp_path, code, reason):
    with pytest.raises(JobError) as error:
        run_child(_python(code), Limits(60, 4.0), tmp_path / "log")
    assert reason in str(error.value)


def test_a_good_child_is_silent_and_its_log_is_bounded(tmp_path):
    run_child(_python("import sys; sys.stderr.write('x' * 10**6 + 'end')"), Limits(60, 4.0), tmp_path / "log")
    said = (tmp_path / "log").read_text()
    assert len(said) == 65536 and said.endswith("end")


def test_a_child_is_stopped_when_asked(tmp_path):
    with pytest.raises(JobError, match="was stopped"):
        run_child(_python("import time; time.sleep(60)"), Limits(60, 4.0), tmp_path / "log", lambda: True)


def test_temporary_files_lie_where_the_node_clears_up(tmp_path):
    code = "import sys, tempfile; sys.stderr.write(tempfile.mkdtemp())"
    run_child(_python(code), Limits(60, 4.0), tmp_path / "log", scratch=tmp_path)
    assert Path((tmp_path / "log").read_text()).parent == tmp_path


def test_a_child_dies_with_its_node(tmp_path):
    child = "import time\nfrom node.child import die_with_parent\ndie_with_parent()\nprint('up', flush=True)\ntime.sleep(60)"
    node = ("import os, subprocess, sys, time\nos.environ['BETZ_PARENT'] = str(os.getpid())\n"
            f"one = subprocess.Popen([sys.executable, '-c', {child!r}], stdout=subprocess.PIPE, text=True)\n"
            "one.stdout.readline(); print(one.pid, flush=True); time.sleep(60)")
    with subprocess.Popen(_python(node), stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    _wait_for_the_end(pid)


def test_the_command_in_a_child_gives_a_sentence(tmp_path):
    """The executor of this machine, on a folder that is no study."""
    submit, _ = in_child(Settings(), tmp_path)
    with pytest.raises(JobError) as error:
        submit(tmp_path / "nothing", tmp_path / "out", None, lambda: False)
    assert "is not a folder" in str(error.value)

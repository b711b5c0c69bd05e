"""A study waits for what is missing, says so, and at most until its deadline; what comes late makes a new version, a repeat nothing."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pynetdicom import AE, evt

from node.check import checks
from node.errors import JobError
from node.inventory import main, read, taken, write
from node.journal import Journal
from node.outbox import Outbox
from node.query import STUDY_ROOT_FIND
from node.readiness import ASK_AGAIN_S, Readiness, inventory_file, look_in_child, sentences
from node.records import ANSWERED, DELIVERED, PENDING, READY, RECEIVING, RUNNING
from node.service import JOURNAL
from node.settings import Destination, Settings, Storage, StudyRules
from node.settings_file import read_settings
from node.spool import Spool
from node.status import purge, retry, status_lines, why_lines
from node.worker import Worker, in_child

PACS = Destination("pacs", "PACS", "127.0.0.1", 11113)

T1 = {"ScanningSequence": "GR", "MRAcquisitionType": "3D", "SequenceVariant": ["SK", "SP", "MP"], "RepetitionTime": 2300, "EchoTime": 2.98,
      "InversionTime": 900, "FlipAngle": 9}
FLAIR = {"ScanningSequence": ["SE", "IR"], "MRAcquisitionType": "2D", "SequenceVariant": "SK", "RepetitionTime": 9000, "EchoTime": 81,
         "InversionTime": 2500, "FlipAngle": 150}
LOST = [9, 10]
GAP = "series 1 (t1): 2 of 24 slices are missing between the others"


def in_place(folder: Path, file: Path, stopped) -> None:
    """The look of a node, in this process."""
    write(taken(folder, read(file)), file)


class Site:
    """A node's storage, its worker and its readiness, with a clock that is moved; the executor notes which images it saw."""

    def __init__(self, scanner, folder, look=in_place, peers=(PACS,), **rules):
        self.scanner, self.folder, self.look, self.now, self.runs = scanner, folder, look, time.time() // 1 - 100_000, []
        self.settings = Settings(study=StudyRules(**rules), storage=Storage(folder, 0.0), destination=peers)
        self.spool, self.outbox = Spool(folder), Outbox(folder)
        self.study, self.during = scanner.STUDY, lambda: None
        self.start()

    def start(self):
        """A node starts, on what an earlier one left."""
        self.journal = Journal(self.folder / JOURNAL, lambda: self.now)
        self.readiness = Readiness(self.settings, self.journal, self.spool, self.outbox, self.look, lambda: self.now, lambda: self.now)
        self.worker = Worker(self.settings, self.journal, self.spool, self.outbox, self.submit, self.submit, lambda: self.now,
                             self.readiness.allows)
        self.worker.recover()
        self.pass_s(0)

    def submit(self, study, out, earlier, *more):
        names = sorted(path.name for path in study.iterdir())
        self.runs.append((len(names), self.readiness.missing(self.study), earlier))
        out.mkdir()
        (out / "report.dcm").write_text(f"{names} {self.runs[-1][1]}")
        self.during()

    def arrive(self, tags, number, keep=lambda index: True, slices=24):
        """A series comes by the way of the listener: repeats are taken as such."""
        headers = self.scanner.stack(self.scanner.header(**tags, Rows=32, Columns=32), slices, 5.0, 7.5)
        for index, one in enumerate(self.scanner.series(headers, number).instances):
            if keep(index):
                self._store(one.header)
        self.pass_s(0)

    def _store(self, header):
        header.PixelData = bytes(2 * 32 * 32)
        path = self.scanner.save(header, self.folder / "sent.dcm")
        offset = 144 + int.from_bytes(path.read_bytes()[140:144], "little")
        part = self.spool.begin(header.SOPClassUID, header.SOPInstanceUID, "1.2.840.10008.1.2.1")
        part.write(path.read_bytes()[offset:])
        if self.spool.commit(part).placed.name == "NEW":
            folder = self.spool.folder_of(self.study)
            os.utime(folder, (self.now, self.now + len(list(folder.iterdir())) / 1000))
            self.journal.stored(self.study)

    def pass_s(self, seconds):
        """Time passes; then the node does what is due, once to look and once to work."""
        self.now += seconds
        self.readiness.step()
        self.worker.find_ready()
        for study in self.worker.take():
            self.worker.run(study)
        return self.journal.study(self.study)

    def wait(self):
        return [str(one) for one in sentences(self.journal.wait_of(self.study))]

    def deliver(self):
        for row in self.journal.results_of(self.study, PENDING):
            self.journal.sent(row, DELIVERED)
        return self.journal.study(self.study)


def test_a_whole_study_waits_for_quiet_only(scanner, tmp_path):
    site = Site(scanner, tmp_path)
    site.arrive(T1, 1)
    assert site.pass_s(29).state == RECEIVING and site.pass_s(1).state == ANSWERED
    assert site.runs == [(24, "", None)]


def test_a_study_with_a_gap_waits_until_it_is_filled(scanner, tmp_path):
    site = Site(scanner, tmp_path)
    site.arrive(T1, 1, lambda index: index not in LOST)
    assert site.pass_s(600).state == RECEIVING and site.wait() == [GAP]
    site.arrive(T1, 1, lambda index: index in LOST)
    assert site.pass_s(31).state == ANSWERED and site.runs == [(24, "", None)]


def test_a_gap_that_is_never_filled_costs_the_deadline(scanner, tmp_path):
    site = Site(scanner, tmp_path, deadline_s=1800)
    site.arrive(T1, 1, lambda index: index not in LOST)
    assert site.pass_s(1799).state == RECEIVING and site.pass_s(1).state == ANSWERED
    assert site.runs == [(22, f"The study was analysed before all of it had come: {GAP}.", None)]


def test_at_the_deadline_what_still_comes_is_let_in(scanner, tmp_path):
    """The deadline ends the wait for evidence; a study that is being sent is not analysed in the middle."""
    site = Site(scanner, tmp_path, deadline_s=100)
    site.arrive(T1, 1, lambda index: index not in LOST)
    site.pass_s(90)
    site.arrive(FLAIR, 2, lambda index: index < 12)
    assert site.pass_s(20).state == RECEIVING and site.pass_s(11).state == ANSWERED


def test_without_a_deadline_nothing_but_quiet_is_waited_for(scanner, tmp_path):
    site = Site(scanner, tmp_path, look=lambda *_: pytest.fail("nobody needs a look"), deadline_s=0, expect=("flair",))
    site.arrive(T1, 1, lambda index: index not in LOST)
    assert site.pass_s(31).state == ANSWERED


def test_what_the_site_expects_is_waited_for(scanner, tmp_path):
    site = Site(scanner, tmp_path, expect=("t1", "flair or t2"))
    site.arrive(T1, 1)
    assert site.pass_s(600).state == RECEIVING and site.wait() == ["no series with the role flair or t2 has come"]
    site.arrive(FLAIR, 2)
    assert site.pass_s(31).state == ANSWERED


def test_the_wait_survives_a_restart(scanner, tmp_path):
    """The deadline counts from the first image, what was looked at is not read again, and quiet is waited for anew."""
    site = Site(scanner, tmp_path, deadline_s=1800)
    site.arrive(T1, 1, lambda index: index not in LOST)
    site.pass_s(900)
    site.look = lambda *_: pytest.fail("everything was looked at")
    site.start()
    assert site.pass_s(31).state == RECEIVING and site.wait() == [GAP]
    assert site.pass_s(900).state == ANSWERED


def test_a_clock_that_was_ahead_prolongs_the_wait_by_one_deadline_at_most(scanner, tmp_path):
    site = Site(scanner, tmp_path, deadline_s=100)
    site.arrive(T1, 1, lambda index: index not in LOST)
    site.now -= 10**8
    site.start()
    assert site.pass_s(99).state == RECEIVING and site.pass_s(1).state == ANSWERED


def test_a_look_that_fails_makes_nobody_wait(scanner, tmp_path, capfd):
    def look(folder, file, stopped):
        raise JobError("the analysis was ended by signal 11 (SIGSEGV)")
    site = Site(scanner, tmp_path, look)
    site.arrive(T1, 1, lambda index: index not in LOST)
    assert site.pass_s(31).state == ANSWERED and "look_failed" in capfd.readouterr().err
    idle = Site(scanner, tmp_path / "idle", lambda *_: None)
    idle.arrive(T1, 1)
    assert idle.pass_s(31).state == ANSWERED


def test_a_study_of_many_instances_is_looked_at_in_turns(scanner, tmp_path):
    def look(folder, file, stopped):
        write(taken(folder, read(file), at_most=10), file)
    site = Site(scanner, tmp_path, look)
    site.arrive(T1, 1)
    assert [site.pass_s(seconds).state for seconds in (31, 1, 1)] == [RECEIVING, RECEIVING, ANSWERED]


def test_a_repeat_of_the_whole_study_changes_nothing(scanner, tmp_path):
    """Neither while it waits nor after the answer."""
    site = Site(scanner, tmp_path)
    site.arrive(T1, 1, lambda index: index not in LOST)
    first = site.pass_s(600)
    site.arrive(T1, 1, lambda index: index not in LOST)
    assert site.pass_s(1).since == first.since and site.journal.study(site.study).state == RECEIVING
    site.arrive(T1, 1)
    answered = site.pass_s(31)
    assert answered.state == ANSWERED
    site.deliver()
    delivered = site.journal.study(site.study)
    site.arrive(T1, 1)
    assert site.pass_s(600) == delivered and len(site.runs) == 1


def test_a_late_series_during_the_run_makes_it_void(scanner, tmp_path):
    """The next run waits for the whole of the late series."""
    site = Site(scanner, tmp_path)
    site.arrive(T1, 1)
    site.during = lambda: site.arrive(FLAIR, 2, lambda index: index not in LOST) if len(site.runs) == 1 else None
    assert [site.pass_s(seconds).state for seconds in (31, 1, 600)] == [RECEIVING] * 3
    assert site.wait() == [GAP.replace("1 (t1)", "2 (flair)")] and site.journal.results_of(site.study) == []
    site.arrive(FLAIR, 2, lambda index: index in LOST)
    assert site.pass_s(31).state == ANSWERED and [run[0] for run in site.runs] == [24, 48]


def test_a_late_series_makes_a_new_version_that_names_its_predecessor(scanner, tmp_path):
    site = Site(scanner, tmp_path)
    site.arrive(T1, 1)
    site.pass_s(31)
    first = site.deliver()
    site.arrive(FLAIR, 2)
    assert site.journal.study(site.study).state == RECEIVING
    second = site.pass_s(31)
    assert second.state == ANSWERED and second.version != first.version and second.answer != first.answer
    assert site.runs == [(24, "", None), (48, "", site.outbox.path_of(site.study, first.answer))]


def test_a_late_slice_makes_a_new_version(scanner, tmp_path):
    """What was analysed at the deadline says what was missing; the answer with the late slices no longer does, and names the first."""
    site = Site(scanner, tmp_path, deadline_s=100)
    site.arrive(T1, 1, lambda index: index not in LOST)
    first = site.pass_s(100)
    assert first.state == ANSWERED
    site.deliver()
    site.arrive(T1, 1, lambda index: index == LOST[0])
    assert site.pass_s(31).state == RECEIVING and site.wait() == [GAP.replace("2 of", "1 of")]
    site.arrive(T1, 1, lambda index: index == LOST[1])
    assert site.pass_s(31).state == ANSWERED
    assert site.runs[1:] == [(24, "", site.outbox.path_of(site.study, first.answer))] and "missing" in site.runs[0][1]


def test_why_says_what_it_waits_for_since_when_and_until_when(scanner, tmp_path):
    site = Site(scanner, tmp_path, expect=("flair",), deadline_s=1800)
    site.arrive(T1, 1, lambda index: index not in LOST)
    assert "none came for 30 s" in " ".join(why_lines(site.settings, site.study))
    site.pass_s(60)
    since, until = (why_time(site.journal.study(site.study).since + seconds) for seconds in (0, 1800))
    said = " ".join(why_lines(site.settings, site.study))
    assert f"It waits since {since}, and at most until {until}" in said and GAP in said and "role flair" in said and "betz retry" in said
    (line,) = [line for line in status_lines(site.settings) if site.study in line]
    assert f"waits at most until {until}: {GAP}, and 1 more" in line
    site.arrive(FLAIR, 2, lambda index: index == 3)
    assert "It waits since" not in " ".join(why_lines(site.settings, site.study)), "the look is older than the last image"


def why_time(seconds):
    from node.status import _when

    return _when(seconds)


def test_why_says_how_often_it_was_tried(scanner, tmp_path):
    site = Site(scanner, tmp_path)
    site.arrive(T1, 1)
    site.journal.move(site.study, (RECEIVING,), READY)
    site.journal.start(site.study)
    site.journal.move(site.study, (RUNNING,), READY, "the node failed")
    assert "started 1 times without an answer" in " ".join(why_lines(site.settings, site.study))
    site.journal.start(site.study)
    assert "This is attempt number 2" in " ".join(why_lines(site.settings, site.study))


def test_a_person_may_end_the_wait(scanner, tmp_path):
    """What `betz why` advises is done; the report says what was missing all the same."""
    site = Site(scanner, tmp_path)
    site.arrive(T1, 1, lambda index: index not in LOST)
    site.pass_s(60)
    retry(site.settings, site.study)
    assert site.pass_s(0).state == ANSWERED and GAP in site.runs[0][1]


def test_what_is_removed_leaves_no_inventory(scanner, tmp_path):
    site = Site(scanner, tmp_path)
    site.arrive(T1, 1)
    site.pass_s(31)
    site.deliver()
    file = inventory_file(site.settings, site.study)
    assert file.exists()
    purge(site.settings, 0.0)
    assert list(file.parent.iterdir()) == [] and site.journal.wait_of(site.study) is None


class Archive:
    """A peer that answers C-FIND from a table {series: (modality, count)}; `counts`: it states NumberOfSeriesRelatedInstances."""

    def __init__(self, has, counts=True, find=True):
        self.has, self.counts, self.asked = has, counts, []
        ae = AE("PACS")
        for sop_class in ("1.2.840.10008.1.1", *[STUDY_ROOT_FIND][:find]):
            ae.add_supported_context(sop_class)
        self.server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, self._find)])
        self.peer = Destination("pacs", "PACS", "127.0.0.1", self.server.server_address[1])

    def _find(self, event):
        wanted = event.identifier
        self.asked.append(wanted.QueryRetrieveLevel)
        for series, (modality, count) in self.has.items():
            if wanted.QueryRetrieveLevel == "SERIES":
                yield 0xFF00, self._match(SeriesInstanceUID=series, Modality=modality,
                                          **({"NumberOfSeriesRelatedInstances": count} if self.counts else {}))
            elif wanted.SeriesInstanceUID == series:
                for number in range(count):
                    yield 0xFF00, self._match(SOPInstanceUID=f"{series}.{number}")

    def _match(self, **values):
        match = Dataset()
        for keyword, value in values.items():
            setattr(match, keyword, value)
        return match


@pytest.fixture
def archive():
    started = []

    def start(*arguments, **more):
        started.append(Archive(*arguments, **more))
        return started[-1]
    yield start
    for one in started:
        one.server.shutdown()


@pytest.mark.parametrize("counts", [True, False])
def test_an_archive_is_asked_how_many_images_there_are(scanner, tmp_path, archive, counts):
    """The last slices of a volume, which leave no trace, and a series of which nothing came. Other modalities count for nothing."""
    uid = f"{scanner.STUDY}.1"
    pacs = archive({uid: ("MR", 24), "1.9.1": ("SR", 5)}, counts)
    site = Site(scanner, tmp_path, peers=(pacs.peer,), ask="pacs")
    site.arrive(T1, 1, lambda index: index < 20)
    assert site.pass_s(31).state == RECEIVING
    assert site.wait() == ["series 1 (t1): 20 of the 24 images that the archive has are there"]
    assert pacs.asked == (["SERIES"] if counts else ["SERIES", "IMAGE"])
    pacs.has["1.9.2"] = ("MR", 30)
    site.arrive(T1, 1, lambda index: index >= 20)
    assert site.pass_s(31).state == RECEIVING and site.wait() == ["the archive has 1 MR series of which nothing has come"]
    del pacs.has["1.9.2"]
    assert site.pass_s(ASK_AGAIN_S / 2).state == RECEIVING and site.pass_s(ASK_AGAIN_S).state == ANSWERED


@pytest.mark.parametrize("find", [True, False])
def test_check_says_whether_the_archive_can_be_asked(scanner, tmp_path, archive, find):
    site = Site(scanner, tmp_path, peers=(archive({}, find=find).peer,), ask="pacs")
    (right,) = [right for right, sentence in checks(site.settings) if "be asked for images" in sentence]
    assert right == find


def test_an_archive_that_is_away_makes_nobody_wait(scanner, tmp_path, capfd):
    site = Site(scanner, tmp_path, peers=(Destination("pacs", "PACS", "127.0.0.1", 9),), ask="pacs")
    site.arrive(T1, 1)
    assert site.pass_s(31).state == ANSWERED and "ask_failed" in capfd.readouterr().err


def test_own_results_in_the_archive_are_not_waited_for(scanner, tmp_path, archive):
    pacs = archive({f"{scanner.STUDY}.1": ("MR", 24), "2.25.7": ("MR", 40)})
    site = Site(scanner, tmp_path, peers=(pacs.peer,), ask="pacs")
    result = scanner.header(SeriesInstanceUID="2.25.7", SOPInstanceUID="2.25.8")
    (site.outbox.folder / site.study / "answer").mkdir(parents=True)
    scanner.save(result, site.outbox.folder / site.study / "answer" / "map.dcm")
    site.arrive(T1, 1)
    assert site.pass_s(31).state == ANSWERED


def test_the_look_in_a_child(scanner, tmp_path):
    """The look of a real node: a process of its own; a folder that is gone is a reason."""
    site = Site(scanner, tmp_path, look_in_child())
    site.arrive(T1, 1, lambda index: index not in LOST)
    assert site.pass_s(31).state == RECEIVING and site.wait() == [GAP]
    with pytest.raises(JobError):
        site.look(tmp_path / "gone", tmp_path / "facts.json", lambda: False)


def test_what_is_missing_stands_in_the_report(scanner, tmp_path):
    """Here in the one that says that nothing was analysed, in German: the child makes it as it makes any other."""
    config = tmp_path / "betz.toml"
    config.write_text('[results]\nlanguage = "de"\n')
    site = Site(scanner, tmp_path, deadline_s=100)
    site.arrive(T1, 1, lambda index: index not in LOST)
    site.pass_s(60)
    _, answer_failure = in_child(read_settings(config), tmp_path, site.readiness.missing)
    (tmp_path / "answer").mkdir()
    answer_failure(site.spool.folder_of(site.study), tmp_path / "answer" / "out", None, "it took too long", lambda: False)
    (report,) = (tmp_path / "answer" / "out").glob("9011*.dcm")
    said = [element.value for element in dcmread(report).iterall() if element.keyword == "TextValue"]
    assert ("Die Untersuchung wurde ausgewertet, bevor sie ganz angekommen war: "
            "Serie 1 (t1): 2 von 24 Schichten fehlen zwischen den anderen.") in said


def test_the_inventory_as_a_command(scanner, tmp_path):
    site = Site(scanner, tmp_path)
    site.arrive(T1, 1)
    assert main(str(site.spool.folder_of(site.study)), str(tmp_path / "facts.json")) == 0
    assert len(json.loads((tmp_path / "facts.json").read_text())[f"{site.study}.1"]["instances"]) == 24

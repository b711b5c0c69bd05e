"""Earlier examinations of a patient, looked for before a new study is analysed: in the node's own storage, then in an archive.

The analysis has no network, so it is the service that looks, in a process of its own that ends after `wait_s` at the latest, whatever the
archive does; what was found by then is used, and the report says what was not. What the node itself answered is read from its own storage,
what was fetched once from the copies (`node.copies`); nothing is asked for twice. An archive is believed in nothing: patient ID, issuer,
birth date and sex are compared with the new study in its answer and in every object that it sent. No log says whose study it is.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from analysis.words import Name, say
from node import audit, audit_trail
from node.audit_query import Asked, Ended
from node.child import Limits, run_child
from node.copies import Copies
from node.earlier_report import day_of
from node.errors import BetzError, DeliveryError, JobError, RefusedError, UnreachableError
from node.identity import KEYWORDS, Identity, difference, differences, identity_of
from node.log import log, quiet, unforeseen
from node.prior_folders import Held, held_in, is_usable
from node.priors_found import Found
from node.retrieval import FoundSeries, FoundStudy, archive_to
from node.settings import Destination, Settings
from node.wording import day_words

MEMORY_GIB, DAYS_OF_YEAR = 4.0, 365.25
_TAGS = ("StudyInstanceUID", "StudyDate", "SpecificCharacterSet", *KEYWORDS)
_PATTERN = set("*?\\")  # characters that make an ID a pattern for C-FIND (PS3.4 C.2.2.2.4)

Stopped = Callable[[], bool]


class Search:
    """One search, for the study in a folder of the spool. `tell` hears what is known so far; `clock` only goes forward."""

    def __init__(self, settings: Settings, study: Path, tell: Callable[[Found], None] = lambda found: None,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self.settings, self.rules, self.tell, self.clock = settings, settings.priors, tell, clock
        self.peer = next(peer for peer in settings.destination if peer.name == settings.priors.archive)
        self.archive = settings.priors.archive
        self.storage, self.study, self.end = settings.storage.folder, study, clock() + settings.priors.wait_s
        self.copies = Copies(self.storage, settings.storage.minimum_free_gib, study.name)
        self.found = Found()

    def run(self) -> Found:
        """Never raises for what an archive does."""
        header = _header(self.study)
        if header is None or (why := _why_not_sought(header)):
            if header is not None:
                self.found.say(say("No earlier examinations were looked for: {reason}.", reason=why))
        else:
            self._look(header)
        self.found.is_whole = True
        self.tell(self.found)
        return self.found

    def _look(self, header: Dataset) -> None:
        day = day_of(header)
        first = day - timedelta(days=self.rules.years_back * DAYS_OF_YEAR)
        own = {uid: held for uid, held in own_answers(self.storage, header) if held.day and first <= held.day < day}
        sought = sorted([*((held.day, uid) for uid, held in own.items()), *self._in_archive(header, first, day, own)], reverse=True)
        found = 0
        for _, uid in sought:
            if found >= self.rules.most:
                break
            found += self._take_own(uid) if uid in own else self._fetch(uid, header, is_last=found == 0)
            self.tell(self.found)

    def _take_own(self, uid: str) -> bool:
        """The answer that lies here, and the images where they still do."""
        places = (self.storage / "outbox" / uid, self.storage / "spool" / uid)
        self.found.folders += [str(place) for place in places if place.is_dir()]
        return True

    def _in_archive(self, header: Dataset, first: date, day: date, own: dict) -> list[tuple[date, str]]:
        """Day and UID of the studies that the archive has of this person, of those days."""
        mine = identity_of(header)
        found = self._asked(lambda archive: archive.studies(mine.patient_id)) or []
        inside = [one for one in found if first <= one.day < day and one.uid not in {*own, str(header.StudyInstanceUID)}]
        return [(one.day, one.uid) for one in inside if self._is_same_person(mine, one) and _may_hold(one)]

    def _is_same_person(self, mine: Identity, one: FoundStudy) -> bool:
        """An archive need not state birth date and sex in its answer; the objects do."""
        different = difference(mine, one.identity)
        if different:
            self.found.say(_refused(one.day, different))
        return different is None

    def _fetch(self, uid: str, header: Dataset, is_last: bool) -> bool:
        """True where something of the study can be used. Of the last examination the images are compared as well."""
        folder = self.copies.folder_of(uid)
        if not any(held.reports and (held.series or not is_last) for held in held_in([folder]).values()):
            wanted = self._wanted(self._asked(lambda archive: archive.series(uid)) or [], is_last)
            if lacking := _lacking(folder, wanted):
                before = {path.name for path in folder.glob("*.dcm")}
                self._asked(lambda archive: archive.fetch(uid, lacking, self.copies))
                self._note(uid, [path for path in folder.glob("*.dcm") if path.name not in before])
                self._check_whole(folder, wanted)
        self.copies.used(uid)
        return self._is_fit(folder, uid, header)

    def _wanted(self, series: Sequence[FoundSeries], is_last: bool) -> list[FoundSeries]:
        """Our reports, and of the last examination the series of the scanner too; where there is no report, those if the site wants it."""
        reports = [one for one in series if one.modality == "SR" and one.number in (9010, None) and _is_named_so(one)]
        images = [one for one in series if one.modality == "MR" and not one.description.startswith("Betz ")]
        if reports:
            return [*reports, *(images if is_last else [])]
        return images if self.rules.analyse_unread else []

    def _note(self, uid: str, new: Sequence[Path]) -> None:
        """What came, for the audit trail of the node."""
        headers = (dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"]) for path in new)
        if counted := Counter(str(header.get("SOPClassUID") or "") for header in headers):
            self.found.fetched[uid] = dict(counted)

    def _check_whole(self, folder: Path, wanted: Sequence[FoundSeries]) -> None:
        """A series of which less came than the archive states is no series: it goes, and the report says so."""
        lacking, there = _lacking(folder, wanted), _by_series(folder)
        for path in (path for one in lacking for path in there.get(one.uid, ())):
            path.unlink()
        if lacking:
            self.found.say(say("Of an earlier examination only a part could be fetched from the archive {archive}: {missing} of {whole} "
                               "series did not come whole.", archive=Name(self.archive), missing=len(lacking), whole=len(wanted)))

    def _is_fit(self, folder: Path, uid: str, header: Dataset) -> bool:
        """Whether what came is of the same person; what is not goes."""
        held = held_in([folder]).get(uid)
        if held is None:
            return False
        if different := differences(identity_of(header), held.identities, is_proof=True):
            self.found.say(_refused(held.day, different))
            self.copies.remove(uid)
            return False
        if not is_usable(held):
            return False
        self.found.folders.append(str(folder))
        return True

    def _asked(self, ask: Callable):
        """What the archive answers; None, and a sentence, where it does not. After that it is asked no more."""
        left_s = min(self.end - self.clock(), self.settings.sender.timeout_s)
        if self.peer is None:
            return None
        try:
            if left_s <= 0:
                raise UnreachableError("The time for it was over.")
            return ask(archive_to(self.peer, self.settings.listener.ae_title, left_s, self._note_query))
        except DeliveryError as error:
            self.found.trouble.append(str(error))
            self.found.say(not_answered(self.peer, _in_words(error)))
            self.peer = None if isinstance(error, UnreachableError) else self.peer
            return None

    def _note_query(self, peer: Destination, query: audit.Query) -> Ended:
        """For the audit trail of the node; told at once, as this process may be ended before the answer comes."""
        one = Asked(audit.now(), query)

        def ended(failure: str) -> None:
            one.failure = failure
            self.tell(self.found)

        self.found.asked.append(one)
        self.tell(self.found)
        return ended


def _by_series(folder: Path) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in folder.glob("*.dcm"):
        uid = str(dcmread(path, stop_before_pixels=True, specific_tags=["SeriesInstanceUID"]).get("SeriesInstanceUID") or "")
        found.setdefault(uid, []).append(path)
    return found


def _lacking(folder: Path, wanted: Sequence[FoundSeries]) -> list[FoundSeries]:
    """The series of which less is there than the archive states."""
    there = _by_series(folder)
    return [one for one in wanted if len(there.get(one.uid, ())) < (one.images or 1)]


def own_answers(storage: Path, header: Dataset) -> Iterator[tuple[str, Held]]:
    """The examinations of the same person that this node has answered with a coded report, by their UID."""
    mine = identity_of(header)
    for folder in sorted((storage / "outbox").glob("*")):
        report = next(iter(sorted(folder.glob("*/9010_*.dcm"))), None)
        if report is None or folder.name == str(header.StudyInstanceUID):
            continue
        other = _read(report)
        if other is not None and difference(mine, identity_of(other), is_proof=True) is None:
            yield folder.name, Held(other, {identity_of(other)})


def _header(folder: Path) -> Dataset | None:
    """A header of the study that says whose it is."""
    return next((header for path in sorted(folder.glob("*.dcm")) if (header := _read(path)) is not None), None)


def _read(path: Path) -> Dataset | None:
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        return header if header.get("StudyInstanceUID") else None
    except Exception:  # pydicom raises many kinds on a damaged file
        return None


def _why_not_sought(header: Dataset) -> str | None:
    mine = identity_of(header)
    if not mine.patient_id or _PATTERN & set(mine.patient_id):
        return say("the examination has no patient ID that can be searched for")
    if not mine.birth_date:
        return say("the birth date of the patient is not known, so that earlier examinations cannot be told from another person's")
    try:
        day_of(header)
    except ValueError:
        return say("the date of the examination is not known")
    return None


def _may_hold(one: FoundStudy) -> bool:
    """Where the archive says which modalities a study has, ours or a scanner's is among them."""
    return not one.modalities or bool(one.modalities & {"MR", "SR"})


def _is_named_so(one: FoundSeries) -> bool:
    return not one.description or one.description.startswith("Betz measurements")


def _refused(day: date | None, reason: str) -> str:
    said = day_words(str(day)) if day else "–"
    return say("An examination of {day} under the same patient ID was not used: {reason}.", day=said, reason=reason)


def not_answered(peer: Destination, reason: str) -> str:
    return say("The archive {archive} was asked for earlier examinations: {reason}. What it has is not in this report.",
               archive=Name(peer.name), reason=reason)  # fmt: skip


def _in_words(error: DeliveryError) -> str:
    if isinstance(error, UnreachableError):
        return say("it cannot be reached, did not answer, or did not let the node in")
    return say("it refused") if isinstance(error, RefusedError) else say("it did not give what it was asked for")


class PriorStage:
    """The stage of the service: the search in a child process, bounded in time and memory. `study` is a folder of the spool."""

    def __init__(self, settings: Settings, copies: Copies) -> None:
        self.settings, self.copies = settings, copies
        self.peer = next((peer for peer in settings.destination if peer.name == settings.priors.archive), None)

    def __call__(self, study: Path, scratch: Path, stopped: Stopped) -> Found:
        if self.peer is None:
            return Found()
        file, began = scratch / "priors.json", time.monotonic()
        failure = self._search(study, file, scratch, stopped)
        found = Found.read(file)
        if not found.is_whole and not stopped():
            found.say(not_answered(self.peer, failure))
        for reason in found.trouble:
            log("priors_failed", study=study.name, peer=self.peer.name, reason=reason)
        self._tell(found)
        log("priors_looked_for", study=study.name, peer=self.peer.name, folders=len(found.folders), notes=len(found.said),
            fetched=sum(sum(one.values()) for one in found.fetched.values()), seconds=round(time.monotonic() - began, 1))
        return found

    def _search(self, study: Path, file: Path, scratch: Path, stopped: Stopped) -> str:
        """Why it was not ended, or ""."""
        command = [sys.executable, "-m", "node.priors", str(self.settings.source or ""), str(study), str(file)]
        wait_s = self.settings.priors.wait_s
        began = time.monotonic()
        try:
            run_child(command, Limits(wait_s, MEMORY_GIB), file.with_suffix(".txt"), stopped, scratch=scratch)
            return ""
        except JobError as error:
            log("priors_failed", study=study.name, peer=self.peer.name, reason=error.reason)
            late = time.monotonic() - began >= wait_s
            return say("it did not answer within {wait_s:g} s", wait_s=wait_s) if late else say("the search failed")
        finally:
            self.copies.expect_nothing(study.name)

    def _tell(self, found: Found) -> None:
        for one in found.asked:
            one.tell(self.peer)
        for study, classes in found.fetched.items():
            example = next(iter(self.copies.instances(study)), self.copies.folder_of(study))
            audit_trail.arrived(self.peer.ae_title, self.peer.host or self.peer.url, study, audit.CREATE, classes, example)
        days = self.settings.priors.keep_days
        for study in self.copies.forget(days):
            log("copies_removed", study=study, reason=f"nobody asked for them for {days:g} days")


def main(source: str, study: str, file: str) -> int:
    """The status. What a library says of a header may quote it, and stays out of what the node logs."""
    from node.child import die_with_parent
    from node.settings_file import read_settings

    die_with_parent()
    quiet()
    try:
        Search(read_settings(Path(source) if source else None), Path(study), lambda found: found.write(Path(file))).run()
        return 0
    except BetzError as error:
        print(f"betz: {error}", file=sys.stderr)
    except Exception as error:
        print(f"betz: earlier examinations could not be looked for: {unforeseen(error)}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:4]))

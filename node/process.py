"""The whole program: a study in, the DICOM objects that answer it out.

The service runs it in a child process per study, the command line runs it as it is; both get the same bytes for the same study, settings
and time. A study that holds nothing to measure is answered too: what was sent, and why nothing was measured.
"""

from __future__ import annotations

import importlib
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from pydicom.dataset import Dataset

from analysis.engine import analyse
from analysis.examination import Examination
from analysis.marker import Marker, markers
from analysis.outcome import FAILED, MEASURED, Outcome
from analysis.report import Report, SeriesNote
from analysis.sequences import rows_of
from analysis.spectrum import Spectra
from analysis.summary import summary_of
from analysis.support import support_of
from analysis.volume import Diffusion, Image
from analysis.words import joined, say
from node.answer_folder import check_apart, check_free, headers_of, replace_folder, write, write_niftis, writing
from node.controls import Place, places_of
from node.errors import StudyError
from node.language import Language
from node.norms import norms_for
from node.paradigms import with_paradigms
from node.prior_folders import earlier_in
from node.provenance import Provenance
from node.roles import Decision, choose, decide, with_choice
from node.settings import Settings
from node.spool import is_uid
from node.study import Series, Study, check_one_patient, patient_of, read_studies
from node.wording import earlier_lines

PROBLEMS_AT_MOST = 10
# roles of which all series are used: module, how one series is read, how they are put together
COLLECTIONS = {"mrs": ("node.spectra", "spectrum_of", "gathered"), "bold": ("node.runs", "run_of", "gathered")}
OF_IMAGES = "image_quality"  # says how good the images are, and nothing of the patient

Watch = Callable[[str], None]


@dataclass(frozen=True)
class History:
    """Folders of earlier examinations, and sentences on those that could not be had."""

    folders: Sequence[Path] = ()
    told: Sequence[str] = ()


def silent(step: str) -> None:
    """Nobody watches."""


def process(study: Study, settings: Settings, watch: Watch = silent) -> list[Dataset]:
    """Return the DICOM objects that answer one study: masks and maps first, then the report."""
    provenance = provenance_of(study, settings, datetime.now().astimezone())
    report, images = examine(study, settings, watch)
    return answer(report, images, provenance, settings)


def examine(study: Study, settings: Settings, watch: Watch = silent) -> tuple[Report, Mapping[str, Image]]:
    """What the markers say of the study, and the images that they were measured on, by role."""
    start = time.monotonic()
    every = markers()
    decisions, images = images_of(study, every, watch)
    images = with_paradigms(images, settings.task)
    sent = frozenset(one.role for one in decisions)
    populations, problems = norms_for(settings, study.study_instance_uid, _places(decisions, images), every)
    study = replace(study, problems=(*study.problems, *problems))
    outcomes = analyse(Examination(images, patient_of(study), watch, populations, sent), every, time.monotonic)
    return report_of(study, decisions, images, outcomes, time.monotonic() - start), images


def images_of(study: Study, every: tuple[Marker, ...], watch: Watch) -> tuple[tuple[Decision, ...], dict[str, Image]]:
    """The role of every series, and the image of each role that a marker needs. A series that cannot be read gives way to the next best."""
    from node.volumes import image_of

    needed = {role for marker in every for group in marker.needs for role in group}
    decisions = tuple(decide(series) for series in study.series)
    images: dict[str, Image] = {}
    for role in sorted(needed & set(COLLECTIONS)):
        watch(f"reading {role}")
        decisions, parts = _read(decisions, role)
        if parts:
            images[role] = _collection(role)[1](parts)
    for role in sorted(needed - set(COLLECTIONS)):
        while role not in images and role in (chosen := choose(decisions)):
            watch(f"reading {role}")
            try:
                images[role] = image_of(chosen[role], role)
            except StudyError as error:
                decisions = tuple(_unusable(one, error.reason) if one.series is chosen[role] else one for one in decisions)
    if isinstance(diffusion := images.get("dwi"), Diffusion):
        images["dwi"], decisions = _with_reversed_b_zero(diffusion, decisions)
    if isinstance(spectra := images.get("mrs"), Spectra) and "t1" in images:
        images["mrs"] = _in_frame_of(spectra, choose(decisions)["t1"])
    alone = {role: series for role, series in choose(decisions).items() if role not in COLLECTIONS}
    return with_choice(decisions, alone), images


def _collection(role: str) -> tuple[Callable[[Series], object], Callable[[list], Image]]:
    """How one series of a role is read of which all are used, and how they are put together."""
    module, read, gather = COLLECTIONS[role]
    home = importlib.import_module(module)
    return getattr(home, read), getattr(home, gather)


def _read(decisions: tuple[Decision, ...], role: str) -> tuple[tuple[Decision, ...], list]:
    """Every usable series with that role; those that cannot be read say why."""
    parts, told = [], []
    for one in decisions:
        if one.role == role and one.usable:
            try:
                parts.append(_collection(role)[0](one.series))
            except StudyError as error:
                one = _unusable(one, error.reason)
        told.append(one)
    return tuple(told), parts


def _in_frame_of(spectra: Spectra, series: Series) -> Spectra:
    """Spectra have no picture to lay them over the T1 by: their place counts where both have one frame of reference."""
    from node.spectra import in_frame

    return in_frame(spectra, str(series.header.get("FrameOfReferenceUID") or ""))


def _used(decisions: tuple[Decision, ...], images: Mapping[str, Image]) -> list[Decision]:
    """The decisions on the series that are measured on."""
    chosen = choose(decisions)
    return [one for one in decisions if one.role in images and one.usable
            and (one.role in COLLECTIONS or chosen.get(one.role) is one.series)]  # fmt: skip


def _places(decisions: tuple[Decision, ...], images: Mapping[str, Image]) -> dict[str, Place]:
    """By role the scanner and the protocol of the series that is measured on, where both are known; of several series all protocols."""
    return places_of((one.role, one.scanner, one.protocol) for one in _used(decisions, images))


def _with_reversed_b_zero(image: Diffusion, decisions: tuple[Decision, ...]) -> tuple[Diffusion, tuple[Decision, ...]]:
    """The diffusion image with the b = 0 series that was encoded the other way, where the study has one, and the decision that says so."""
    from node.phase_encoding import with_reversed_b_zero

    image, found = with_reversed_b_zero(image, choose(decisions)["dwi"], [one.series for one in decisions if one.is_b_zero])
    reversed_ = say("encoded the other way than the diffusion series")
    return image, tuple(replace(one, why=joined([one.why, reversed_], "; ")) if one.series is found else one for one in decisions)


def _unusable(decision: Decision, reason: str) -> Decision:
    return replace(decision, usable=False, problems=(*decision.problems, reason))


def report_of(
    study: Study, decisions: tuple[Decision, ...], images: Mapping[str, Image], outcomes: tuple[Outcome, ...], seconds: float
) -> Report:
    """The report of a study; it says so where nothing at all was measured."""
    used = _used(decisions, images)
    notes = tuple(_note(one, used=one in used) for one in decisions)
    of_patient = [outcome for outcome in outcomes if outcome.marker != OF_IMAGES]
    measured = any(outcome.outcome == MEASURED for outcome in of_patient)
    reasons = tuple(dict.fromkeys(outcome.reason or "" for outcome in of_patient))
    support = support_of(outcomes)
    return Report(
        study.study_instance_uid,
        patient_of(study),
        notes,
        outcomes,
        summary_of(outcomes, support, study.problems),
        not_analysed=None if measured else joined(reasons, "; "),
        seconds=seconds,
        problems=_first(study.problems),
        support=support,
        sequences=rows_of(notes, outcomes, images),
    )


def _first(problems: tuple[str, ...]) -> tuple[str, ...]:
    """What could not be read, in the length that a reader bears; `betz process` lists all of it."""
    rest = len(problems) - PROBLEMS_AT_MOST
    more = say("{count} more files were left out for such reasons.", count=rest)
    return problems if rest <= 0 else (*problems[:PROBLEMS_AT_MOST], more)


def _note(decision: Decision, used: bool) -> SeriesNote:
    header = decision.series.header
    return SeriesNote(
        decision.series.series_instance_uid,
        decision.role,
        decision.why,
        decision.problems,
        used,
        description=str(header.get("SeriesDescription") or ""),
        scanner=decision.scanner,
        protocol=decision.protocol,
    )


def failure_of(study: Study, reason: str) -> Report:
    """The report of a study whose analysis ended without a result: every marker failed, for that reason."""
    outcomes = tuple(Outcome(marker.name, marker.version, FAILED, reason) for marker in markers())
    return report_of(study, tuple(decide(series) for series in study.series), {}, outcomes, 0.0)


def provenance_of(study: Study, settings: Settings, made_at: datetime) -> Provenance:
    """What all objects of one answer share. StudyError where it is not clear whose that is: nothing is made under a wrong name."""
    if not is_uid(study.study_instance_uid):
        raise StudyError("the StudyInstanceUID of the images is no UID, so nothing can be put beside them; correct it in the archive")
    check_one_patient(study)
    results = settings.results
    return Provenance(study, made_at, ae_title=settings.listener.ae_title, institution=results.institution or None, is_final=results.final,
                      language=Language(results.language))  # fmt: skip


def answer(report: Report, images: Mapping[str, Image], provenance: Provenance, settings: Settings) -> list[Dataset]:
    """Masks and maps first, then the reports and pages; the readable ones always, the coded one where something was measured."""
    from node.encapsulated_pdf import encapsulated_pdf, patient_pdf
    from node.measurement_report import measurement_report
    from node.pages import pages
    from node.parametric_map import parametric_maps
    from node.patient_page import patient_page
    from node.secondary_capture import secondary_captures
    from node.segmentation import segmentations
    from node.text_report import text_report
    from node.track_set import track_sets

    masks, maps = segmentations(report, provenance, images), parametric_maps(report, provenance, images)
    tracks = track_sets(report, provenance) if settings.results.tractography else []
    coded = measurement_report(report, provenance, images, masks)
    reports = [*([coded] if coded else []), text_report(report, provenance)]
    paper = pages(report, provenance, images)
    of_pages = [*secondary_captures(paper, report, provenance), encapsulated_pdf(paper, report, provenance)]
    for_patient = [patient_pdf(patient_page(report, provenance), report, provenance)] if settings.results.patient_page else []
    return [*masks, *maps, *tracks, *reports, *of_pages, *for_patient]


def process_folder(
    folder: Path,
    out: Path,
    settings: Settings,
    nifti: bool = False,
    watch: Watch = silent,
    made_at: datetime | None = None,
    failed: str | None = None,
    earlier: Path | None = None,
    missing: str | None = None,
    priors: Sequence[Path] = (),
    told: Sequence[str] = (),
) -> list[str]:
    """Answer the study, or each study, of a folder into OUT: the objects, report.json, and with `nifti` every mask and map.

    Several studies get a folder each, named by their UID. `failed`: the reason why the analysis ended; then the answer says that, and
    nothing is measured. `earlier`: an answer that this one replaces, whose reports the new ones name. `missing`: what had not come of the
    one study when its analysis began; its report says so. `priors`: folders of earlier examinations, which the report names; `told`: what
    is to be said of others, in sentences. Returns lines for a person. OUT appears whole or not at all; an older answer in it is replaced.
    """
    out, made_at = out.resolve(), made_at or datetime.now().astimezone()
    studies, problems = _studies(folder)
    if missing and len(studies) == 1:
        studies = [replace(studies[0], problems=(missing, *studies[0].problems))]
    places = [out] if len(studies) == 1 else [out / study.study_instance_uid for study in studies]
    for source in (folder, *priors):
        check_apart(source, out)
    check_free(out, len(studies))
    lines, refused = list(problems), []
    for study, place in zip(studies, places, strict=True):
        try:
            history = History(priors, told)
            lines += [*study.problems, *_process_into(study, place, settings, nifti, watch, made_at, failed, earlier, history)]
        except StudyError as error:
            if len(studies) == 1:
                raise
            refused.append(f"Study {study.study_instance_uid}: {str(error).rstrip('.')}.")
    if refused:
        answered = len(studies) - len(refused)
        raise StudyError(" ".join([*refused, *([f"The answers of the other {answered} studies are in {out}."] if answered else [])]))
    return lines


def _studies(folder: Path) -> tuple[list[Study], list[str]]:
    """The studies of a folder, and what belongs to none of them; where there is one study only, its report tells that as well."""
    if not folder.is_dir():
        raise StudyError(f"{folder} is not a folder.")
    studies, problems = read_studies(folder)
    if not studies:
        more = [f"So it is with {len(problems) - 3} more files."] if len(problems) > 3 else []
        raise StudyError(" ".join([f"{folder} holds no DICOM study that can be read.", *problems[:3], *more]))
    if len(studies) == 1:
        return [replace(studies[0], problems=(*studies[0].problems, *problems))], []
    return studies, problems


def _process_into(
    study: Study, out: Path, settings: Settings, nifti: bool, watch: Watch, made_at: datetime, failed: str | None, earlier: Path | None,
    priors: History,
) -> list[str]:  # fmt: skip
    provenance = replace(provenance_of(study, settings, made_at), earlier=headers_of(earlier, study.study_instance_uid))
    partial = out.with_name(f".{out.name}.partial")
    try:
        with writing(out):
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
        report, images = (failure_of(study, failed), {}) if failed else examine(study, settings, watch)
        found, notes = earlier_in(priors.folders, study.header)
        report = replace(report, earlier=found, earlier_notes=(*priors.told, *notes))
        watch("writing the report")
        objects = answer(report, images, provenance, settings)
        with writing(out):
            write(report, objects, partial)
            if nifti:
                write_niftis(report, images, partial / "nifti")
            replace_folder(partial, out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return lines_of(report, objects, out)


def lines_of(report: Report, objects: list[Dataset], out: Path) -> list[str]:
    """One line per marker, and where the answer is."""
    lines = [f"{outcome.marker}: {outcome.outcome}" + (f", {outcome.reason}" if outcome.reason else "") for outcome in report.outcomes]
    lines += earlier_lines(report)
    if report.not_analysed:
        lines.append(f"Not analysed: {report.not_analysed}")
    return [*lines, f"{len(objects)} objects and report.json in {out}"]

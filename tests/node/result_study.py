"""A small study with a T1 and a diffusion series, what could have been measured in it, the report that says so, and the files of all.

It is tilted and has one frame of reference; `KINDS` are the arguments that make the other kinds of study.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np

from analysis.comparison import compared
from analysis.earlier import Earlier, said_by
from analysis.examination import Patient
from analysis.follow_up import FollowUp
from analysis.outcome import FAILED, MEASURED, NOT_MEASURABLE, Concept, Finding, Gap, Map, Mask, Measurement, Outcome, Reference, Track
from analysis.report import Report, SeriesNote
from analysis.sequences import rows_of
from analysis.steps.halfway import Halfway
from analysis.steps.lesion_change import LesionChange, LesionChanges
from analysis.support import support_of
from analysis.trend import Treatment, trends_of
from analysis.volume import Volume
from analysis.words import Name
from node.answer_folder import write
from node.frames import frames_of
from node.language import Language
from node.process import answer
from node.provenance import Provenance
from node.settings import Results, Settings
from node.study import Series, Study

BRAIN = Concept("SCT", "12738006", "Brain")
TRACT = Concept("NEU", "1320", "corticospinal tract")
VOLUME = Concept("SCT", "118565006", "Volume")
ANISOTROPY = Concept("DCM", "110808", "Fractional Anisotropy")
DIFFUSIVITY = Concept("DCM", "113202", "Mean Diffusivity")
ASYMMETRY = Concept("99ALSMRI", "ASYM-INDEX", "Asymmetry index (R-L)/((R+L)/2)")
DEGENERATION = Concept("99ALSMRI", "CST-DEGENERATION", "Degeneration of the corticospinal tract")
MADE_AT = datetime(2026, 1, 2, 3, 4, 5)
TILT = np.deg2rad(14)
TILTED = (1, 0, 0, 0, round(float(np.cos(TILT)), 8), round(float(-np.sin(TILT)), 8))
WHO = {
    "SpecificCharacterSet": "ISO_IR 100", "PatientName": "Prüfung^Jörg", "PatientID": "P-1", "PatientBirthDate": "19600101",
    "PatientSex": "M", "PatientAge": "065Y",
    "StudyTime": "101112", "StudyID": "7", "AccessionNumber": "A1", "ReferringPhysicianName": "Ärztin^Überweisende",
    "StudyDescription": "Schädel-MRT", "Manufacturer": "Scanner AG", "ManufacturerModelName": "Three",
}  # fmt: skip
PLAIN = {
    "SpecificCharacterSet": None, "PatientName": "Doe^Jane", "ReferringPhysicianName": "Roe^Richard", "StudyDescription": "MR HEAD",
}  # fmt: skip
JAPANESE = {
    "SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
    "ReferringPhysicianName": "Suzuki^Hanako=鈴木^花子", "StudyDescription": "MR HEAD",
}  # fmt: skip
RUSSIAN = {
    "SpecificCharacterSet": "ISO_IR 192", "PatientName": "Чехов^Антон", "ReferringPhysicianName": "Боткин^Сергей",
    "StudyDescription": "МРТ головы",
}  # fmt: skip
KINDS: dict[str, dict[str, object]] = {
    "classic": {"orientation": (1, 0, 0, 0, 1, 0), **PLAIN},
    "enhanced": {"is_enhanced": True},
    "tilted": {"is_followed": True},
    "two frames of reference": {"has_two_frames_of_reference": True},
    "Japanese name": JAPANESE,
    "Russian name": RUSSIAN,
}
ADULTS = Reference("Adults, 3 T", 120, -1.25, 10.6, 4.1, 22.3, 0.55, 0.0215, 0.5146, 0.5854, "10.1000/adults")
WHY = "norms of diffusion are bound to the scanner"


@dataclass(frozen=True, eq=False)
class Case:
    """What the result objects are made from."""

    report: Report
    provenance: Provenance
    images: dict[str, Volume]


def case(
    scanner, is_enhanced: bool = False, orientation: tuple = TILTED, has_two_frames_of_reference: bool = False, is_followed: bool = False,
    **who: object,
) -> Case:  # fmt: skip
    """The study, classic or enhanced; a tag given in `who` replaces the usual one, None removes it.

    `has_two_frames_of_reference`: the patient got up between the T1 and the diffusion series. `is_followed`: there are earlier
    examinations, which the report compares with.
    """
    tags = {**WHO, **who}
    later = {**tags, "FrameOfReferenceUID": f"{scanner.STUDY}.10"} if has_two_frames_of_reference else tags
    t1 = scanner.stack(scanner.header(**tags, EchoTime=3.0, Rows=24, Columns=20), 10, 2.0, 1.5, orientation)
    b0 = scanner.stack(scanner.header(**later, EchoTime=80.0, Rows=16, Columns=16), 12, 3.0, 2.5, orientation)
    weighted = [{"DiffusionBValue": 1000.0, "DiffusionGradientOrientation": direction} for direction in np.eye(3).tolist()]
    dwi = scanner.repeated(b0, [*weighted[:2], {"DiffusionBValue": 0.0, "DiffusionGradientOrientation": None}, weighted[2]])
    series = [_series(scanner, t1, 1, is_enhanced, tags), _series(scanner, dwi, 2, is_enhanced, later)]
    study = Study(series[0].header.StudyInstanceUID, tuple(series))
    images = {"t1": _image(series[0], (10, 24, 20)), "dwi": _image(series[1], (12, 16, 16))}
    report = _report(series, images)
    if is_followed:
        report = replace(report, follow_up=followed(report.outcomes))
    return Case(report, Provenance(study, MADE_AT, institution="Test hospital"), images)


def kind(scanner, name: str, **more: object) -> Case:
    """A study of that kind; each kind is a study and a patient of its own, so that an archive can hold all."""
    number = list(KINDS).index(name) + 1
    return case(scanner, **{"StudyInstanceUID": f"{scanner.STUDY}.{100 + number}", "PatientID": f"P-{number}", **KINDS[name], **more})


def write_objects(case: Case, folder: Path, **results: object) -> list[Path]:
    """The files of every object that answers the study; `results` are the settings of that name."""
    settings = Settings(results=Results(**results))
    provenance = replace(case.provenance, language=Language(settings.results.language))
    objects = answer(case.report, case.images, provenance, settings)
    folder.mkdir(parents=True)
    write(case.report, objects, folder)
    return sorted(folder.glob("*.dcm"))


def write_sources(scanner, case: Case, folder: Path) -> list[Path]:
    """The files of the study itself, with pixels."""
    paths = []
    for number, series in enumerate(case.provenance.study.series, start=1):
        headers = [instance.header for instance in series.instances]
        size = (len(headers), int(headers[0].get("NumberOfFrames", 1)), headers[0].Rows, headers[0].Columns)
        paths += scanner.write(headers, np.arange(np.prod(size), dtype=np.uint16).reshape(size), folder, number)
    return paths


def _series(scanner, headers: list, number: int, is_enhanced: bool, tags: dict[str, object]) -> Series:
    if not is_enhanced:
        return scanner.series(headers, number)
    one = scanner.enhanced(headers, **tags)
    return scanner.series([one], number)


def _image(series: Series, shape: tuple[int, int, int]) -> Volume:
    """The image as a converter might give it: slices and rows run against those of the frames."""
    frames = [frame for frame in frames_of(series) if frame.time_position == 0]
    frames.sort(key=lambda frame: float(frame.origin_lps @ frame.normal_lps))
    matrix = frames[0].lps_from_index.copy()
    matrix[:3, 0] = (frames[-1].origin_lps - frames[0].origin_lps) / (len(frames) - 1)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    flip[:2, 3] = shape[0] - 1, shape[1] - 1
    return Volume(np.zeros(shape, np.float32), matrix @ flip)


def block(shape: tuple[int, ...], *parts: tuple[int, int]) -> np.ndarray:
    """A boolean box; each part is first and last + 1 along one axis."""
    array = np.zeros(shape, dtype=bool)
    array[tuple(slice(*part) for part in parts)] = True
    return array


def _report(series: list[Series], images: dict[str, Volume]) -> Report:
    notes = (
        SeriesNote(series[0].series_instance_uid, "t1", "3D gradient echo with inversion, TI 900 ms", used=True, description="T1 tilted"),
        SeriesNote(series[1].series_instance_uid, "dwi", "b 0 and 1000 s/mm²", ("only three directions",), used=True, description="DWI"),
    )
    outcomes = (
        _volumes(images["t1"]),
        _tracts(images["dwi"]),
        Outcome("motor_band", 1, NOT_MEASURABLE, "the study has no usable swi series"),
        Outcome("infarct", 2, FAILED, "the step ended with an error"),
    )
    summary = ("Anisotropy of the corticospinal tract: left 0.52, right 0.50.",)
    return Report(series[0].header.StudyInstanceUID, Patient(65.0, "M"), notes, outcomes, summary, seconds=12.34,
                  support=support_of(outcomes), sequences=rows_of(notes, outcomes, images))  # fmt: skip


def followed(outcomes: tuple[Outcome, ...]) -> FollowUp:
    """Two earlier examinations, the later of which is compared: FA was higher, the brain larger; with images half-way and lesions."""
    held = said_by(outcomes)
    then = {name: replace(one, measurements=tuple(replace(value, value=1.25 * value.value) for value in one.measurements))
            for name, one in held.items()}  # fmt: skip
    first = Earlier("1.2.840.99.1", "2024-05-03", 394, "1.2.840.99.1.9", then, series_instance_uid="1.2.840.99.1.8")
    last = Earlier("1.2.840.99.2", "2025-01-02", 150, None, then)
    noise = np.random.default_rng(5).normal(1.0, 0.1, (2, 30, 36, 32)).astype(np.float32)
    grid = Volume(noise[0], np.array([[0, 0, -4.0, 62], [0, 4.0, 0, -70], [4.0, 0, 0, -58], [0, 0, 0, 1.0]]))
    inside = block(grid.array.shape, (4, 26), (5, 31), (4, 28))
    half = Halfway(grid, grid.with_array(noise[1]), inside.astype(np.float32), inside, np.eye(4), np.eye(4), 1.0, 2.0, 0.9, None)
    spot = np.argwhere(block(grid.array.shape, (14, 17), (14, 17), (10, 13)))
    lesions = LesionChanges(half, (LesionChange("new", spot, 0.0, 0.6, 1.0, "deep", np.array([-18.0, -10.0, 2.0])),))
    found = compared(last, outcomes, 150 / 365.25, is_same_scanner={"cst_diffusion": False})
    given = (Treatment("2024-08-01", Name("Riluzol")), Treatment("2025-03-01", Name("Tofersen")))
    trends = trends_of(outcomes, "2025-06-01", (first, last))
    return FollowUp("2025-06-01", (first, last), last, found.changes, half, lesions, trends, given, found.notes)


def _volumes(t1: Volume) -> Outcome:
    brain = block(t1.array.shape, (2, 8), (4, 20), (3, 17))
    brain[2, 4:8] = False
    ml = (Measurement("brain_volume", 1234.5, "ml", VOLUME, BRAIN, uncertainty=24.0, no_reference="no published population"),)
    return Outcome("brain_volumes", 1, MEASURED, measurements=ml, masks=(Mask("brain", "t1", brain, BRAIN),), seconds=3.21)


def _maps(shape: tuple[int, ...]) -> tuple[Map, ...]:
    """Maps with another value in every voxel; 0 around them."""
    inside, numbers = block(shape, (1, 11), (2, 14), (2, 15)), np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    kinds = (("md", "10-3.mm2/s", DIFFUSIVITY, 3.0), ("fa", "1", ANISOTROPY, 1.0), ("rd", "10-3.mm2/s", DIFFUSIVITY, 2.0))
    return tuple(Map(name, "dwi", np.where(inside, most * numbers / numbers.max(), 0).astype(np.float32), unit, quantity)
                 for name, unit, quantity, most in kinds)  # fmt: skip


def _lines(dwi: Volume) -> tuple[Track, ...]:
    """Three wavy lines on each side, of different lengths, upwards through the image."""
    tracks = []
    for side, column in (("left", 11.0), ("right", 5.0)):
        lines = []
        for number in range(3):
            up = np.linspace(1.0, 8.0 + number, 20 + 7 * number)
            index = np.stack([up, 8 + np.sin(up + number), column + 0.5 * number + 0 * up, np.ones_like(up)], axis=1)
            lines.append((index @ dwi.lps_from_index.T)[:, :3].astype(np.float32))
        tracks.append(Track("cst", "dwi", tuple(lines), TRACT, side))
    return tuple(tracks)


def _tracts(dwi: Volume) -> Outcome:
    masks, numbers = [], []
    for side, columns in (("left", (9, 13)), ("right", (3, 7))):
        for level, slices in (("plic", (6, 8)), ("peduncle", (2, 5))):
            masks.append(Mask("cst", "dwi", block(dwi.array.shape, slices, (5, 11), columns), TRACT, side, level))
            reference = ADULTS if level == "plic" else None
            where = {"site": TRACT, "side": side, "level": level, "reference": reference, "no_reference": None if reference else WHY}
            numbers.append(Measurement("cst_fa", 0.5231 if side == "left" else 0.5042, "1", ANISOTROPY, uncertainty=0.0125,
                                       method="mean over the voxels of the level", **where))  # fmt: skip
            numbers.append(Measurement("cst_md", 0.7612, "10-3.mm2/s", DIFFUSIVITY, uncertainty=0.009, **where))
    numbers.append(Measurement("cst_fa", 0.51, "1", ANISOTROPY, TRACT, "left", "whole", no_reference=WHY))
    numbers.append(Measurement("cst_fa_asymmetry", -3.68, "%", ASYMMETRY, TRACT, uncertainty=3.4, no_reference=WHY, method="whole tract"))
    masks.append(Mask("cst", "dwi", np.zeros(dwi.array.shape, dtype=bool), TRACT, "left", "pons"))
    findings = (
        Finding("cst_degeneration", "indeterminate", DEGENERATION, TRACT, "left", grade=1, reason="within the error"),
        Finding("cst_degeneration", "not assessed", DEGENERATION, TRACT, reason="it needs a reference population"),
    )
    gaps = (Gap("cst_fa", "the field of view ends above it", "left", "pons"),)
    return Outcome("cst_diffusion", 1, MEASURED, measurements=tuple(numbers), masks=tuple(masks), findings=findings, gaps=gaps,
                   maps=_maps(dwi.array.shape), tracks=_lines(dwi), notes=("Two volumes were left out.",), seconds=8.0)  # fmt: skip

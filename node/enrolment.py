"""How healthy people become the site's own controls, and stop being it: `betz norms add` and `remove`. Lines of text; nothing here prints.

A folder of answers (report.json with its DICOM objects, at any depth) is taken as it is; a folder of DICOM studies is analysed first, each
study by the same function as a patient's, and kept as soon as it is done. What cannot be a control is refused with a sentence; the others
are kept all the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pydicom.dataset import Dataset

from analysis.examination import silent
from analysis.marker import markers
from node.controls import ControlFolder, check_age_and_sex, control_of, header_beside
from node.errors import BetzError, ControlError
from node.images import Watch
from node.norms_table import counted
from node.process import examine
from node.report_json import report_json
from node.settings import Settings
from node.study import Study, check_one_patient, patient_of, read_studies


def add_lines(settings: Settings, folders: Sequence[Path], watch: Watch = silent) -> list[str]:
    """Add what the folders hold: answers of the program (report.json with its objects), else DICOM studies, which are analysed first.

    What cannot be a control is a sentence in a ControlError at the end; the others are kept.
    """
    store, lines, refused = ControlFolder(settings.storage.folder), [], []
    store.secret()
    for folder in folders:
        if not folder.is_dir():
            raise ControlError(f"{folder} is not a folder.")
    for name, read in (one for folder in folders for one in _candidates(folder, settings, watch)):
        try:
            document, header = read()
            control, left_out = control_of(document, store.person_of(header), markers())
            replaced = store.add(control)
            lines.append(f"{name}: {'replaced' if replaced else 'added'}, {', '.join(control.markers)}.")
            lines += [f"  without {reason}." for reason in left_out]
        except BetzError as error:
            refused.append(f"{name} {str(error).rstrip('.')}.")
    lines.append(f"{counted(len(store.all()[0]))} in {store.folder}.")
    if refused:
        raise Refused(" ".join(refused), lines)
    return lines


class Refused(ControlError):
    """Some of what was named cannot be a control; `lines` tell of the others."""

    def __init__(self, message: str, lines: list[str]) -> None:
        super().__init__(message)
        self.lines = lines


Candidate = tuple[str, Callable[[], tuple[Mapping[str, Any], Dataset]]]


def _candidates(folder: Path, settings: Settings, watch: Watch) -> Iterator[Candidate]:
    """Each answer or study in a folder, by a name for a reader, and how to get its report and a header that says whose it is."""
    reports = sorted(folder.rglob("report.json"), key=lambda path: path.stat().st_mtime)  # of two answers of one study the later holds
    if reports:
        yield from ((str(path), partial(_answer, path)) for path in reports)
        return
    studies, problems = read_studies(folder)
    if not studies:
        raise ControlError(f"{folder} holds neither a report.json nor a DICOM study that can be read{_first(problems)}")
    yield from ((f"study {study.study_instance_uid}", partial(_analysed, study, settings, watch)) for study in studies)


def _first(problems: Sequence[str]) -> str:
    return f": {problems[0]}" if problems else "."


def _answer(path: Path) -> tuple[Mapping[str, Any], Dataset]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        return document, header_beside(path, document)
    except OSError as error:
        raise ControlError(f"cannot be read: {error.strerror}") from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ControlError("is no report.json of this program, or is broken") from error


def _analysed(study: Study, settings: Settings, watch: Watch) -> tuple[Mapping[str, Any], Dataset]:
    check_one_patient(study)
    check_age_and_sex(patient_of(study).age_years, patient_of(study).sex)
    watch(f"study {study.study_instance_uid}")
    report, _ = examine(study, settings, watch)
    return report_json(report, {}), study.header


def remove_lines(settings: Settings, study: str) -> list[str]:
    store = ControlFolder(settings.storage.folder)
    return [f"Removed the control {store.remove(study)}; {counted(len(store.all()[0]))} left."]

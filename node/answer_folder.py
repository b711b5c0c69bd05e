"""The folder that an answer is written to: the objects, report.json that names them, and for researchers the masks and maps.

It appears whole or not at all. Only an earlier answer is ever replaced: a folder that holds anything else, or the images themselves, is
refused with a sentence, and what lies there stays.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset

from analysis.outcome import Mask, Outcome
from analysis.report import Report
from analysis.volume import Image
from node.disk import refusal
from node.errors import StudyError


def write(report: Report, objects: list[Dataset], folder: Path) -> None:
    """The objects by series number, and report.json that names them. Each file is on the disk when this returns."""
    from node.report_json import report_json

    files = {}
    for number, ds in enumerate(objects):
        name = f"{int(ds.SeriesNumber)}_{number}_{ds.Modality.lower()}.dcm"
        ds.save_as(folder / name, enforce_file_format=True)
        files[name] = ds
    text = json.dumps(report_json(report, files), ensure_ascii=False, indent=1, allow_nan=False)
    (folder / "report.json").write_text(text + "\n", encoding="utf-8")
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())


def write_niftis(report: Report, images: Mapping[str, Image], folder: Path) -> None:
    """Masks and maps for researchers, in the space of the series that they were measured on."""
    from node.volumes import write_nifti

    folder.mkdir()
    for outcome in report.outcomes:
        for mask in joined(outcome):
            side = f"_{mask.side}" if mask.side else ""
            write_nifti(mask.array.astype("uint8"), images[mask.role].lps_from_index, folder / f"mask_{mask.name}{side}.nii.gz")
        for map_ in outcome.maps:
            write_nifti(map_.array, images[map_.role].lps_from_index, folder / f"map_{map_.name}.nii.gz")


def joined(outcome: Outcome) -> Iterable[Mask]:
    """The masks of an outcome with the levels of one structure and side put together."""
    by_name: dict[tuple[str, str | None], Mask] = {}
    for mask in outcome.masks:
        key = (mask.name, mask.side)
        whole = mask.array | by_name[key].array if key in by_name else mask.array
        by_name[key] = replace(mask, array=whole, level=None)
    return by_name.values()


def check_apart(folder: Path, out: Path) -> None:
    """StudyError where the images lie in OUT, which is replaced."""
    if folder.resolve().is_relative_to(out):
        raise StudyError(f"The images lie in {out}, and an answer replaces what is there; name a folder beside them.")


def check_free(out: Path, studies: int) -> None:
    """StudyError where OUT holds anything but earlier answers: only these are ever replaced."""
    if out.exists() and not out.is_dir():
        raise StudyError(f"{out} is a file; name a folder for the answer.")
    held = list(out.iterdir()) if out.exists() else []
    if held and not (is_answer(out) if studies == 1 else all(is_answer(one) for one in held)):
        raise StudyError(f"{out} is not empty, and not all that it holds is an earlier answer; name another folder.")


def is_answer(folder: Path) -> bool:
    """True for a folder that holds what an earlier run wrote, and nothing else."""
    try:
        report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        written = {one["file"] for one in report["objects"]} | {"report.json", "nifti"}
        return "betz" in report and {path.name for path in folder.iterdir()} <= written
    except (OSError, ValueError, TypeError, LookupError):
        return False


def headers_of(earlier: Path | None, study_instance_uid: str) -> tuple[Dataset, ...]:
    """The headers of an earlier answer to the same study; empty without one. StudyError where the folder holds something else."""
    if earlier is None:
        return ()
    if not is_answer(earlier):
        raise StudyError(f"{earlier} holds no earlier answer; name the folder of one, or leave it out.")
    headers = (dcmread(path, stop_before_pixels=True) for path in sorted(earlier.glob("*.dcm")))
    return tuple(header for header in headers if header.StudyInstanceUID == study_instance_uid)


def replace_folder(partial: Path, out: Path) -> None:
    """Put a finished folder in its place, where nothing is or an earlier answer."""
    if out.exists() and any(out.iterdir()) and not is_answer(out):
        raise StudyError(f"{out} was filled by something else meanwhile; name another folder.")
    if out.exists():
        shutil.rmtree(out)
    partial.rename(out)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """StudyError, with a sentence, where the disk refuses."""
    try:
        yield
    except OSError as error:
        why = refusal(error) or error.strerror or type(error).__name__
        raise StudyError(f"The answer cannot be written to {out} ({why}); free some space, or name another folder.") from error

"""One series through dcm2niix: only its files, in a folder of their own, with a time limit.

dcm2niix knows the vendors' ways (mosaics, gradient tables, precise scaling) better than any other reader. It refuses deflated files and
some files without a preamble, so those and compressed ones are rewritten as Explicit VR Little Endian first, where pydicom can. Images
are neither cropped nor turned. Whatever goes wrong is a StudyError with a sentence; the folder is gone when the context ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from analysis.words import say
from node.errors import StudyError
from node.study import Instance, Series

TIME_LIMIT_S = 120.0
TIME_PER_FILE_S = 0.1
PLAIN = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
# No BIDS cropping or turning (-x i), no saved defaults (-g i), no names in the sidecar (-ba y), never overwrite (-w 2).
OPTIONS = ("-b", "y", "-ba", "y", "-z", "n", "-x", "i", "-g", "i", "-w", "2", "-f", "image")


class NotConverted(StudyError):
    """dcm2niix gave no image that is what the headers say: nothing, or another place, or other pixels."""


@dataclass(frozen=True, eq=False)
class Output:
    """One NIfTI file that dcm2niix wrote, and what it says beside it. `suffix` is what dcm2niix appended (_e2, _ph, _ADC, _Eq_1)."""

    path: Path
    suffix: str
    shape: tuple[int, ...]
    sidecar: dict[str, Any]

    @property
    def volumes(self) -> int:
        return self.shape[3] if len(self.shape) > 3 else 1

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """The array (i, j, k[, volume]) as float32, and ras_from_index."""
        import nibabel

        image = nibabel.load(self.path)
        return np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine, dtype=np.float64)

    def gradients(self) -> tuple[np.ndarray, np.ndarray] | None:
        """b-values (volume,) and FSL b-vectors (volume, 3); None where dcm2niix wrote none for just these volumes."""
        values, vectors = self.path.with_suffix(".bval"), self.path.with_suffix(".bvec")
        if not values.exists() or not vectors.exists():
            return None
        b_values, b_vectors = np.loadtxt(values, ndmin=1), np.loadtxt(vectors, ndmin=2).T
        return (b_values, b_vectors) if b_values.shape == (self.volumes,) and b_vectors.shape == (self.volumes, 3) else None


@contextmanager
def converted(series: Series) -> Iterator[tuple[Output, ...]]:
    """The outputs of dcm2niix for this series, at least one, while the context lasts."""
    with tempfile.TemporaryDirectory(prefix="betz-") as folder:
        source, target = Path(folder, "in"), Path(folder, "out")
        source.mkdir()
        target.mkdir()
        for number, instance in enumerate(series.instances):
            _provide(instance, source / f"{number:06d}.dcm")
        said = _run(source, target, TIME_LIMIT_S + TIME_PER_FILE_S * len(series.instances))
        outputs = tuple(_output(path) for path in sorted(target.glob("*.nii")))
        if not outputs:
            raise NotConverted(say("dcm2niix could not read the series: {said}", said=said))
        yield outputs


def _provide(instance: Instance, path: Path) -> None:
    """A link to the file, or a plain copy of it where dcm2niix could not read it as it is."""
    syntax = instance.header.file_meta.get("TransferSyntaxUID")
    if syntax in PLAIN and instance.header.preamble is not None:
        os.symlink(instance.path.resolve(), path)
        return
    try:
        dataset = dcmread(instance.path, force=True)
        if syntax is not None and syntax.is_compressed and syntax.is_encapsulated:
            dataset.decompress()
        if syntax not in PLAIN:
            dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        if syntax is None:
            dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if dataset.original_encoding[0] else ExplicitVRLittleEndian
        dataset.preamble = b"\0" * 128
        dataset.save_as(path, enforce_file_format=True)
    except (RuntimeError, NotImplementedError, ValueError, AttributeError, OSError):
        path.unlink(missing_ok=True)
        os.symlink(instance.path.resolve(), path)  # dcm2niix decodes some that pydicom cannot here (JPEG lossless)


def _run(source: Path, target: Path, time_limit_s: float) -> str:
    """What dcm2niix said, as one line."""
    import dcm2niix

    command = [dcm2niix.bin, *OPTIONS, "-o", str(target), str(source)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=time_limit_s, check=False, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise StudyError(say(
            "dcm2niix could not read the series: it took longer than {time_limit_s:.0f} s",
            time_limit_s=time_limit_s,
        )) from error
    except OSError as error:
        raise StudyError(say("dcm2niix could not be started: {strerror}; set up the environment again", strerror=error.strerror)) from error
    lines = (done.stdout + done.stderr).decode("utf-8", "replace").replace(str(source), "the series").splitlines()
    told = [line.strip() for line in lines if line.startswith(("Error", "Warning", "Unable", "Unsupported"))]
    return "; ".join(told[:3]) or say("it ended with status {status} and wrote nothing", status=done.returncode)


def _output(path: Path) -> Output:
    import nibabel

    sidecar = path.with_suffix(".json")
    said = json.loads(sidecar.read_text(encoding="utf-8", errors="replace")) if sidecar.exists() else {}
    return Output(path, path.stem.removeprefix("image"), tuple(nibabel.load(path).shape), said)

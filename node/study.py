"""A study as it lies on the disk: headers and paths, no pixels.

A header is a pydicom Dataset read without pixel data, with every private tag kept. Whoever needs pixels asks `node.volumes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset


@dataclass(frozen=True, eq=False)
class Instance:
    """One DICOM object: its file and its header."""

    path: Path
    header: Dataset


@dataclass(frozen=True, eq=False)
class Series:
    """The instances of one series, ordered by InstanceNumber and SOPInstanceUID; never empty, no duplicates."""

    series_instance_uid: str
    instances: tuple[Instance, ...]

    @property
    def header(self) -> Dataset:
        """The header of the first instance."""
        return self.instances[0].header


@dataclass(frozen=True, eq=False)
class Study:
    """One study of one patient. `problems` are sentences about what could not be read; they are part of the report."""

    study_instance_uid: str
    series: tuple[Series, ...]
    problems: tuple[str, ...] = ()

    @property
    def header(self) -> Dataset:
        """The header of the first instance of the first series: the source of patient and study identity."""
        return self.series[0].header

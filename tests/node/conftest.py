"""What the tests of the service share: small MR objects."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"


def make_mr(study: str = "1.2.3.4", number: int = 1, size: int = 8, seed: int = 0, **elements: object) -> Dataset:
    """A small MR image; the same arguments give the same object."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.SOPClassUID, ds.SOPInstanceUID = MR_IMAGE, generate_uid(entropy_srcs=[study, str(number)])
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.1"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Secret^Patient", "SECRET1", "19600101", "O"
    ds.StudyDate, ds.StudyTime, ds.StudyID, ds.AccessionNumber, ds.ReferringPhysicianName = "20200101", "120000", "1", "A1", ""
    ds.Modality, ds.SeriesNumber, ds.InstanceNumber = "MR", 1, number
    ds.Rows = ds.Columns = size
    ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PixelRepresentation = 1, "MONOCHROME2", 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.ReferencedImageSequence = [Dataset()]
    ds.ReferencedImageSequence[0].ReferencedSOPClassUID = MR_IMAGE
    ds.ReferencedImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    ds.PixelData = np.random.default_rng(seed).integers(0, 4096, (size, size), dtype=np.uint16).tobytes()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    return ds


@pytest.fixture
def mr():
    return make_mr


@pytest.fixture
def encoded():
    """The bytes of a data set as they go over the wire."""
    def encode(ds: Dataset, implicit: bool = False, little: bool = True) -> bytes:
        buffer = DicomBytesIO()
        buffer.is_implicit_VR, buffer.is_little_endian = implicit, little
        write_dataset(buffer, ds)
        return buffer.getvalue()
    return encode


@pytest.fixture(scope="session")
def scanner() -> ModuleType:
    """The module `mr_series` beside this file, which makes series as several vendors write them; loaded by its path."""
    spec = importlib.util.spec_from_file_location("mr_series", Path(__file__).with_name("mr_series.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def result_study() -> ModuleType:
    """The module `result_study` beside this file, which makes a study and its report; loaded by its path."""
    spec = importlib.util.spec_from_file_location("result_study", Path(__file__).with_name("result_study.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["result_study"] = module  # dataclasses look their module up by name
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module", params=["classic", "enhanced", "tilted", "two frames of reference", "Japanese name", "Russian name"])
def study_kind(request) -> str:
    """The name of each kind of study that `result_study.kind` makes."""
    return request.param

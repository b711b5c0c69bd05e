"""The pages of the report as pictures (Secondary Capture, PS3.3 A.8.1), for viewers that show no PDF: one instance per page.

They are the same pages, rasterised: red, green and blue, uncompressed, because every archive and viewer takes that. 128 dots per inch
keep the smallest letters sharp on a screen, and a page at 4.8 MB. The patient's name is in the pixels, and the object says so.
"""

from __future__ import annotations

import numpy as np
from pydicom.dataset import Dataset

from analysis.report import Report
from node import uids
from node.provenance import MANUFACTURER, MODEL, Provenance, body_part, finish

SERIES_NUMBER = 9040
WIDTH_PIXELS = 1060  # of A4: 128 dots per inch


def secondary_captures(pdf: bytes, report: Report, provenance: Provenance) -> list[Dataset]:
    """The pages of a PDF, in their order, as one series."""
    series_uid = provenance.uid("pictures series", 1, uids.digest(pdf))
    return [_capture(pixels, number, series_uid, report, provenance) for number, pixels in enumerate(pixels_of(pdf), start=1)]


def pixels_of(pdf: bytes) -> list[np.ndarray]:
    """The pages of a PDF as uint8 (row, column, 3)."""
    import pypdfium2

    with pypdfium2.PdfDocument(pdf) as document:
        return [_pixels(page) for page in document]


def _pixels(page: object) -> np.ndarray:
    bitmap = page.render(scale=WIDTH_PIXELS / page.get_width(), rev_byteorder=True, optimize_mode=None)
    return np.ascontiguousarray(bitmap.to_numpy()[..., :3])


def _capture(pixels: np.ndarray, number: int, series_uid: str, report: Report, provenance: Provenance) -> Dataset:
    from highdicom.sc import SCImage

    ds = SCImage(
        pixel_array=pixels,
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        study_instance_uid=provenance.study.study_instance_uid,
        series_instance_uid="2.25.0",
        series_number=SERIES_NUMBER,
        sop_instance_uid="2.25.0",
        instance_number=number,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=provenance.version,
        device_serial_number=provenance.serial_number,
        series_description=provenance.description("pictures"),
        patient_orientation=("L", "P"),
    )
    ds.PatientOrientation = None  # a page of paper has no direction in the patient
    ds.ConversionType, ds.BurnedInAnnotation = "WSD", "YES"
    ds.ImageType = ["DERIVED", "SECONDARY"]
    ds.DateOfSecondaryCapture, ds.TimeOfSecondaryCapture = provenance.made_at.strftime("%Y%m%d"), provenance.made_at.strftime("%H%M%S")
    ds.BodyPartExamined = body_part({note.role for note in report.series if note.used})
    return finish(ds, provenance, "pictures", number, series_uid)

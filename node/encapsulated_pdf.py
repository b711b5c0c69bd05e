"""A PDF as a DICOM object (Encapsulated PDF, PS3.3 A.45.1): the report for a reader, and the page for the patient.

The document is unverified, and what its pages show of the patient is said to be burned in. The instances that were measured on are named
as its sources.
"""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.sr.coding import Code
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from analysis.report import Report
from analysis.words import say
from node import concepts
from node.planes import reference
from node.provenance import MANUFACTURER, MODEL, Provenance, body_part, finish

REPORT_SERIES, PATIENT_SERIES = 9050, 9051


def encapsulated_pdf(pdf: bytes, report: Report, provenance: Provenance) -> Dataset:
    """The report."""
    title = provenance.language(say("MRI measurements in suspected ALS"))
    return _encapsulated(pdf, REPORT_SERIES, "report pages", title, concepts.TEXT_REPORT, report, provenance)


def patient_pdf(pdf: bytes, report: Report, provenance: Provenance) -> Dataset:
    """The page for the patient: no code says what such a document is, so none is given."""
    return _encapsulated(pdf, PATIENT_SERIES, "patient page", provenance.language(say("Your MRI examination")), None, report, provenance)


def _encapsulated(
    pdf: bytes, number: int, kind: str, title: str, name: Code | None, report: Report, provenance: Provenance
) -> Dataset:
    from highdicom import SOPClass

    ds = SOPClass(
        study_instance_uid=provenance.study.study_instance_uid,
        series_instance_uid="2.25.0",
        series_number=number,
        sop_instance_uid="2.25.0",
        sop_class_uid=EncapsulatedPDFStorage,
        instance_number=1,
        modality="DOC",
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL,
        software_versions=provenance.version,
        device_serial_number=provenance.serial_number,
        transfer_syntax_uid=ExplicitVRLittleEndian,
        series_description=provenance.description(kind),
    )
    ds.ConversionType, ds.BurnedInAnnotation = "WSD", "YES"
    ds.AcquisitionDateTime = None
    ds.DocumentTitle = title
    ds.ConceptNameCodeSequence = Items([concepts.coded(name)] if name else [])
    ds.VerificationFlag = "UNVERIFIED"
    ds.BodyPartExamined = body_part({note.role for note in report.series if note.used})
    sources = [one.header for note in report.series if note.used for one in provenance.series(note.series_instance_uid).instances[:1]]
    if sources:
        ds.SourceInstanceSequence = Items([reference(header) for header in sources])
    ds.MIMETypeOfEncapsulatedDocument = "application/pdf"
    ds.EncapsulatedDocumentLength = len(pdf)
    ds.EncapsulatedDocument = pdf + b"\0" * (len(pdf) % 2)
    return finish(ds, provenance, kind)

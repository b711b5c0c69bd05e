"""What all result objects share: whose study it is, who made the object, when, and under which UIDs.

`finish` has the last word on every object: patient and study attributes are the source's, element by element, so that the object lands in
the same study and a consistency check finds no difference; all that a library takes from the clock or draws at random is replaced.
Signs that the source's character set cannot hold (≤, →) are written plainer. Letters never are: where it has no ä, the object is in Latin-1
(ISO_IR 100) if the source is in plain ASCII, and else, or where that does not help, in Unicode (ISO_IR 192).
"""

from __future__ import annotations

import re
import unicodedata
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from io import BytesIO

from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from node import __version__, uids
from node.language import Language
from node.study import Series, Study

MANUFACTURER = "Betz"
MODEL = "Betz ALS MRI node"

# Patient, Patient Study, General Study and Clinical Trial modules (PS3.3 C.7.1, C.7.2), as far as they say whose study it is.
_IDENTITY = (
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence", "TypeOfPatientID", "PatientBirthDate",
    "PatientBirthTime", "PatientSex", "OtherPatientIDsSequence", "OtherPatientNames", "EthnicGroup", "PatientComments",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence", "QualityControlSubject",
    "PatientSpeciesDescription", "StudyInstanceUID", "StudyDate", "StudyTime", "AccessionNumber", "IssuerOfAccessionNumberSequence",
    "ReferringPhysicianName", "ReferringPhysicianIdentificationSequence", "StudyID", "StudyDescription", "ConsultingPhysicianName",
    "PhysiciansOfRecord", "NameOfPhysiciansReadingStudy", "RequestingService", "ProcedureCodeSequence", "ReferencedStudySequence",
    "PatientAge", "PatientSize", "PatientWeight", "PatientSexNeutered", "PregnancyStatus", "Occupation", "AdmissionID",
    "IssuerOfAdmissionIDSequence", "ServiceEpisodeID", "MedicalAlerts", "Allergies", "AdditionalPatientHistory",
    "AdmittingDiagnosesDescription", "AdmittingDiagnosesCodeSequence", "ClinicalTrialSponsorName", "ClinicalTrialProtocolID",
    "ClinicalTrialProtocolName", "ClinicalTrialSiteID", "ClinicalTrialSiteName", "ClinicalTrialSubjectID",
    "ClinicalTrialSubjectReadingID", "ClinicalTrialTimePointID",
)
# Type 2: there, and empty where the source does not say.
_NEVER_ABSENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName",
    "StudyID",
)
_TEXT = {"SH", "LO", "ST", "LT", "UT", "UC", "PN"}
_PLAINER = {
    "⁻": "^-", "−": "-", "–": "-", "—": "-", "±": "+/-", "×": "x", "≤": "<=", "≥": ">=", "’": "'", "‘": "'", "→": "->", "≈": "about ",
    "µ": "u", "μ": "u",
}  # fmt: skip

_DECIMAL = r"([+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?)?"  # PS3.5 6.2: DS
_FORMS = {"PatientAge": r"(\d{3}[DWMY])?", "PatientSize": _DECIMAL, "PatientWeight": _DECIMAL}


@dataclass(frozen=True, eq=False)
class Provenance:
    """Where a result comes from. `made_at` is written as content time: give the same one to get the same bytes again.

    `site` names the installation in UIDs, `config` is a `uids.config_digest`. `is_final`: some information systems take only reports that
    say FINAL; the honest default for a result that nobody has read is PRELIMINARY. `language`: that of the readable results.
    `earlier`: headers of the objects of the answer that this one replaces.
    """

    study: Study
    made_at: datetime
    ae_title: str = "BETZ"
    site: str = ""
    institution: str | None = None
    version: str = __version__
    config: str = ""
    is_final: bool = False
    serial_number: str = field(default="1")
    language: Language = field(default_factory=Language)
    earlier: tuple[Dataset, ...] = ()

    @cached_property
    def inputs(self) -> str:
        """The digest of every instance that was received."""
        return uids.input_digest(instance.header.SOPInstanceUID for series in self.study.series for instance in series.instances)

    @property
    def patient(self) -> str:
        return uids.patient_key(self.study.header)

    @property
    def device_uid(self) -> str:
        return uids.device_uid(self.site, self.ae_title)

    def uid(self, kind: str, index: int, content: str) -> str:
        return uids.object_uid(site=self.site, study_instance_uid=self.study.study_instance_uid, inputs=self.inputs, version=self.version,
                               config=self.config, kind=kind, index=index, content=content)  # fmt: skip

    def previous(self, series_number: int) -> list[Dataset]:
        """The objects of the earlier answer that a new one of this series stands for (PS3.3 C.17.2, Predecessor Documents Sequence)."""
        return [header for header in self.earlier if header.SeriesNumber == series_number]

    def series(self, series_instance_uid: str) -> Series:
        return next(series for series in self.study.series if series.series_instance_uid == series_instance_uid)

    def description(self, kind: str) -> str:
        """A Series Description: what it is, of which version, and that it is research."""
        return f"Betz {kind} v{'.'.join(self.version.split('.')[:2])} RESEARCH"[:64]


def blank_source(header: Dataset) -> Dataset:
    """The least of a source header that a constructor asks for; whose study it is comes with `finish`."""
    source = Dataset()
    for keyword in _NEVER_ABSENT:
        setattr(source, keyword, None)
    source.StudyInstanceUID, source.SeriesInstanceUID = header.StudyInstanceUID, header.SeriesInstanceUID
    source.SOPClassUID, source.SOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    source.Modality = header.get("Modality") or "MR"
    for keyword in ("Rows", "Columns", "FrameOfReferenceUID", "PositionReferenceIndicator"):
        if keyword in header:
            source[keyword] = deepcopy(header[keyword])
    return source


def body_part(roles: set[str]) -> str:
    """BodyPartExamined of an object about images of these roles; never absent, or some archives ask for a laterality."""
    return "CSPINE" if roles and all(role.startswith("cord") for role in roles) else "BRAIN"


def finish(ds: Dataset, provenance: Provenance, kind: str, index: int = 1, series_uid: str | None = None) -> Dataset:
    """The object with its identity, times, equipment and UIDs: from here on it is not changed any more. `series_uid`: that of a series
    with several objects."""
    _equip(ds, provenance)
    _stamp(ds, provenance)
    _fit_text(ds, provenance.study.header)
    _identify(ds, provenance.study.header)
    _settle_uids(ds, provenance, kind, index, series_uid)
    return ds


def _equip(ds: Dataset, provenance: Provenance) -> None:
    ds.Manufacturer, ds.ManufacturerModelName, ds.DeviceSerialNumber = MANUFACTURER, MODEL, provenance.serial_number
    ds.SoftwareVersions = provenance.version
    ds.StationName = provenance.ae_title[:16]
    ds.ContentQualification = "RESEARCH"
    if provenance.institution:
        ds.InstitutionName = provenance.institution


def _stamp(ds: Dataset, provenance: Provenance) -> None:
    date, time = provenance.made_at.strftime("%Y%m%d"), provenance.made_at.strftime("%H%M%S")
    for moment in ("InstanceCreation", "Content", "Series"):
        setattr(ds, f"{moment}Date", date)
        setattr(ds, f"{moment}Time", time)
    for item in ds.get("ContributingEquipmentSequence", ()):
        if item.get("ManufacturerModelName") == "highdicom":
            item.ContributionDateTime = date + time


def _is_writable(text: str, charset: object) -> bool:
    codecs = ["ascii"] if not charset else convert_encodings(charset)
    for codec in codecs:
        try:
            text.encode("ascii" if codec in ("default", "iso8859") and not charset else codec)
            return True
        except UnicodeEncodeError:
            continue
    return False


def _fitted(text: str, charset: object) -> str:
    """The text with every letter that the character set has, and a plainer one for every other."""
    return "".join(letter if _is_writable(letter, charset) else _plainer(letter) for letter in text)


def _plainer(letter: str) -> str:
    if letter.isalpha() and letter not in _PLAINER:
        return letter
    parts = unicodedata.normalize("NFKD", _PLAINER.get(letter, letter))
    return "".join(part for part in parts if not unicodedata.combining(part))


def _charset(source: object, elements: list[DataElement]) -> object:
    """The character set of the source, or the first beside it that has every letter of the elements."""
    letters = "".join({letter for element in elements for letter in str(element.value) if letter.isalpha() and letter not in _PLAINER})
    ascii_only = not source or source == "ISO_IR 6"
    tried = (source, *(("ISO_IR 100",) if ascii_only else ()))
    return next((one for one in tried if _is_writable(letters, one)), "ISO_IR 192")


def _fit_text(ds: Dataset, header: Dataset) -> None:
    elements = [element for element in ds.iterall() if element.VR in _TEXT and element.value]
    charset = _charset(header.get("SpecificCharacterSet"), elements)
    for element in elements:
        if not _is_writable(str(element.value), charset):
            many = not isinstance(element.value, str) and element.VM > 1
            element.value = [_fitted(str(one), charset) for one in element.value] if many else _fitted(str(element.value), charset)
    if not all(_is_writable(str(element.value), charset) for element in elements):
        charset = "ISO_IR 192"
    if charset:
        ds.SpecificCharacterSet = charset
    elif "SpecificCharacterSet" in ds:
        del ds.SpecificCharacterSet


def _identify(ds: Dataset, header: Dataset) -> None:
    for keyword in _IDENTITY:
        if keyword in ds:
            del ds[keyword]
        if keyword in header and not _is_broken(keyword, header):
            ds[keyword] = deepcopy(header[keyword])
        elif keyword in _NEVER_ABSENT:
            setattr(ds, keyword, None)


def _is_broken(keyword: str, header: Dataset) -> bool:
    """An age of `***` or a weight of `heavy` is not passed on: it would make the result invalid. Who it is stays as the source says it."""
    if header[keyword].VR == "SQ":  # a sequence of these modules has items, or is absent
        return not header[keyword].value
    return keyword in _FORMS and not re.fullmatch(_FORMS[keyword], str(header.get(keyword) or "").strip())


def _settle_uids(ds: Dataset, provenance: Provenance, kind: str, index: int, series_uid: str | None) -> None:
    """UIDs that follow from the content: it is digested with placeholders in their places."""
    _name(ds, "2.25.0", "2.25.0", "2.25.0")
    content = uids.digest(encoded(ds))
    mine, series, dimensions = (provenance.uid(what, index, content) for what in (kind, f"{kind} series", f"{kind} dimensions"))
    _name(ds, mine, series_uid or series, dimensions)


def _name(ds: Dataset, instance_uid: str, series_uid: str, dimension_uid: str) -> None:
    ds.SOPInstanceUID, ds.SeriesInstanceUID = instance_uid, series_uid
    for item in (*ds.get("DimensionOrganizationSequence", ()), *ds.get("DimensionIndexSequence", ())):
        item.DimensionOrganizationUID = dimension_uid
    if "file_meta" not in ds.__dict__:
        ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID, ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, instance_uid
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian


def encoded(ds: Dataset) -> bytes:
    """The DICOM file as bytes."""
    buffer = BytesIO()
    ds.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()

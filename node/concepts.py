"""Codes and words of the result objects: what a concept, a unit, a side and a verdict are in DICOM, and how a reader sees them.

Every code was seen in PS3.16 as pydicom carries it, or is private under 99ALSMRI, which each object declares. Units are UCUM as DICOM's own
lists spell it: millilitres are written as cm3 and 10⁻³ mm²/s as um2/ms, which are the same numbers.
"""

from __future__ import annotations

import re

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from analysis.outcome import Concept, Measurement
from analysis.sentence import SERIES_NAMES
from analysis.words import joined, say
from node.language import LANGUAGES, Language

PRIVATE_SCHEME = "99ALSMRI"

BRAIN = Code("12738006", "SCT", "Brain")
CERVICAL_SPINE = Code("122494005", "SCT", "Cervical spine")
SIDES = {"left": Code("7771000", "SCT", "Left"), "right": Code("24028007", "SCT", "Right")}
LATERALITY = Code("272741003", "SCT", "Laterality")
VERDICTS = {
    "present": Code("52101004", "SCT", "Present"),
    "absent": Code("272519000", "SCT", "Absent"),
    "indeterminate": Code("373068000", "SCT", "Undetermined"),
    "not assessed": Code("385660001", "SCT", "Not done"),
}
STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")
LESION = Code("49755003", "SCT", "Morphologically Abnormal Structure")
FUNCTION = Code("246464006", "SCT", "Function")
_LESIONS = {"110702", "110701", "RID39467", "52988006", "432504007", "230698000", "274100004", "50960005", "108369006", "126952004"}
_FUNCTIONS = {"FMRI-ACTIVATION"}

MEAN = Code("373098007", "SCT", "Mean")
MEDIAN = Code("373099004", "SCT", "Median")
COMMENT = Code("121106", "DCM", "Comment")
LIMIT = Code("USE-LIMIT", PRIVATE_SCHEME, "Limitation of use")
NOT_ASSESSED = Code("REASON-NOT-ASSD", PRIVATE_SCHEME, "Reason not assessed")
SEQUENCES = Code("EXAM-SEQUENCES", PRIVATE_SCHEME, "Sequences of an examination for suspected ALS")
CHANGES = Code("CHANGE", PRIVATE_SCHEME, "Change since an earlier examination")
CHANGE_PER_YEAR = Code("CHANGE-PER-YEAR", PRIVATE_SCHEME, "Change per year")
RELIABLE_CHANGE = Code("RCI", PRIVATE_SCHEME, "Reliable change index")
TIME_POINT = Code("126070", "DCM", "Subject Time Point Identifier")
STUDY_UID = Code("110180", "DCM", "Study Instance UID")
PRIOR_REPORT = Code("122075", "DCM", "Prior report for current patient")
SUPPORT = Code("UMN-SUPPORT", PRIVATE_SCHEME, "Support for upper motor neuron involvement")
UNCERTAINTY = Code("371884006", "SCT", "+/-, range of measurement uncertainty")
POPULATION = Code("121405", "DCM", "Population description")
Z_SCORE = Code("121416", "DCM", "Z-Score of measurement")
SPREAD = Code("121414", "DCM", "Standard deviation of population")
LOW = Code("385524004", "SCT", "Normal Range Lower Limit")
HIGH = Code("371933006", "SCT", "Normal Range Upper Limit")
PERCENTILE = Code("121415", "DCM", "Percentile Ranking of measurement")
METHOD = Code("121423", "DCM", "Method Citation")
ALGORITHM_NAME = Code("111001", "DCM", "Algorithm Name")
ALGORITHM_VERSION = Code("111003", "DCM", "Algorithm Version")
ITEM_NAME = Code("ITEM-NAME", PRIVATE_SCHEME, "Name of the measurement or finding")
ITEM_LEVEL = Code("ITEM-LEVEL", PRIVATE_SCHEME, "Level of the structure")
ITEM_GRADE = Code("ITEM-GRADE", PRIVATE_SCHEME, "Grade of the finding")
POPULATION_NAME = Code("POPULATION-NAME", PRIVATE_SCHEME, "Name of the population")
POPULATION_SIZE = Code("POPULATION-N", PRIVATE_SCHEME, "Number of people in the population")
PERCENTILE_LOW = Code("PERCENTILE-LOW", PRIVATE_SCHEME, "Percentile ranking, lower limit at 95 % probability")
PERCENTILE_HIGH = Code("PERCENTILE-HIGH", PRIVATE_SCHEME, "Percentile ranking, upper limit at 95 % probability")
SERIES_ROLE = Code("SERIES-ROLE", PRIVATE_SCHEME, "Role of the series in the analysis")
SCANNER = Code("SCANNER", PRIVATE_SCHEME, "Device of the acquisition, for comparison")
PROTOCOL = Code("PROTOCOL", PRIVATE_SCHEME, "Physics of the acquisition, for comparison")
CONCLUSION = Code("121077", "DCM", "Conclusion")
COMPARISON = Code("18834-2", "LN", "Previous Findings")
FINDINGS = Code("121070", "DCM", "Findings")
FINDING = Code("121071", "DCM", "Finding")
MEASUREMENTS = Code("126010", "DCM", "Imaging Measurements")
SUMMARY = Code("121111", "DCM", "Summary")
EVALUATIONS = Code("C0034375", "UMLS", "Qualitative Evaluations")
IMAGE_LIBRARY = Code("111028", "DCM", "Image Library")
IMAGE_LIBRARY_GROUP = Code("126200", "DCM", "Image Library Group")
MODALITY = Code("121139", "DCM", "Modality")
MAGNETIC_RESONANCE = Code("MR", "DCM", "Magnetic Resonance")
SOURCE = Code("260753009", "SCT", "Source")
PROCEDURE = Code("25056-3", "LN", "MRI unspecified body region")
DTI = Code("113223", "DCM", "DTI")
SINGLE_TENSOR = Code("113231", "DCM", "Single Tensor")
DETERMINISTIC = Code("113211", "DCM", "Deterministic")
DIFFUSION_ANALYSIS = Code("129105", "DCM", "Diffusion image analysis")
ALGORITHM_FAMILY = Code("123111", "DCM", "Deformable Models")
SEGMENTATION_RESULT = Code("128182", "DCM", "Segmentation Result")
MEASUREMENT_REPORT = Code("126000", "DCM", "Imaging Measurement Report")
TEXT_REPORT = Code("18748-4", "LN", "Diagnostic imaging report")
NO_UNITS = Code("1", "UCUM", "no units")
PERCENT = Code("%", "UCUM", "Percent")

_CM3 = Code("cm3", "UCUM", "cubic centimeter")
_UM2_MS = Code("um2/ms", "UCUM", "um2/ms")
_UNITS = {  # of several with one code, the one that markers write comes first
    "1": NO_UNITS,
    "{ratio}": Code("{ratio}", "UCUM", "ratio"),
    "%": PERCENT,
    "mm": Code("mm", "UCUM", "mm"),
    "mm2": Code("mm2", "UCUM", "square millimeter"),
    "mm3": Code("mm3", "UCUM", "cubic millimeter"),
    "ml": _CM3,
    "mL": _CM3,
    "cm3": _CM3,
    "10-3.mm2/s": _UM2_MS,
    "um2/ms": _UM2_MS,
    "10*-3.mm2/s": _UM2_MS,
    "10⁻³ mm²/s": _UM2_MS,
    "mm2/s": Code("mm2/s", "UCUM", "mm2/s"),
    "Hz": Code("Hz", "UCUM", "Hz"),
    "s": Code("s", "UCUM", "second"),
    "ppm": Code("ppm", "UCUM", "ppm"),
}
_DIFFUSIVITY = "10^-3 mm²/s"
_READ_AS = {"1": "", "{ratio}": "", "mm2": "mm²", "mm3": "mm³", **dict.fromkeys(("um2/ms", "10-3.mm2/s", "10*-3.mm2/s"), _DIFFUSIVITY)}
_LEVELS = {**SERIES_NAMES, "plic": say("PLIC"), "short_te": say("short echo time"), "long_te": say("long echo time")}


def language_code(language: Language) -> Code:
    _, tag, meaning = LANGUAGES[language.code]
    return Code(tag, "RFC5646", meaning)


def translated(one: Code, language: Language) -> Code:
    """The code with its meaning in that language: the meaning is what a reader sees, and no program goes by it (PS3.3 8.3)."""
    return Code(one.value, one.scheme_designator, language(one.meaning)[:64])


def code(concept: Concept) -> Code:
    return Code(concept.code, concept.scheme, concept.meaning[:64])


def coded(one: Code) -> Dataset:
    """The item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = one.value, one.scheme_designator, one.meaning
    return item


def private_schemes() -> list[Dataset]:
    """The declaration of the private coding scheme that every object carries."""
    from highdicom.coding_schemes import CodingSchemeIdentificationItem

    return [CodingSchemeIdentificationItem(PRIVATE_SCHEME, name="MRI measurements in suspected ALS", responsible_organization="Betz")]


def unit_code(unit: str) -> Code:
    """The unit as DICOM writes it, the number unchanged; ValueError for a unit nobody has looked up."""
    if unit not in _UNITS:
        raise ValueError(f"the unit {unit!r} has no code in node/concepts.py")
    return _UNITS[unit]


def per_year(unit: str) -> Code:
    """The unit of a change in a year (UCUM: a)."""
    own = unit_code(unit)
    return Code("/a", "UCUM", "per year") if own == NO_UNITS else Code(f"{own.value}/a", "UCUM", f"{own.meaning} per year")


def unit_of(unit: Code) -> str:
    """The unit as markers write it, from its code; ValueError for one that none of them has."""
    found = next((name for name, one in _UNITS.items() if one.value == unit.value), None)
    if found is None:
        raise ValueError(f"no marker has the unit {unit.value}")
    return found


def unit_words(unit: str) -> str:
    return _READ_AS.get(unit, unit)


def property_category(concept: Concept) -> Code:
    """The category of a segment (CID 7150)."""
    return LESION if concept.code in _LESIONS else FUNCTION if concept.code in _FUNCTIONS else STRUCTURE


def level_words(level: str) -> str:
    return _LEVELS.get(level, level.replace("_", " "))


def structure_words(site: Concept, side: str | None = None, level: str | None = None) -> str:
    """What a reader calls it: `Corticospinal tract, left, PLIC`."""
    name = site.meaning[:1].upper() + site.meaning[1:]
    return joined([name, *([side] if side else []), *([level_words(level)] if level else [])])


def derivation(measurement: Measurement) -> Code | None:
    """How the voxels became one number, where the method says it."""
    said = re.search(r"\b(mean|median)\b", measurement.method or "", re.IGNORECASE)
    return None if said is None else MEDIAN if said[1].lower() == "median" else MEAN


def decimals(value: float) -> int:
    """How many decimals a reader wants of a number of this size: three figures or so."""
    size = abs(value)
    return 0 if size >= 1000 else 1 if size >= 100 else 2 if size >= 1 else 3

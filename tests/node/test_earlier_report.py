"""Our coded reports read back: the same numbers for every marker of the house, and refusals in words."""

from copy import deepcopy
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from pydicom import dcmread

from analysis.earlier import Acquisition, Earlier, EarlierFinding, EarlierMarker, EarlierMeasurement
from analysis.marker import markers
from analysis.outcome import FAILED, MEASURED, NOT_MEASURABLE, Concept, Finding, Mask, Measurement, Outcome, Reference
from node import __version__
from node.earlier_report import earlier_of, read_earlier
from node.errors import StudyError
from node.language import Language
from node.measurement_report import measurement_report
from node.provenance import encoded
from node.report_json import report_json
from node.segmentation import segmentations

UNITS = ("1", "ml", "mm", "mm2", "10-3.mm2/s", "%", "Hz")
LEVELS = (None, "whole", "corona_radiata", "C3", "flair", "disc C5/C6")
NEW = ("ITEM-NAME", "ITEM-LEVEL", "POPULATION-NAME", "POPULATION-N", "PERCENTILE-LOW", "PERCENTILE-HIGH", "SERIES-ROLE")


def written(case, report, language="en"):
    """The report as an archive would give it back."""
    provenance = replace(case.provenance, language=Language(language))
    ds = measurement_report(report, provenance, case.images, segmentations(report, provenance, case.images))
    return dcmread(BytesIO(encoded(ds)))


def told(report):
    """The markers as they go into report.json, which writes these fields as they are."""
    found = {}
    for one in report.outcomes:
        numbers = tuple(EarlierMeasurement(m.name, m.value, m.unit, m.side, m.level, m.uncertainty, m.reference) for m in one.measurements)
        findings = tuple(EarlierFinding(f.name, f.value, f.side, f.level, f.grade) for f in one.findings)
        if numbers or findings:
            found[one.marker] = EarlierMarker(one.version, numbers, findings)
    return found


def of_json(report):
    """The same out of report.json itself."""
    found = {}
    for name, one in report_json(report, {})["markers"].items():
        numbers = tuple(EarlierMeasurement(m["name"], m["value"], m["unit"], m["side"], m["level"], m["uncertainty"],
                                           m["reference"] and Reference(**m["reference"])) for m in one["measurements"])  # fmt: skip
        findings = tuple(EarlierFinding(f["name"], f["value"], f["side"], f["level"], f["grade"]) for f in one["findings"])
        if numbers or findings:
            found[name] = EarlierMarker(one["version"], numbers, findings)
    return found


def in_order(found):
    """Groups put what belongs together side by side, so the order may differ."""
    return {name: (one.version, sorted(map(repr, one.measurements)), sorted(map(repr, one.findings))) for name, one in found.items()}


def concept(name):
    return Concept("99ALSMRI", name.upper()[:16], name)


def any_reference(chance):
    n = int(chance.integers(20, 90000))
    return Reference(f"healthy women of the patient's age (site {n}; 3 T)", n, *chance.normal(size=8).tolist(), "10.1000/adults")


def any_measurement(chance, name, side, level):
    value = float(chance.normal() * 10.0 ** chance.integers(-9, 7))
    reference = any_reference(chance) if chance.random() < 0.5 else None
    error = float(abs(chance.normal())) if chance.random() < 0.7 else None
    unit, site = str(chance.choice(UNITS)), concept(f"site of {name}")
    return Measurement(name, value, unit, concept(name), site, side, level, error, reference, None if reference else "no population")


def any_finding(chance, name, marker, side):
    verdict = str(chance.choice(("present", "absent", "indeterminate", "not assessed")))
    site = concept(f"site of {marker.gives[0]}") if marker.gives and chance.random() < 0.5 else concept("elsewhere")
    grade, level = int(chance.integers(0, 3)) if chance.random() < 0.5 else None, LEVELS[chance.integers(6)]
    return Finding(name, verdict, concept(name), site, side, grade, "within the error", level)


def any_outcome(chance, marker, t1):
    if chance.random() < 0.15:
        return Outcome(marker.name, marker.version, str(chance.choice((FAILED, NOT_MEASURABLE))), "the images end above it")
    places = [(side, LEVELS[i]) for side in (None, "left", "right") for i in chance.choice(len(LEVELS), 2, replace=False)]
    numbers = tuple(any_measurement(chance, name, *place) for name in marker.gives for place in places)
    findings = tuple(any_finding(chance, name, marker, side) for name in marker.findings for side in (None, "left", "right"))
    inside = np.zeros(t1.array.shape, dtype=bool)
    inside[2:8, 4:20, 3 : 8 + chance.integers(10)] = True
    masks = (Mask(marker.name, "t1", inside, concept(marker.name)),) if chance.random() < 0.7 else ()
    return Outcome(marker.name, marker.version, MEASURED, measurements=numbers, findings=findings, masks=masks)


@pytest.mark.parametrize("seed", range(4))
def test_every_number_of_every_marker_is_what_report_json_says(scanner, result_study, seed):
    case, chance = result_study.case(scanner), np.random.default_rng(seed)
    outcomes = tuple(any_outcome(chance, marker, case.images["t1"]) for marker in markers())
    report = replace(case.report, outcomes=outcomes, support=None)
    earlier = earlier_of(written(case, report, ("en", "de")[seed % 2]))
    assert in_order(earlier.markers) == in_order(told(report))
    assert earlier.values == sum(len(one.measurements) for one in outcomes) > 100


def test_a_report_says_which_examination_and_on_what_it_was_measured(scanner, result_study, tmp_path):
    case = result_study.case(scanner, StudyDate="20250503")
    series = tuple(replace(note, scanner=f"Three of {note.role}", protocol=f"TE of {note.role}") for note in case.report.series)
    ds = written(case, replace(case.report, series=series))
    ds.save_as(tmp_path / "sr.dcm")
    earlier = read_earlier(tmp_path / "sr.dcm")
    assert in_order(earlier.markers) == in_order(of_json(case.report)) == in_order(told(case.report))
    assert (earlier.study_instance_uid, earlier.sop_instance_uid) == (case.report.study_instance_uid, ds.SOPInstanceUID)
    assert (earlier.day, earlier.days_before) == ("2025-05-03", 0)
    assert earlier.acquisitions == {role: Acquisition(f"Three of {role}", f"TE of {role}") for role in ("t1", "dwi")}
    assert earlier.marker("brain_volumes", 1).measurement("brain_volume").value == 1234.5
    assert earlier.marker("brain_volumes", 2) is None and earlier.marker("motor_band", 1) is None


def test_a_report_of_before_the_names_is_read_by_its_codes(scanner, result_study):
    case = result_study.case(scanner)
    ds = written(case, case.report, "de")
    without_names(ds)
    earlier, wanted = earlier_of(ds), told(case.report)
    exact = {name: (one.version, sorted((m.name, str(m.side), m.level or "", m.value, m.unit, m.uncertainty) for m in one.measurements))
             for name, one in wanted.items()}  # fmt: skip
    assert {name: (one.version, sorted((m.name, str(m.side), m.level or "", m.value, m.unit, m.uncertainty) for m in one.measurements))
            for name, one in earlier.markers.items()} == exact  # fmt: skip
    reference = earlier.markers["cst_diffusion"].measurement("cst_fa", "left", "plic").reference
    assert (reference.population, reference.n, reference.z, reference.low) == ("Adults, 3 T", 120, -1.25, 0.5146)
    assert earlier.acquisitions == {}


def without_names(item):
    if "ContentSequence" in item:
        kept = [one for one in item.ContentSequence if not (one.get("ConceptNameCodeSequence") and
                                                            one.ConceptNameCodeSequence[0].CodeValue in NEW)]  # fmt: skip
        item.ContentSequence = kept
        for one in kept:
            without_names(one)


def numbers_in(item):
    for one in item.get("ContentSequence", ()):
        yield from ([one] if one.ValueType == "NUM" else [])
        yield from numbers_in(one)


def change(ds, act):
    ds = deepcopy(ds)
    act(ds)
    return ds


def set_value(ds, value):
    next(numbers_in(ds)).MeasuredValueSequence[0].FloatingPointValue = value


def set_unit(ds):
    next(numbers_in(ds)).MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue = "furlong"


def drop_version(item):
    for one in item.get("ContentSequence", ()):
        if one.get("ConceptNameCodeSequence") and one.ConceptNameCodeSequence[0].CodeValue == "111003":
            one.ConceptNameCodeSequence[0].CodeValue = "111999"
        drop_version(one)


@pytest.mark.parametrize(("act", "why"), [
    (lambda ds: setattr(ds, "Manufacturer", "Another"), "the earlier report was not made by Betz"),
    (lambda ds: setattr(ds, "SOPClassUID", "1.2.840.10008.5.1.4.1.1.88.33"), "the earlier report was not made by Betz"),
    (lambda ds: setattr(ds, "SoftwareVersions", "99.0.0"), "the earlier report was made by Betz 99.0.0, which is newer than this one"),
    (lambda ds: delattr(ds, "SoftwareVersions"), "the earlier report is damaged (AttributeError)"),
    (lambda ds: delattr(ds, "ContentSequence"), "the earlier report is damaged (AttributeError)"),
    (lambda ds: delattr(ds, "StudyDate"), "the earlier report is damaged (ValueError)"),
    (lambda ds: set_value(ds, float("nan")), "the earlier report is damaged (a number is not finite)"),
    (set_unit, "the earlier report is damaged (ValueError)"),
    (drop_version, "the earlier report is damaged (a name, a version or a population is missing)"),
])  # fmt: skip
def test_what_cannot_be_trusted_is_refused_in_words(scanner, result_study, act, why):
    case = result_study.case(scanner)
    ds = written(case, case.report)
    assert earlier_of(change(ds, lambda ds: setattr(ds, "SoftwareVersions", __version__))).values == 11
    with pytest.raises(StudyError) as refused:
        earlier_of(change(ds, act))
    assert refused.value.reason == why


def test_one_number_twice_is_no_number(scanner, result_study):
    case = result_study.case(scanner)
    ds = written(case, case.report)
    root = next(item for item in ds.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010")
    root.ContentSequence.append(deepcopy(root.ContentSequence[-1]))
    with pytest.raises(StudyError, match="two values of one measurement"):
        earlier_of(ds)


def test_a_file_that_is_cut_anywhere_is_refused_or_says_the_same(scanner, result_study, tmp_path):
    case, chance, outcomes = result_study.case(scanner), np.random.default_rng(0), set()
    whole = encoded(written(case, case.report))
    expected = earlier_of(dcmread(BytesIO(whole)))
    for end in chance.integers(0, len(whole), 60):
        (tmp_path / "cut.dcm").write_bytes(whole[:end])
        try:
            found = read_earlier(tmp_path / "cut.dcm")
            outcomes.add(isinstance(found, Earlier) and found == expected)
        except StudyError as error:
            outcomes.add(error.reason.startswith("the earlier report "))
    assert outcomes == {True}

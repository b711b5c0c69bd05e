"""Every kind of series that a study of the head and neck may hold, as several vendors write it, gets its role from physics."""

import pytest
from pydicom import uid

from analysis.examination import ROLES
from node.roles import choose, decide, with_choice
from node.study import read_study

# name: role, a part of the reason, tags, (slices, step, pixel, plane)
HEAD_SAGITTAL, HEAD_AXIAL, SPINE = (44, 4.0, 4.0, "SAGITTAL"), (40, 4.0, 3.75, "AXIAL"), (15, 3.3, 4.0, "SAGITTAL")
GR3D = {"ScanningSequence": "GR", "MRAcquisitionType": "3D"}
SE2D = {"ScanningSequence": "SE", "MRAcquisitionType": "2D", "SequenceVariant": "SK"}
MPRAGE = {**GR3D, "SequenceVariant": ["SK", "SP", "MP"], "RepetitionTime": 2300, "EchoTime": 2.98, "InversionTime": 900, "FlipAngle": 9}
T2_TSE = {**SE2D, "RepetitionTime": 5000, "EchoTime": 100, "EchoTrainLength": 16, "FlipAngle": 150}
T2STAR = {"ScanningSequence": "GR", "MRAcquisitionType": "2D", "RepetitionTime": 620, "EchoTime": 20, "FlipAngle": 20}
QUICK = {**GR3D, "RepetitionTime": 21, "EchoTime": 3.6, "FlipAngle": 25}
SWI = {**GR3D, "SequenceVariant": "SP", "RepetitionTime": 28, "EchoTime": 20, "FlipAngle": 15}

CASES = {
    "siemens mprage": ("t1", "inversion, TR 2300 ms, TE 2.98 ms, TI 900 ms", MPRAGE, HEAD_SAGITTAL),
    "ge bravo": (
        "t1",
        "TI 450 ms",
        {**GR3D, "SequenceVariant": ["SS", "SP", "SK"], "RepetitionTime": 8.2, "EchoTime": 3.2, "InversionTime": 450, "FlipAngle": 12},
        HEAD_SAGITTAL,
    ),
    "philips tfe, prepared, no TI": (
        "t1",
        "preparation",
        {**GR3D, "SequenceVariant": "MP", "RepetitionTime": 8.1, "EchoTime": 3.7, "FlipAngle": 8},
        HEAD_SAGITTAL,
    ),
    "mprage, private and inversion tags removed": (
        "t1",
        "inversion cycle",
        {**GR3D, "RepetitionTime": 2300, "EchoTime": 3, "FlipAngle": 9},
        HEAD_SAGITTAL,
    ),
    "philips tfe, private tags removed": (
        "t1",
        "because the description says so",
        {**GR3D, "RepetitionTime": 8.1, "EchoTime": 3.7, "FlipAngle": 8, "SeriesDescription": "T1W_3D_TFE"},
        HEAD_SAGITTAL,
    ),
    "mp2rage, second inversion": ("other", "too late", {**MPRAGE, "InversionTime": 2700}, HEAD_SAGITTAL),
    "uih gre_fsp": ("t1", "TI 810", {**GR3D, "RepetitionTime": 7.2, "EchoTime": 3.1, "InversionTime": 810, "FlipAngle": 10}, HEAD_SAGITTAL),
    "canon mprage": ("t1", "TI 900", {**GR3D, "RepetitionTime": 5.8, "EchoTime": 2.7, "InversionTime": 900, "FlipAngle": 9}, HEAD_AXIAL),
    "spoiled gradient echo": ("t1", "flip angle 30", {**GR3D, "RepetitionTime": 25, "EchoTime": 5, "FlipAngle": 30}, HEAD_AXIAL),
    "siemens space of the cord": (
        "cord_t2",
        "TR 1500 ms, TE 120 ms",
        {**SE2D, "MRAcquisitionType": "3D", "RepetitionTime": 1500, "EchoTime": 120, "FlipAngle": 120, "BodyPartExamined": "CSPINE"},
        SPINE,
    ),
    "proton density spin echo": ("other", "neither T1 nor T2", {**SE2D, "RepetitionTime": 1500, "EchoTime": 30}, HEAD_AXIAL),
    "proton density flash": ("other", "not weighted by T1", {**GR3D, "RepetitionTime": 25, "EchoTime": 5, "FlipAngle": 5}, HEAD_AXIAL),
    "t1 spin echo": ("t1", "spin echo", {**SE2D, "RepetitionTime": 550, "EchoTime": 12, "FlipAngle": 90}, HEAD_AXIAL),
    "t1 flair": (
        "t1",
        "TI 860",
        {**SE2D, "ScanningSequence": ["SE", "IR"], "RepetitionTime": 2200, "EchoTime": 9, "InversionTime": 860},
        HEAD_AXIAL,
    ),
    "mprage with agent": ("t1_contrast", ", contrast enhanced", {**MPRAGE, "ContrastBolusAgent": "Gadovist"}, HEAD_SAGITTAL),
    "mprage, agent none": ("t1", "not contrast enhanced", {**MPRAGE, "ContrastBolusAgent": "NONE"}, HEAD_SAGITTAL),
    "siemens space flair": (
        "flair",
        "fluid is nulled",
        {
            "ScanningSequence": ["SE", "IR"],
            "MRAcquisitionType": "3D",
            "RepetitionTime": 5000,
            "EchoTime": 393,
            "InversionTime": 1800,
            "FlipAngle": 120,
        },
        HEAD_SAGITTAL,
    ),
    "siemens tirm flair": (
        "flair",
        "TI 2500",
        {**SE2D, "ScanningSequence": ["SE", "IR"], "RepetitionTime": 9000, "EchoTime": 81, "InversionTime": 2500},
        HEAD_AXIAL,
    ),
    "ge cube flair": (
        "flair",
        "TI 1650",
        {"ScanningSequence": "RM", "MRAcquisitionType": "3D", "RepetitionTime": 6000, "EchoTime": 120, "InversionTime": 1650},
        HEAD_SAGITTAL,
    ),
    "stir": (
        "other",
        "STIR",
        {**SE2D, "ScanningSequence": ["SE", "IR"], "RepetitionTime": 4000, "EchoTime": 60, "InversionTime": 160},
        HEAD_AXIAL,
    ),
    "t2 tse": ("t2", "TE 100 ms", T2_TSE, HEAD_AXIAL),
    "t2 space": (
        "t2",
        "3D spin echo",
        {"ScanningSequence": "SE", "MRAcquisitionType": "3D", "RepetitionTime": 3200, "EchoTime": 408, "FlipAngle": 120},
        HEAD_SAGITTAL,
    ),
    "proton density": ("other", "neither T1 nor T2", {**SE2D, "RepetitionTime": 3000, "EchoTime": 15}, HEAD_AXIAL),
    "siemens swi": ("swi", "susceptibility", {**SWI, "ImageType": ["ORIGINAL", "PRIMARY", "M", "SWI", "NORM"]}, HEAD_AXIAL),
    "3d gradient echo, long te": ("swi", "TE 20 ms", SWI, HEAD_AXIAL),
    "swi minimum projection": ("other", "projection", {**SWI, "ImageType": ["DERIVED", "PRIMARY", "M", "MNIP"]}, HEAD_AXIAL),
    "swi phase": ("other", "phase", {**SWI, "ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, HEAD_AXIAL),
    "philips phase": ("other", "phase", {**SWI, "ImageType": ["ORIGINAL", "PRIMARY", "PHASE MAP", "P", "FFE"]}, HEAD_AXIAL),
    "2d t2star": (
        "t2star",
        "2D gradient echo",
        T2STAR,
        HEAD_AXIAL,
    ),
    "ciss": ("other", "balanced", {**QUICK, "SequenceVariant": ["SK", "SS"]}, HEAD_AXIAL),
    "time of flight": ("other", "angiography", {**QUICK, "AngioFlag": "Y"}, HEAD_AXIAL),
    "time of flight by name": (
        "other",
        "because the description says so",
        {**QUICK, "SeriesDescription": "3D_TOF_multi-slab"},
        HEAD_AXIAL,
    ),
    "adc map": ("other", "map", {**SE2D, "ScanningSequence": "EP", "ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, HEAD_AXIAL),
    "survey": ("other", "localizer", {**QUICK, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, HEAD_AXIAL),
    "sodium": ("other", "23NA", {**GR3D, "ImagedNucleus": "23Na", "RepetitionTime": 100, "EchoTime": 0.3, "FlipAngle": 90}, HEAD_AXIAL),
    "knee": ("other", "knee", {**T2_TSE, "BodyPartExamined": "KNEE"}, SPINE),
    "cervical t2": ("cord_t2", "body part is cspine", {**T2_TSE, "BodyPartExamined": "CSPINE"}, SPINE),
    "cervical t2, body part left from the head": (
        "cord_t2",
        "though the body part says head",
        {**T2_TSE, "SeriesDescription": "t2_tse_sag C-spine"},
        SPINE,
    ),
    "cervical t2, no body part": ("cord_t2", "by its geometry", {**T2_TSE, "BodyPartExamined": None}, SPINE),
    "cervical t2star": (
        "cord_t2star",
        "gradient echo",
        {**T2STAR, "BodyPartExamined": "CSPINE"},
        (20, 3.0, 2.8, "AXIAL"),
    ),
    "head, body part orbit": ("t1", "holds a head", {**MPRAGE, "BodyPartExamined": "ORBIT"}, HEAD_SAGITTAL),
    "orbit": ("other", "no whole head", {**T2_TSE, "BodyPartExamined": "ORBIT"}, (12, 3.0, 2.5, "AXIAL")),
    "lumbar t2": ("other", "lspine", {**T2_TSE, "BodyPartExamined": "LSPINE"}, SPINE),
    "head t2, body part left from the neck": ("t2", "holds a head", {**T2_TSE, "BodyPartExamined": "CSPINE"}, HEAD_AXIAL),
    "ct": ("other", "no MR image", {"SOPClassUID": uid.CTImageStorage, "Modality": "CT"}, HEAD_AXIAL),
    "screenshot": ("other", "secondary capture: stored, never analysed", {"SOPClassUID": uid.SecondaryCaptureImageStorage}, HEAD_AXIAL),
    "raw": ("other", "raw data", {"SOPClassUID": uid.RawDataStorage}, HEAD_AXIAL),
    "spectrum": (
        "mrs",
        "TE 30 ms",
        {"SOPClassUID": uid.MRSpectroscopyStorage, "ResonantNucleus": "1H", "EchoTime": 30, "ImagedNucleus": None,
         "MRSpectroscopyAcquisitionType": "SINGLE_VOXEL"},
        (1, 20.0, 20.0, "AXIAL"),
    ),
    "phosphorus spectrum": ("other", "31P", {"SOPClassUID": uid.MRSpectroscopyStorage, "ResonantNucleus": "31P"}, (1, 20.0, 20.0, "AXIAL")),
    "no physics, a name": ("t1", "taken as T1 because the description says so", {"SeriesDescription": "anat-T1w"}, HEAD_SAGITTAL),
    "no physics, no name": ("other", "no TR, TE or TI", {"SeriesDescription": "scan 7"}, HEAD_SAGITTAL),
    "a wrong name": ("t2", "spin echo", {**T2_TSE, "SeriesDescription": "t1_mprage_sag"}, HEAD_AXIAL),
}


def a_series(scanner, tags, geometry, number=1):
    slices, step, pixel, plane = geometry
    return scanner.series(scanner.stack(scanner.header(**tags), slices, step, pixel, getattr(scanner, plane)), number)


@pytest.mark.parametrize("name", CASES)
def test_the_role_and_its_reason(scanner, name):
    role, reason, tags, geometry = CASES[name]
    decision = decide(a_series(scanner, tags, geometry))
    assert (decision.role, reason in decision.why) == (role, True), decision.why
    assert decision.role in ROLES
    assert decision.usable == (role != "other"), decision.problems


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[0] in ("t1", "flair", "t2", "swi", "t1_contrast")])
def test_the_enhanced_object_has_the_same_role(scanner, name):
    role, _, tags, geometry = CASES[name]
    if "EchoTime" not in tags or tags.get("ScanningSequence") == "RM" or "no TI" in name:
        pytest.skip("the enhanced object states this kind otherwise")
    slices, step, pixel, plane = geometry
    headers = scanner.stack(scanner.header(**tags), slices, step, pixel, getattr(scanner, plane))
    shared = {
        "MRAcquisitionType": tags["MRAcquisitionType"],
        "EchoPulseSequence": "GRADIENT" if "GR" in tags["ScanningSequence"] else "SPIN",
        "BodyPartExamined": tags.get("BodyPartExamined", "HEAD"),
        "ContrastBolusAgent": tags.get("ContrastBolusAgent"),
        "SeriesDescription": tags.get("SeriesDescription"),
    }
    assert decide(scanner.series([scanner.enhanced(headers, **shared)])).role == role


def directions(count, b_value=1000.0):
    import numpy as np

    vectors = np.random.default_rng(1).normal(size=(count, 3))
    return [(b_value, (vector / np.linalg.norm(vector)).tolist()) for vector in vectors]


EPI = {"ScanningSequence": ["EP", "SE"], "MRAcquisitionType": "2D", "RepetitionTime": 8000, "EchoTime": 85, "FlipAngle": 90}


def weighted(scanner, vendor, weights):
    """A diffusion series with the b-values where the vendor puts them."""
    places = scanner.stack(scanner.header(**EPI), 30, 4.0)
    headers = scanner.repeated(places, [{} for _ in weights])
    for index, one in enumerate(headers):
        b_value, vector = weights[index // len(places)]
        if vendor == "standard":
            one.DiffusionBValue = b_value
            one.DiffusionGradientOrientation = vector if vector else [0.0, 0.0, 0.0]
        elif vendor == "siemens":
            scanner.private(one, 0x0019, "SIEMENS MR HEADER", 0x0C, "IS", int(b_value))
            if vector:
                scanner.private(one, 0x0019, "SIEMENS MR HEADER", 0x0E, "FD", vector)
        elif vendor == "ge":
            scanner.private(one, 0x0043, "GEMS_PARM_01", 0x39, "IS", [int(b_value) + 1_000_000_000, 0, 0, 0])
        elif vendor == "philips":
            scanner.private(one, 0x2001, "Philips Imaging DD 001", 0x03, "FL", b_value)
            for element, value in zip((0xB0, 0xB1, 0xB2), vector or (0, 0, 0), strict=True):
                scanner.private(one, 0x2005, "Philips MR Imaging DD 001", element, "FL", value)
        elif vendor == "uih":
            scanner.private(one, 0x0065, "Image Private Header", 0x09, "FD", b_value)
            if vector:
                scanner.private(one, 0x0065, "Image Private Header", 0x37, "FD", vector)
    return scanner.series(headers)


@pytest.mark.parametrize("vendor", ["standard", "siemens", "ge", "philips", "uih"])
def test_diffusion_of_every_vendor(scanner, vendor):
    decision = decide(weighted(scanner, vendor, [(0.0, None), *directions(12)]))
    assert decision.role == "dwi" and decision.usable, decision.why
    assert "b 0 and 1000 s/mm²" in decision.why
    assert ("directions not in" if vendor == "ge" else "12 directions") in decision.why


def test_few_directions_are_a_problem(scanner):
    decision = decide(weighted(scanner, "standard", [(0.0, None), *directions(3)]))
    assert decision.role == "dwi" and "only 3 directions" in " ".join(decision.problems)


def test_reversed_b0_is_no_diffusion_series(scanner):
    decision = decide(weighted(scanner, "standard", [(0.0, None)]))
    assert (decision.role, "b = 0 only" in decision.why) == ("other", True)


@pytest.mark.parametrize(("b_values", "role"), [((0.0, 1000.0), "dwi"), ((1000.0,), "other"), ((500.0, 1000.0), "other")])
def test_trace_images_are_a_diffusion_series_where_b_zero_is_with_them(scanner, b_values, role):
    series = weighted(scanner, "standard", [(b, None) for b in b_values])
    for instance in series.instances:
        instance.header.ImageType = ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"]
    decision = decide(series)
    assert decision.role == role and decision.usable == (role == "dwi")
    assert role == "other" or "only infarcts are looked for" in " ".join(decision.problems)


def test_directions_come_before_trace_images(scanner):
    trace = weighted(scanner, "standard", [(0.0, None), (1000.0, None)])
    for instance in trace.instances:
        instance.header.ImageType = ["DERIVED", "PRIMARY", "DIFFUSION", "TRACEW"]
    directed = decide(weighted(scanner, "standard", [(0.0, None), *directions(12)]))
    assert choose([decide(trace), directed])["dwi"] is directed.series


BOLD = {"ScanningSequence": ["EP", "GR"], "MRAcquisitionType": "2D", "RepetitionTime": 2000, "EchoTime": 30, "FlipAngle": 80}


@pytest.mark.parametrize(
    ("change", "images", "role", "reason"),
    [
        ({}, 40, "bold", "40 images"),
        ({"ContrastBolusAgent": "Dotarem"}, 40, "other", "contrast agent"),
        ({"ScanningSequence": ["EP", "SE"]}, 40, "other", "no gradient-echo"),
        ({}, 1, "other", "reference"),
    ],
)
def test_time_series(scanner, change, images, role, reason):
    headers = scanner.repeated(scanner.stack(scanner.header(**{**BOLD, **change}), 20, 6.0), [{}] * images)
    decision = decide(scanner.series(headers))
    assert (decision.role, reason in decision.why) == (role, True), decision.why


def test_philips_epi_factor_and_mosaics_are_seen(scanner):
    base = scanner.header(**{**BOLD, "ScanningSequence": "GR"})
    scanner.private(base, 0x2001, "Philips Imaging DD 001", 0x13, "SL", 37)
    scanner.private(base, 0x2001, "Philips Imaging DD 001", 0x03, "FL", 0.0)  # Philips writes a b-value into every image
    assert decide(scanner.series(scanner.repeated(scanner.stack(base, 20, 6.0), [{}] * 12))).role == "bold"
    mosaic = scanner.header(**BOLD, Rows=384, Columns=384, SpacingBetweenSlices=4.0)
    scanner.private(mosaic, 0x0019, "SIEMENS MR HEADER", 0x0A, "US", 36)
    decision = decide(scanner.series(scanner.repeated(scanner.stack(mosaic, 1, 4.0, 3.0), [{}] * 50)))
    assert decision.role == "bold" and "50 images" in decision.why, decision.why


def test_a_field_map_is_not_t2star(scanner):
    base = scanner.header(ScanningSequence="GR", MRAcquisitionType="2D", RepetitionTime=600, FlipAngle=60)
    headers = scanner.repeated(scanner.stack(base, 30, 4.0, 3.75), [{"EchoTime": 10.0}, {"EchoTime": 12.46}])
    assert "field map" in decide(scanner.series(headers)).why


def test_missing_slices_forbid_the_analysis(scanner):
    headers = scanner.stack(scanner.header(**MPRAGE), 160, 1.0, 4.0, scanner.SAGITTAL)
    decision = decide(scanner.series(headers[:11] + headers[14:]))
    assert decision.role == "t1" and not decision.usable
    assert "slices 12 to 14 are missing: the spacing jumps from 1.0 to 4.0 mm" in decision.problems
    assert choose([decision]) == {}


def test_an_incomplete_volume_forbids_the_analysis(scanner):
    series = weighted(scanner, "standard", [(0.0, None), *directions(6)])
    decision = decide(scanner.series([instance.header for instance in series.instances][:-3]))
    assert not decision.usable and "3 of 210 images are missing" in decision.problems[0]


def test_three_planes_are_a_localizer(scanner):
    base = scanner.header(**GR3D, RepetitionTime=8, EchoTime=4, FlipAngle=20)
    headers = scanner.stack(base, 5, 10.0) + scanner.stack(scanner.header(**GR3D), 5, 10.0, orientation=scanner.SAGITTAL)
    assert "localizer" in decide(scanner.series(headers)).why


def test_a_header_without_a_place_is_told(scanner):
    decision = decide(scanner.series([scanner.header(**MPRAGE)]))
    assert decision.role == "other" and "no position" in decision.why


def test_the_best_series_is_chosen_and_the_others_say_so(scanner):
    fine = decide(a_series(scanner, MPRAGE, (160, 1.0, 4.0, "SAGITTAL"), 3))
    coarse = decide(a_series(scanner, MPRAGE, (30, 6.0, 4.0, "SAGITTAL"), 4))
    slab = decide(a_series(scanner, MPRAGE, (40, 1.0, 1.0, "SAGITTAL"), 5))
    chosen = choose([slab, coarse, fine])
    assert chosen == {"t1": fine.series}
    told = with_choice([slab, coarse, fine], chosen)
    assert [any("not used: series 3" in problem for problem in decision.problems) for decision in told] == [True, True, False]


def test_a_header_full_of_nonsense_is_told(scanner):
    headers = scanner.stack(scanner.header(**MPRAGE), 12, 4.0)
    headers[3].PixelSpacing = [0.0, 0.0]
    decision = decide(scanner.series(headers))
    assert (decision.role, decision.usable) == ("other", False) and decision.why


def test_no_patient_data_in_what_is_said(scanner):
    decision = decide(a_series(scanner, {**MPRAGE, "PatientName": "Secret^Patient", "SeriesDescription": "Secret^Patient"}, HEAD_SAGITTAL))
    assert "Secret" not in decision.why + " ".join(decision.problems)


REAL = {
    "siemens_xa30_enhanced": {6: "t1", 7: "bold", 8: "other", 9: "other", 10: "dwi"},
    "philips_classic_dti": {601: "dwi"},
    "t1_adult_studyforrest": {401: "t1"},
}


@pytest.mark.realdata
@pytest.mark.parametrize("name", REAL)
def test_real_series(realdata, name):
    decisions = [decide(series) for series in read_study(realdata / name).series]
    assert {int(decision.series.header.SeriesNumber): decision.role for decision in decisions} == REAL[name]
    assert all(decision.usable == (decision.role != "other") for decision in decisions)


@pytest.mark.realdata
def test_real_spectra(realdata):
    from node.study import read_studies

    studies, _ = read_studies(realdata / "mrs_dicom")
    assert [decide(series).role for study in studies for series in study.series] == ["mrs"] * 3

"""Scanner and protocol of a series: the same text for what may be compared, another for what may not."""

import numpy as np
import pytest

from node.protocol import field_words, vendor_of
from node.roles import decide

SKYRA = {"Manufacturer": "SIEMENS", "ManufacturerModelName": "Skyra", "MagneticFieldStrength": 2.893620, "DeviceSerialNumber": "45678"}
MPRAGE = {
    "ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SP", "MP"], "MRAcquisitionType": "3D", "RepetitionTime": 2300.0,
    "EchoTime": 2.98, "InversionTime": 900.0, "FlipAngle": 9.0, "Rows": 256, "Columns": 256,
}  # fmt: skip
EPI = {"ScanningSequence": "EP", "MRAcquisitionType": "2D", "RepetitionTime": 8230.0, "EchoTime": 91.0, "FlipAngle": 90.0}


@pytest.fixture
def t1(scanner):
    def t1(**tags):
        return decide(scanner.series(scanner.stack(scanner.header(**{**SKYRA, **MPRAGE, **tags}), 176, 1.0, 1.0, scanner.SAGITTAL)))

    return t1


@pytest.fixture
def dwi(scanner):
    def dwi(directions=12, b_value=1000.0, **tags):
        base = scanner.stack(scanner.header(**{**SKYRA, **EPI, **tags}, Rows=64, Columns=64), 40, 3.0, 3.75)
        vectors = np.random.default_rng(1).normal(size=(directions, 3))
        vectors /= np.linalg.norm(vectors, axis=1)[:, None]
        weighted = [{"DiffusionBValue": b_value, "DiffusionGradientOrientation": vector.tolist()} for vector in vectors]
        return decide(scanner.series(scanner.repeated(base, [{"DiffusionBValue": 0.0}, *weighted])))

    return dwi


def test_a_scanner_is_named_and_its_device_is_a_digest(t1):
    found = t1().scanner
    assert found.startswith("Siemens Skyra, 3 T, #") and "45678" not in found and len(found.split("#")[1]) == 8


def test_a_protocol_is_the_physics(t1, dwi):
    assert t1().protocol == "t1: 3D GRE IR, TR 2300 ms, TE 3 ms, TI 900 ms, 9°, 1.0 × 1.0 × 1.0 mm"
    assert dwi().protocol == "dwi: 2D EPI, TR 8200 ms, TE 91 ms, b 1000 s/mm² (12), 3.0 × 3.8 × 3.8 mm"


@pytest.mark.parametrize("tags", [
    {"EchoTime": 2.96}, {"RepetitionTime": 2310.0}, {"PatientID": "OTHER"}, {"SeriesDescription": "t1 again"}, {"StudyDate": "20300101"},
    {"Manufacturer": "Siemens Healthineers"}, {"MagneticFieldStrength": 3.0}, {"SoftwareVersions": "syngo MR XA30"},
])  # fmt: skip
def test_what_does_not_matter_gives_the_same_text(t1, tags):
    assert (t1(**tags).scanner, t1(**tags).protocol) == (t1().scanner, t1().protocol)


@pytest.mark.parametrize("tags", [{"EchoTime": 4.0}, {"RepetitionTime": 1900.0}, {"InversionTime": 1100.0}, {"FlipAngle": 12.0}])
def test_another_physics_is_another_protocol(t1, tags):
    assert t1(**tags).protocol != t1().protocol and t1(**tags).scanner == t1().scanner


@pytest.mark.parametrize("tags", [{"DeviceSerialNumber": "45679"}, {"MagneticFieldStrength": 1.5}, {"ManufacturerModelName": "Prisma"}])
def test_another_device_is_another_scanner(t1, tags):
    assert t1(**tags).scanner != t1().scanner


def test_the_weighting_is_part_of_the_protocol(dwi):
    assert dwi(b_value=995.0).protocol == dwi().protocol
    assert "b 2000 s/mm² (12)" in dwi(b_value=2000.0).protocol and "(20)" in dwi(directions=20).protocol


@pytest.mark.parametrize("word", ["DeviceUID", "StationName"])
def test_without_a_serial_number_something_else_names_the_device(t1, word):
    tags = {"DeviceSerialNumber": None}
    assert "#" not in t1(**tags).scanner
    one, other = (t1(**tags, **{word: value}).scanner for value in ("1.2.3", "1.2.4"))
    assert "#" in one and one != other


def test_what_names_no_scanner_or_no_times_has_no_text(t1):
    assert t1(Manufacturer=None, ManufacturerModelName=None).scanner == ""
    silent = {word: None for word in ("RepetitionTime", "EchoTime", "InversionTime")}
    assert t1(**silent, SeriesDescription="T1").protocol == ""


def test_classic_and_enhanced_headers_give_the_same_text(scanner, t1):
    headers = scanner.stack(scanner.header(**SKYRA, **MPRAGE), 176, 1.0, 1.0, scanner.SAGITTAL)
    one = scanner.enhanced(headers, **SKYRA, MRAcquisitionType="3D", EchoPulseSequence="GRADIENT")
    enhanced = decide(scanner.series([one]))
    assert (enhanced.scanner, enhanced.protocol) == (t1().scanner, t1().protocol)


@pytest.mark.parametrize(("text", "name"), [
    ("SIEMENS", "Siemens"), ("GE MEDICAL SYSTEMS", "GE"), ("Philips Medical Systems", "Philips"), ("TOSHIBA_MEC", "Canon"),
    ("UIH", "United Imaging"), ("Some Maker", "Some Maker"), ("", ""),
])  # fmt: skip
def test_a_vendor_has_one_name(text, name):
    assert vendor_of(text) == name


@pytest.mark.parametrize(
    ("stated", "words"), [(2.8936, "3 T"), (1.4939, "1.5 T"), (15000.0, "1.5 T"), (6.98, "7 T"), (2.3, "2.3 T"), (None, "")]
)
def test_field_strengths_are_nominal(stated, words):
    assert field_words(stated) == words

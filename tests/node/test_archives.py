"""Archives of other projects take every result object and give it back as it was: Orthanc, and dcmqrscp of DCMTK."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pydicom
import pytest

pytestmark = pytest.mark.validators
PROGRAM = Path(__file__).with_name("archive_exchange.py")
APART = ["unshare", "--map-root-user", "--net", "--pid", "--fork", "--kill-child"]
PACKAGES = {"Orthanc": "orthanc", "dcmqrscp": "dcmtk"}
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


@pytest.fixture
def archive(request) -> str:
    """The name of an archive that can be started here; what follows a dash is how."""
    name = request.param.partition("-")[0]
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed; Debian has it in {PACKAGES[name]}")
    if subprocess.run([*APART, "true"], capture_output=True, timeout=30).returncode:
        pytest.skip("this machine does not permit a network of its own (unshare), and the archive would listen to everybody without one")
    return request.param


@pytest.fixture(scope="module")
def answers(scanner, result_study, tmp_path_factory) -> Path:
    """A folder for the answer to each kind of study; one of them in German."""
    folder = tmp_path_factory.mktemp("answers")
    for name in result_study.KINDS:
        german = {"language": "de", "patient_page": True} if name == "tilted" else {}
        result_study.write_objects(result_study.kind(scanner, name), folder / name, tractography=True, **german)
    return folder


@pytest.mark.parametrize("archive", PACKAGES, indirect=True)
def test_an_archive_gives_back_what_it_got(archive, answers, tmp_path):
    run = subprocess.run([*APART, sys.executable, PROGRAM, archive, answers, tmp_path], capture_output=True, text=True, timeout=240)
    assert run.returncode == 0, run.stdout + run.stderr
    for folder in answers.iterdir():
        sent = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, folder.glob("*.dcm"))}
        fetched = {one.SOPInstanceUID: one for one in map(pydicom.dcmread, (tmp_path / "fetched" / folder.name).glob("*.dcm"))}
        assert fetched.keys() == sent.keys()
        counted = Counter(one.SeriesInstanceUID for one in sent.values() if one.Modality == "MR")
        assert json.loads((tmp_path / f"{folder.name}.json").read_text()) == counted and counted
        for uid, one in sent.items():
            assert fetched[uid].file_meta.TransferSyntaxUID == one.file_meta.TransferSyntaxUID
            assert fetched[uid] == one, one.SeriesDescription


def test_the_comparison_sees_a_changed_letter(result_study, scanner, tmp_path):
    path = result_study.write_objects(result_study.case(scanner), tmp_path / "answer")[0]
    one, other = pydicom.dcmread(path), pydicom.dcmread(path)
    assert one == other
    other.ContentSequence[-1].ContentSequence[0].TextValue += "."
    assert one != other


@pytest.mark.parametrize("archive", ["Orthanc", "Orthanc-TLS", "dcmqrscp"], indirect=True)
def test_an_archive_proves_what_it_got_and_gets_what_it_lacks(archive, answers, tmp_path):
    """Orthanc by storage commitment over an association of its own, dcmqrscp by C-FIND. One object was never sent: it says so."""
    program = PROGRAM.with_name("commitment_exchange.py")
    command = [*APART, sys.executable, program, archive, answers / "classic", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    said = json.loads(run.stdout)
    how = "found by C-FIND" if archive == "dcmqrscp" else "committed"
    assert {state for _, state, _ in said["rows"]} == {"proven"}, said
    assert all(reason.endswith(how) for _, _, reason in said["rows"]) and said["state"] == "delivered"
    assert len(said["rows"]) == len(list((answers / "classic").glob("*.dcm"))) and said["requests"] >= 2
    waits = [json.loads(line) for line in run.stderr.splitlines() if '"result_waits"' in line]
    assert {line["file"] for line in waits} == {said["never_sent"]}


@pytest.fixture(scope="module")
def history(scanner, result_study, tmp_path_factory) -> tuple[Path, Path]:
    """The answers to two examinations of one patient and the images of a third, in one folder; the images of a new one in another."""
    folder = tmp_path_factory.mktemp("history")
    for day in ("20250503", "20251103"):
        case = result_study.case(scanner, StudyDate=day, StudyInstanceUID=f"1.2.3.{day}")
        result_study.write_objects(case, folder / "objects" / day)
    for day, place in (("20240101", "objects/images"), ("20260601", "1.2.3.20260601")):
        case = result_study.case(scanner, StudyDate=day, StudyInstanceUID=f"1.2.3.{day}")
        for path in result_study.write_sources(scanner, case, folder / place):  # of one study each: its objects have UIDs of their own
            ds = pydicom.dcmread(path)
            for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
                setattr(ds, keyword, f"{ds[keyword].value}.{day}")
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            ds.save_as(path)
    return folder / "objects", folder / "1.2.3.20260601"


@pytest.mark.parametrize("way", ["get", "move", "web", ""])
@pytest.mark.parametrize("archive", PACKAGES, indirect=True)
def test_earlier_examinations_come_from_an_archive_once_and_only_of_the_same_person(archive, way, history, tmp_path):
    """The reports of the two that were answered, the latest first, and the images of the one that was not; nothing else of an answer."""
    if way == "web" and (archive != "Orthanc" or not PLUGIN.exists()):
        pytest.skip("no DICOMweb service; Debian has one in orthanc-dicomweb")
    command = [*APART, sys.executable, PROGRAM.with_name("priors_exchange.py"), archive, way, *history, tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=180, env={**os.environ, "TCP_NODELAY": "1"})
    assert run.returncode == 0, run.stdout + run.stderr
    said = json.loads(run.stdout.splitlines()[-1])
    first, second, stranger = said["first"], said["second"], said["stranger"]
    assert first["studies"] == second["studies"] == ["1.2.3.20251103", "1.2.3.20250503", "1.2.3.20240101"], run.stdout + run.stderr
    assert first["said"] == second["said"] == [] and second["fetched"] == {} and said["heard"] == []
    report, images = "1.2.840.10008.5.1.4.1.1.88.34", len(list((history[0] / "images").glob("*.dcm")))
    counts = {study: sum(classes.values()) for study, classes in first["fetched"].items()}
    assert counts == {"1.2.3.20251103": 1, "1.2.3.20250503": 1, "1.2.3.20240101": images}
    assert set(first["fetched"]["1.2.3.20250503"]) == {report}
    assert stranger["studies"] == [] and len(stranger["said"]) == 3 and stranger["fetched"] == {}
    assert any("can be asked for earlier examinations" in sentence for sentence in said["check"])
    ends = ("/studies", "/series", "/instances") if way == "web" else ("1.2.840.10008.5.1.4.1.2.2.1",)
    assert {failure for _, _, failure in first["asked"]} == {""} and {bool(syntax) for _, syntax, _ in first["asked"]} == {way != "web"}
    assert {end for subject, _, _ in first["asked"] for end in ends if subject.endswith(end)} == set(ends)
    assert all(subject.endswith(ends) for subject, _, _ in first["asked"]), "what fetches an object is no query"


def test_orthanc_takes_and_proves_results_over_dicomweb(answers, tmp_path):
    if shutil.which("Orthanc") is None or not PLUGIN.exists():
        pytest.skip("Orthanc with its DICOMweb plugin is not installed; Debian has it in orthanc-dicomweb")
    if subprocess.run([*APART, "true"], capture_output=True, timeout=30).returncode:
        pytest.skip("this machine does not permit a network of its own (unshare)")
    command = [*APART, sys.executable, PROGRAM.with_name("dicomweb_exchange.py"), PLUGIN, answers / "enhanced", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stdout + run.stderr
    said, sent = json.loads(run.stdout), {path.read_bytes() for path in (answers / "enhanced").glob("*.dcm")}
    for rows in (said["first"], said["second"]):
        assert len(rows) == len(sent) and all(state == "proven" and "found by QIDO-RS" in reason for _, state, reason in rows), said
    assert {json.loads(line)["file"] for line in run.stderr.splitlines() if '"result_waits"' in line} == {said["never_sent"]}
    assert said["refused"][0] == "RefusedError" and said["state"] == "delivered"
    assert {path.read_bytes() for path in (tmp_path / "back").iterdir()} == sent, "every byte is as it was sent"


def test_storescp_that_refuses_classes_gets_what_stands_for_them(answers, tmp_path):
    if shutil.which("storescp") is None:
        pytest.skip("storescp is not installed; Debian has it in dcmtk")
    if subprocess.run([*APART, "true"], capture_output=True, timeout=30).returncode:
        pytest.skip("this machine does not permit a network of its own (unshare)")
    command = [*APART, sys.executable, PROGRAM.with_name("refusing_exchange.py"), answers / "enhanced", tmp_path]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, env={**os.environ, "TCP_NODELAY": "1"})
    assert run.returncode == 0, run.stdout + run.stderr
    said = json.loads(run.stdout)
    states = {file[:8] if "/" not in file else file.split(".")[-2]: state for file, (state, _) in said["rows"].items()}
    assert said["state"] == "delivered" and set(states.values()) == {"delivered", "replaced"}, said
    assert states["comprehensive"] == states["basic"] == "delivered" and "enhanced" not in states
    stored = [pydicom.dcmread(path) for path in (tmp_path / "archive").iterdir()]
    assert {ds.SOPClassUID.name.removesuffix(" Storage") for ds in stored} == {
        "Comprehensive SR", "Basic Text SR", "Secondary Capture Image", "Encapsulated PDF"}
    assert len(stored) == sum(state == "delivered" for state, _ in said["rows"].values())

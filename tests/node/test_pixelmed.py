"""What PixelMed's validator of structured reports says: no error but those that are written down, with the reason, beside this file.

It compares the tree of content with the templates of the standard, and does not look at the images or the header; so one study, with
earlier examinations, stands for all kinds, and one text for the other language. It takes seconds of every file: hence the options of Java,
and two at once.
"""

import shutil
import subprocess
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest

pytestmark = pytest.mark.validators
EXEMPTIONS = tomllib.loads(Path(__file__).with_name("pixelmed_exemptions.toml").read_text(encoding="utf-8"))["exemption"]
PROGRAM, CLASS = Path("/usr/share/java/pixelmed.jar"), "com.pixelmed.validate.DicomSRValidator"
OPTIONS = (  # without the first four it stops: the standard's templates are larger than what Java allows by default
    "-Djdk.xml.xpathTotalOpLimit=0", "-Djdk.xml.xpathExprGrpLimit=0", "-Djdk.xml.xpathExprOpLimit=0", "-Xss64m",
    "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
)  # fmt: skip


@pytest.fixture(autouse=True)
def program():
    if shutil.which("java") is None or not PROGRAM.exists():
        pytest.skip("PixelMed's validator is not installed; Debian has it in pixelmed-apps")


def errors_in(path: Path) -> list[str]:
    run = subprocess.run(["java", *OPTIONS, "-cp", PROGRAM, CLASS, path], capture_output=True, text=True, timeout=300)
    said = (run.stdout + run.stderr).splitlines()
    assert said[-1] == "IOD validation complete", said[-3:]
    return [line.removeprefix("Error: ") for line in said if line.startswith("Error")]


def exempted(error: str) -> tuple[str, str] | None:
    """Row and item of the exemption that covers the error."""
    for exemption in EXEMPTIONS:
        for row in exemption["rows"]:
            for item in exemption["items"]:
                if error.startswith(f"{row}: ") and error.endswith(f"{item}: {exemption['complaint']}"):
                    return row, item
    return None


def reports(result_study, case, folder: Path, **results: object) -> list[Path]:
    paths = result_study.write_objects(case, folder, **results)
    return [path for path in paths if pydicom.dcmread(path, specific_tags=["Modality"]).Modality == "SR"]


def test_structured_reports_follow_their_templates(scanner, result_study, tmp_path):
    english = reports(result_study, result_study.kind(scanner, "enhanced", is_followed=True), tmp_path / "english")
    *_, german = reports(result_study, result_study.kind(scanner, "Russian name"), tmp_path / "german", language="de", patient_page=True)
    with ThreadPoolExecutor(2) as pool:
        errors = [error for found in pool.map(errors_in, [*english, german]) for error in found]
    assert [error for error in errors if exempted(error) is None] == []
    listed = {(row, item) for exemption in EXEMPTIONS for row in exemption["rows"] for item in exemption["items"]}
    assert listed - {exempted(error) for error in errors} == set(), "what does not occur any more is taken off the list"


def test_a_broken_report_is_noticed(scanner, result_study, tmp_path):
    path = next(one for one in reports(result_study, result_study.case(scanner), tmp_path / "answer") if one.name.startswith("9010"))
    ds = pydicom.dcmread(path)
    ds.ContentSequence = [item for item in ds.ContentSequence if item.get("ValueType") != "CONTAINER"]
    ds.save_as(path)
    assert [error for error in errors_in(path) if exempted(error) is None]

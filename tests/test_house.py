"""The rules of the house: who imports whom, what a marker is, what stands in the documents."""

import ast
import csv
import re
from pathlib import Path

import pytest

from analysis import atlas
from analysis.examination import ROLES, Examination
from analysis.marker import SECTIONS, Marker, markers
from analysis.outcome import NOT_MEASURABLE
from node.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
NODE = sorted((ROOT / "node").glob("**/*.py"))
ANALYSIS = sorted((ROOT / "analysis").glob("**/*.py"))
MODULES = [path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".").removesuffix(".__init__") for path in NODE + ANALYSIS]
INTERFACE = {  # what INTERFACES promises of the markers that exist
    "image_quality": {"snr", "motion"},
    "brainstem": {"midbrain_volume", "pons_volume", "medulla_volume"},
    "cord_compression": {"cord_compression_ratio"},
    "cervical_cord": {"cord_area", "cord_ap_diameter", "cord_rl_diameter"},
    "brain_volumes": {"intracranial_volume", "brain_volume", "grey_matter_volume", "white_matter_volume", "csf_volume"},
    "cst_flair": {"cst_flair_contrast"},
    "white_matter_lesions": {"lesion_count", "lesion_volume"},
    "motor_band": {"motor_band_contrast", "motor_band_score"},
    "motor_cortex_spectroscopy": {"naa_cr", "naa_cho", "naa_mi", "cho_cr", "mi_cr", "glx_cr", "snr", "linewidth"},
    "infarct": {"acute_infarct_volume"},
    "mass": {"midline_shift"},
    "motor_activation": {"activation_volume", "laterality_index", "m1_m1_connectivity", "framewise_displacement"},
    "precentral_gyrus": {"precentral_volume", "precentral_thickness", "postcentral_thickness", "precentral_postcentral_ratio"},
    "cst_diffusion": {"cst_fa", "cst_md", "cst_rd", "cst_ad", "cst_fa_asymmetry", "cst_volume"},
    "callosum_diffusion": {"callosal_motor_fa", "callosal_motor_md", "control_fa"},
}


def imports_of(path: Path) -> set[str]:
    """Every module that a file names in an import, at any depth."""
    found = set()
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            assert statement.level == 0, f"{path}: imports are absolute"
            found |= {statement.module} | {f"{statement.module}.{alias.name}" for alias in statement.names}
    return found


def starts_with(names: set[str], *packages: str) -> set[str]:
    return {name for name in names if any(name == package or name.startswith(package + ".") for package in packages)}


@pytest.mark.parametrize("path", ANALYSIS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_engine_knows_no_dicom_no_network_and_no_clock(path):
    forbidden = (
        "node",
        "pydicom",
        "pynetdicom",
        "highdicom",
        "dcm2niix",
        "socket",
        "logging",
        "datetime",
        "time",
        "subprocess",
        "sqlalchemy",
    )
    if path.name == "build.py":
        return  # makes the packaged atlas; it is no part of the engine
    assert not starts_with(imports_of(path), *forbidden)


@pytest.mark.parametrize("path", [path for path in ANALYSIS if path.name != "build.py"], ids=lambda path: path.relative_to(ROOT).as_posix())
def test_the_engine_does_not_print(path):
    calls = [
        node.func.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    ]
    assert not {"print", "open", "input"} & set(calls)


@pytest.mark.parametrize("path", sorted((ROOT / "analysis" / "markers").glob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_markers_use_steps_and_never_each_other(path):
    assert not {name for name in starts_with(imports_of(path), "analysis.markers") if name != "analysis.markers"}


@pytest.mark.parametrize("path", sorted((ROOT / "analysis" / "steps").glob("*.py")), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_steps_do_not_know_markers(path):
    assert not starts_with(imports_of(path), "analysis.markers", "analysis.engine", "analysis.report")


@pytest.mark.parametrize("path", NODE + ANALYSIS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_nobody_imports_the_worker_or_the_command_line(path):
    found = starts_with(imports_of(path), "node.worker", "node.command")
    assert not found or path.name == "service.py", "only the service puts the worker to work"


@pytest.mark.parametrize("path", sorted((ROOT / "analysis" / "markers").glob("[a-z]*.py")), ids=lambda path: path.name)
def test_every_measurement_of_a_marker_can_be_placed_in_a_population(path):
    """`Measurement(…, **placed(…))`: words of its own would hide the site's controls."""
    calls = [one for one in ast.walk(ast.parse(path.read_text())) if isinstance(one, ast.Call)]
    made = [one for one in calls if isinstance(one.func, ast.Name) and one.func.id == "Measurement"]
    assert made and all(any(keyword.arg is None for keyword in one.keywords) for one in made)


@pytest.mark.parametrize("path", NODE + ANALYSIS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_module_states_its_policy(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_names_that_say_nothing_are_not_used():
    names = {part for module in MODULES for part in module.split(".")}
    assert not names & {"utils", "util", "helpers", "common", "misc", "manager", "base", "data2", "tmp"}


def test_there_are_no_packages_under_tests():
    assert not list((ROOT / "tests").glob("**/__init__.py"))


def test_config_is_data():
    assert not list((ROOT / "config").glob("**/*.py"))


@pytest.mark.parametrize("marker", markers(), ids=lambda marker: marker.name)
class TestEveryMarker:
    def test_is_named_as_its_file_and_as_promised(self, marker: Marker):
        assert (ROOT / "analysis" / "markers" / f"{marker.name}.py").exists()
        assert set(marker.gives) == INTERFACE[marker.name]
        assert marker.version >= 1

    def test_opens_with_the_paragraphs_of_the_house(self, marker: Marker):
        titles = re.findall(r"^([A-Z]\w+): ", marker.doc, re.MULTILINE)
        assert tuple(titles) == SECTIONS
        assert all(marker.section(title) for title in SECTIONS)

    def test_says_what_its_numbers_are_worth(self, marker: Marker):
        assert re.search(r"\d", marker.section("Trust")), "Trust states what was measured, on what"

    def test_needs_roles_that_exist(self, marker: Marker):
        assert marker.needs and all(set(group) <= set(ROLES) - {"other"} for group in marker.needs)

    def test_gives_a_reason_when_the_study_is_empty(self, marker: Marker):
        from analysis.engine import analyse

        (outcome,) = analyse(Examination({}), [marker], iter(range(9)).__next__)
        assert outcome.outcome == NOT_MEASURABLE
        assert outcome.marker == marker.name and outcome.reason.startswith("the study has no ")


def test_every_setting_is_documented():
    example = (ROOT / "config" / "betz.toml").read_text(encoding="utf-8")
    tables = [table for table in Settings.__dataclass_fields__ if table != "source"]
    assert all(re.search(rf"^#?\s*\[\[?{table}", example, re.MULTILINE) for table in tables)
    assert "config/betz.toml" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_atlas_names_each_label_once():
    table = list(csv.DictReader((ROOT / "analysis" / "atlas" / "labels.csv").read_text().splitlines()))
    assert len(table) == len(atlas.parts()) == len({(part.structure, part.side, part.level) for part in atlas.parts()})
    assert {part.image for part in atlas.parts()} == set(atlas.IMAGES)
    for image in atlas.IMAGES:
        array = atlas.labels(image).array
        assert [part.label for part in atlas.parts() if part.image == image] == sorted(set(array[array > 0].tolist()))

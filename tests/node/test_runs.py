"""Functional series: every run of a study is read; a scanner's copy is none; the phantom's own come back as they were."""

import numpy as np
import pytest

from analysis.examination import silent
from analysis.marker import markers
from analysis.phantom_bold import REST, TASK, Course, scan_bold
from analysis.phantom_head import healthy_head
from analysis.phantom_shape import shape_of
from analysis.volume import Runs
from node.images import images_of
from node.phantom_function import function_instance
from node.roles import decide
from node.study import read_studies

BOLD = {"ScanningSequence": ["EP", "GR"], "MRAcquisitionType": "2D", "RepetitionTime": 2000, "EchoTime": 30, "FlipAngle": 80}
SHAPE = (10, 16, 16)


def write(scanner, folder, number: int, name: str, volumes: int = 12, **changes) -> np.ndarray:
    header = scanner.header(**{**BOLD, **changes}, Rows=SHAPE[1], Columns=SHAPE[2], ProtocolName=name, SeriesNumber=number)
    headers = scanner.repeated(scanner.stack(header, SHAPE[0], 14.0, 14.0), [{"AcquisitionNumber": t + 1} for t in range(volumes)])
    pictures = np.random.default_rng(number).integers(0, 4000, (volumes, *SHAPE), dtype=np.uint16)
    scanner.write(headers, pictures.reshape(-1, *SHAPE[1:]), folder, number)
    return pictures


def read(folder):
    return images_of(read_studies(folder)[0][0], markers(), silent)


def test_every_run_of_a_study_is_read_in_order_with_its_name(tmp_path, scanner):
    pictures = [write(scanner, tmp_path, number, name) for number, name in ((2, "finger left"), (3, "finger right"), (4, "rest"))]
    decisions, images = read(tmp_path)
    runs = images["bold"]
    assert isinstance(runs, Runs) and [run.name for run in runs.runs] == ["finger left", "finger right", "rest"]
    assert all(np.array_equal(run.array, np.moveaxis(one, 0, -1)) for run, one in zip(runs.runs, pictures, strict=True))
    assert [(one.role, one.usable, one.problems) for one in decisions] == [("bold", True, decisions[0].problems)] * 3
    assert not any("serves as" in problem for one in decisions for problem in one.problems)


def test_a_copy_that_the_scanner_corrected_for_motion_is_no_second_run(tmp_path, scanner):
    write(scanner, tmp_path, 2, "rest")
    write(scanner, tmp_path, 3, "rest", ImageType=["ORIGINAL", "PRIMARY", "M", "ND", "MOCO"])
    decisions, images = read(tmp_path)
    assert len(images["bold"].runs) == 1
    assert [one.usable for one in decisions] == [True, False] and "corrected for motion" in decisions[1].problems[0]


@pytest.mark.parametrize("series", [TASK, REST])
def test_the_phantom_comes_back_from_its_file(tmp_path, series):
    from node.phantom import WHEN, _save, _study

    made = scan_bold(healthy_head(), shape_of(3), series, 3, Course(volumes=12), coarseness=2.0)
    _save(function_instance(made, series, _study({"seed": 3}, "0" * 64, WHEN, "P")), tmp_path / series)
    (study,), problems = read_studies(tmp_path)
    decision = decide(study.series[0])
    assert not problems and decision.role == "bold" and decision.usable, decision.why
    (run,) = read(tmp_path)[1]["bold"].runs
    assert run.repetition_time_s == 2.5 and run.name == made.name
    assert np.allclose(run.lps_from_index, made.lps_from_index, atol=1e-3) and np.array_equal(run.array, made.array)


@pytest.mark.realdata
def test_twenty_volumes_are_too_few(realdata):
    from analysis.examination import Examination
    from analysis.steps.functional_runs import run_of
    from node.volumes import image_of

    (study,), _ = read_studies(realdata / "siemens_xa30_enhanced" / "7_func-bold_task-fa_run-1")
    series = image_of(study.series[0], "bold")
    assert series.array.shape == (33, 64, 64, 20) and series.repetition_time_s == 1.0 and "bold" in series.name
    run = run_of(Examination({}), series)
    assert run.activation is None and run.network is None
    assert str(run.refusal).startswith("20 volumes in 0.3 minutes are too few: 60 volumes in 2.5 minutes are needed")

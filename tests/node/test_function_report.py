"""Motor function in every object of an answer: several runs, in two languages, each number once."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pypdfium2
import pytest

from analysis.examination import Examination
from analysis.markers.motor_activation import measure
from analysis.paradigm import Paradigm
from analysis.steps.activation import activation
from analysis.steps.functional_runs import Run, functional_runs
from analysis.steps.motor_network import network
from analysis.volume import Runs
from node.language import Language
from node.measurement_report import measurement_report
from node.pages import pages
from node.segmentation import segmentations


def _brain():
    path = Path(__file__).parent.parent / "analysis" / "functional_brain.py"
    spec = importlib.util.spec_from_file_location("functional_brain", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


brain = _brain()


@pytest.fixture
def case(scanner, result_study):
    """The study of the other tests, with a task, another one and rest; the series lies over its T1."""
    case = result_study.case(scanner)
    t1 = case.images["t1"]
    corner = t1.lps_from_index @ [*((np.array(t1.array.shape) - 1) / 2), 1.0]
    place = brain.place_of()
    middle = np.append(place.grid.lps_from_index[:3, :3] @ ((np.array(brain.SHAPE) - 1) / 2), 1.0)
    over = np.eye(4)
    over[:3, 3] = (corner - middle)[:3]
    place = replace(place, t1_from_series=over)
    left, right = brain.waves(0.7, 4)
    fluctuation = 0.02 * (place.hand["left"][..., None] * left + place.hand["right"][..., None] * right)
    both = (place.hand["left"] | place.hand["right"])[..., None]
    runs = []
    for number, level in enumerate(("task_right_hand", "task_right_hand_2")):
        steady = brain.steady_of(place, 0.02 * both * brain.answer(), number)
        runs.append(Run(steady.series, level, steady, place, brain.BLOCKS, activation=activation(steady, place, brain.BLOCKS)))
    rest = brain.steady_of(place, fluctuation, 5)
    runs.append(Run(rest.series, "rest", rest, place, Paradigm(), network=network(rest, place)))
    images = {"t1": t1, "bold": Runs(tuple(run.series for run in runs))}
    examination = Examination(images)
    examination._done[functional_runs] = (tuple(runs), None)
    notes = (case.report.series[0], replace(case.report.series[0], role="bold", description="fMRI"))
    return replace(case, report=replace(case.report, outcomes=(measure(examination),), series=notes), images=images)


def test_every_run_has_its_segments_and_its_numbers(case):
    (seg,) = segmentations(case.report, case.provenance, case.images)
    labels = [item.SegmentLabel for item in seg.SegmentSequence]
    assert "Region of fMRI activation, left, task right hand" in labels and len(labels) == len(set(labels)) == 6
    coded = str(measurement_report(case.report, case.provenance, case.images, [seg]))
    for one in case.report.outcomes[0].measurements:
        assert one.quantity.code in coded


@pytest.mark.parametrize(("code", "words"), [
    ("en", ("Function of the motor cortex", "task, right hand (2)", "described, not judged", "blocks of the task")),
    ("de", ("Funktion des motorischen Kortex", "Aufgabe, rechte Hand (2)", "beschrieben, nicht beurteilt", "Blöcke der Aufgabe")),
])  # fmt: skip
def test_the_page_tells_every_run_in_both_languages(case, code, words):
    pdf = pages(case.report, replace(case.provenance, language=Language(code)), case.images)
    with pypdfium2.PdfDocument(pdf) as document:
        said = " ".join(" ".join(page.get_textpage().get_text_range().split()) for page in document)
    assert all(word in said for word in words) and "task_right_hand_2" not in said

"""The functional series of a study as one image: every run that can be read."""

from __future__ import annotations

from collections.abc import Sequence

from analysis.volume import Runs, TimeSeries
from node.study import Series
from node.volumes import image_of


def run_of(series: Series) -> TimeSeries:
    """One run; StudyError in a sentence where it cannot be read."""
    return image_of(series, "bold")


def gathered(runs: Sequence[TimeSeries]) -> Runs:
    """The runs in the order of the series."""
    return Runs(tuple(runs))

"""T1, FLAIR and SWI of one patient on two cores: how long each step takes, and the memory: `python benchmarks/step_times.py [FOLDER]`

Without a folder a phantom is made. The analysis runs in this process, limited to two cores; a step's time is its own, without the steps
that it asks for. At most 180 s and 4 GiB are promised.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.engine import analyse
from analysis.examination import Examination, silent
from analysis.marker import Marker, markers
from node.images import images_of
from node.phantom import write_phantom
from node.populations import norms
from node.process import answer, provenance_of, report_of
from node.settings import Settings
from node.study import patient_of, read_studies

CORES = 2
ROLES = ("t1", "flair", "swi")


class Stopwatch:
    """Seconds by name; while one thing runs inside another, only the inner one's clock goes."""

    def __init__(self) -> None:
        self.seconds, self.running, self.since = defaultdict(float), [], time.monotonic()

    def _turn(self) -> None:
        now = time.monotonic()
        if self.running:
            self.seconds[self.running[-1]] += now - self.since
        self.since = now

    def time(self, name: str, function, *arguments):
        self._turn()
        self.running.append(name)
        try:
            return function(*arguments)
        finally:
            self._turn()
            self.running.pop()


class Timed(Examination):
    """An examination whose steps are timed by `stopwatch`."""

    def once(self, step):
        if step in self._done:
            return super().once(step)
        return self.watch.time(step.__name__.replace("_", " "), super().once, step)


class Watch(Stopwatch):
    def __call__(self, step: str) -> None:
        """The engine's own announcement of a step: not needed here."""


def run(folder: Path) -> None:
    watch, start = Watch(), time.monotonic()
    (study,), _ = watch.time("reading headers", read_studies, folder)
    every = markers()
    decisions, images = watch.time("reading images", images_of, study, every, silent)
    print(", ".join(f"{role} {image.array.shape}" for role, image in images.items()))
    examination = Timed(images, patient_of(study), watch, norms())
    outcomes = tuple(watch.time(f"marker {one.name}", alone, one, examination) for one in every)
    report = report_of(study, decisions, images, outcomes, 0.0)
    settings = Settings()
    provenance = provenance_of(study, settings, datetime.now().astimezone())
    watch.time("writing objects", answer, report, images, provenance, settings)
    total = time.monotonic() - start
    for name, seconds in sorted(watch.seconds.items(), key=lambda item: -item[1]):
        print(f"{seconds:7.1f} s {100 * seconds / total:5.1f} %  {name}")
    memory_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{total:7.1f} s in all (at most 180), peak memory {memory_gib:.2f} GiB (at most 4)")
    for outcome in outcomes:
        print(f"{outcome.marker}: {outcome.outcome} {outcome.reason or ''}")


def alone(marker: Marker, examination: Examination):
    return analyse(examination, [marker], time.monotonic)[0]


def main() -> None:
    os.environ.update(dict.fromkeys(("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(CORES)))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    if len(sys.argv) > 1:
        run(Path(sys.argv[1]))
        return
    with TemporaryDirectory(prefix="betz-benchmark-") as name:
        write_phantom(Path(name) / "phantom", (), 0.0, 11)
        dicom = Path(name) / "phantom" / "dicom"
        for series in [one for one in dicom.iterdir() if one.name not in ROLES]:
            shutil.rmtree(series)
        run(dicom)


if __name__ == "__main__":
    main()

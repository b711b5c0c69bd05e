"""How long each kind of result object takes to build, for one study: all of them together may take 10 s.

    python benchmarks/object_times.py FOLDER [--language de] [--report FILE]

FOLDER holds the DICOM files of one study. It is analysed first, which takes minutes and is not counted; with `--report FILE` the result of
the analysis is kept in that file, and taken from it the next time. Time is that of the wall and of the processor; the size is that of the
objects as files.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from node.encapsulated_pdf import encapsulated_pdf, patient_pdf
from node.language import Language
from node.measurement_report import measurement_report
from node.pages import pages
from node.parametric_map import parametric_maps
from node.patient_page import patient_page
from node.process import examine
from node.provenance import Provenance, encoded
from node.secondary_capture import secondary_captures
from node.segmentation import segmentations
from node.settings import Settings
from node.study import Study, read_study
from node.text_report import text_report
from node.track_set import track_sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--language", default="en")
    parser.add_argument("--report", type=Path)
    chosen = parser.parse_args()
    study = read_study(chosen.folder)
    report, images = examined(study, chosen.report)
    provenance = Provenance(study, datetime(2026, 1, 2, 3, 4, 5), language=Language(chosen.language))
    total_s = sum(built_s(name, make) for name, make in builders(report, images, provenance))
    print(f"{'all objects':28s} {total_s:6.2f} s of 10 s")


def examined(study: Study, kept: Path | None) -> tuple:
    """The report and the images, from the file where there is one."""
    if kept and kept.exists():
        return pickle.loads(kept.read_bytes())
    report, images = examine(study, Settings())
    if kept:
        kept.write_bytes(pickle.dumps((report, dict(images))))
    return report, images


def builders(report: object, images: object, provenance: Provenance) -> list[tuple[str, Callable]]:
    """What is built, in the order of an answer; later builders take what earlier ones made."""
    made: dict[str, list] = {}

    def keep(name: str, objects: list) -> list:
        made[name] = objects
        return objects

    return [
        ("9020 segmentations", lambda: keep("masks", segmentations(report, provenance, images))),
        ("9030 parametric maps", lambda: parametric_maps(report, provenance, images)),
        ("9060 tracts", lambda: track_sets(report, provenance)),
        ("9010 measurements", lambda: [one for one in [measurement_report(report, provenance, images, made["masks"])] if one]),
        ("9011 text report", lambda: [text_report(report, provenance)]),
        ("     pages laid out", lambda: keep("pdf", [pages(report, provenance, images)])),
        ("9040 pictures of the pages", lambda: secondary_captures(made["pdf"][0], report, provenance)),
        ("9050 PDF", lambda: [encapsulated_pdf(made["pdf"][0], report, provenance)]),
        ("9051 page for the patient", lambda: [patient_pdf(patient_page(report, provenance), report, provenance)]),
    ]


def built_s(name: str, make: Callable) -> float:
    """Build once, say how long it took and how large it is, and return the seconds of the wall."""
    wall, processor = time.perf_counter(), time.process_time()
    objects = make()
    wall_s, processor_s = time.perf_counter() - wall, time.process_time() - processor
    size = sum(len(one if isinstance(one, bytes) else encoded(one)) for one in objects) / 1e6
    print(f"{name:28s} {wall_s:6.2f} s  {processor_s:6.2f} s of processor  {len(objects):3d} objects  {size:7.1f} MB", flush=True)
    return wall_s


if __name__ == "__main__":
    main()

"""How well activation and connectivity of the motor cortex are recovered, on computed functional series of computed heads.

`python -m benchmarks.function task|idle|rest|designs|speed SEED …`. task: planted activation by strength, motion and repetition time,
with its blocks stated and found; idle: series without any activation that are measured as if they had blocks; rest: planted correlations;
designs: blocks looked for in noise. A line per series, then a summary. The T1 of each head is analysed first (a minute or two).
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from analysis.examination import Examination, Patient
from analysis.phantom import phantom
from analysis.phantom_bold import REST, TASK, Course, displacement_mm, paradigm_of, poses_of, regions_of, scan_bold
from analysis.phantom_head import healthy_head
from analysis.phantom_shape import shape_of
from analysis.phantom_truth import patient_of
from analysis.steps.activation import activation
from analysis.steps.block_design import blocks_in
from analysis.steps.functional_runs import Run, motor_signals, run_of

CHANGES, MOTIONS_MM, TIMES = (0.01, 0.02, 0.03), (0.1, 0.3), ((2.5, 120), (1.5, 200))
CORRELATIONS = (0.0, 0.3, 0.6, 0.85)


def examination_of(seed: int) -> Examination:
    """A T1 alone."""
    made = phantom(seed=seed, roles=("t1",))
    return Examination({"t1": made.images["t1"]}, Patient(60.0, "F"))


def analysed(examination: Examination, series: str, seed: int, number: int, course: Course, is_stated: bool = True) -> tuple[Run, float]:
    """A computed series and what was found in it, with the seconds that took; `number` is that of its noise and motion."""
    made = scan_bold(healthy_head(), shape_of(seed), series, seed, course, stream=number)
    paradigm = (replace(paradigm_of(course), moves="") if series == TASK else None) if is_stated else None
    start = time.monotonic()
    run = run_of(examination, replace(made, paradigm=paradigm, name="" if series == TASK else "rest"))
    return run, time.monotonic() - start


def tasks(seeds: list[int]) -> Iterator[dict]:
    """Planted against found."""
    for seed in seeds:
        examination, patient = examination_of(seed), patient_of(healthy_head(), shape_of(seed))
        true = {side: patient.ml(region.astype(np.float32)) for side, region in regions_of(healthy_head(), "right").items()}
        for number, (change, motion_mm, (step_s, volumes)) in enumerate(itertools.product(CHANGES, MOTIONS_MM, TIMES)):
            if (number + number // 2 + seed) % 2:
                continue  # half of them on each head
            course = Course(change=change, motion_mm=motion_mm, repetition_s=step_s, volumes=volumes)
            run, seconds = analysed(examination, TASK, seed, number, course)
            found = run.activation
            blocks = blocks_in(motor_signals(run.steady, run.place), step_s) if run.place else None
            yield {
                "seed": seed, "change": change, "motion": motion_mm, "tr": step_s, "refusal": run.refusal and str(run.refusal),
                "true": {side: round(ml, 2) for side, ml in true.items()}, "seconds": round(seconds, 1),
                "found": found and {side: round(ml, 2) for side, ml in found.volume_ml.items()},
                "index": found and found.laterality and [round(one, 2) for one in found.laterality],
                "true_index": round((true["left"] - true["right"]) / sum(true.values()), 2),
                "elsewhere": found and int((found.active & ~run.place.motor["left"] & ~run.place.motor["right"]).sum()),
                "blocks": blocks and [round(float(np.median(np.diff(blocks.onsets_s))), 1), round(blocks.durations_s[1], 1)],
                "moved": round(float(run.steady.displacement_mm[1:].mean()), 3),
                "true_moved": round(float(displacement_mm(poses_of(TASK, seed, course, number))[1:].mean()), 3),
            }  # fmt: skip


def idle(seeds: list[int], each: int = 6) -> Iterator[dict]:
    """Series without activation, measured with blocks of several lengths that were never done."""
    for seed in seeds:
        examination = examination_of(seed)
        for number in range(each):
            course = Course(change=0.0, motion_mm=(0.1, 0.3)[number % 2], repetition_s=(2.5, 1.5)[number % 3 == 2],
                            volumes=(120, 200)[number % 3 == 2])  # fmt: skip
            run, _ = analysed(examination, TASK, seed, 100 + number, course)
            if run.activation is None:
                yield {"seed": seed, "number": number, "refusal": str(run.refusal)}
                continue
            active = {}
            for block_s in (15.0, 20.0, 25.0, 30.0):
                found = activation(run.steady, run.place, paradigm_of(replace(course, block_s=block_s)))
                motor = (found.active & (run.place.motor["left"] | run.place.motor["right"])).sum()
                active[block_s] = [int(found.active.sum()), int(motor), round(float(found.t[run.place.brain].std()), 2)]
            yield {"seed": seed, "number": number, "motion": course.motion_mm, "tr": course.repetition_s, "active": active,
                   "blocks": blocks_in(motor_signals(run.steady, run.place), course.repetition_s) is not None}  # fmt: skip


def rests(seeds: list[int]) -> Iterator[dict]:
    """Planted correlations, of the run itself."""
    for seed in seeds:
        examination = examination_of(seed)
        for number, r in enumerate(CORRELATIONS):
            course = Course(correlation=r, motion_mm=(0.1, 0.2)[(seed + number) % 2])
            run, seconds = analysed(examination, REST, seed, 200 + number, course)
            found = run.network
            blocks = blocks_in(motor_signals(run.steady, run.place), course.repetition_s) if run.place else None
            yield {
                "seed": seed, "r": r, "found": found and round(found.r, 3), "error": found and round(found.error, 3),
                "seconds": round(seconds, 1), "freedom": found and round(found.freedom), "refusal": run.refusal and str(run.refusal),
                "blocks": blocks is not None,
            }  # fmt: skip


def designs(seeds: list[int], each: int = 150) -> Iterator[dict]:
    """Blocks looked for in pairs of noise signals of several spectra, without what is slower than 128 s; no images."""
    count, step_s = 120, 2.5
    frequency_hz = np.fft.rfftfreq(count, step_s)
    slow = np.cos(np.pi * np.outer(np.arange(count) + 0.5, np.arange(int(2 * count * step_s / 128) + 1)) / count)
    weights = {f"1/f^{slope:g}": np.r_[0.0, frequency_hz[1:] ** (-slope / 2)] for slope in (0.0, 1.0, 1.5)}
    weights["0.01 to 0.09 Hz"] = ((frequency_hz > 0.01) & (frequency_hz < 0.09)).astype(float) + 0.3
    for seed, (name, weight) in itertools.product(seeds, weights.items()):
        random, found = np.random.default_rng([seed, len(name)]), 0
        for _ in range(each):
            parts = weight * (random.normal(size=(2, len(weight))) + 1j * random.normal(size=(2, len(weight))))
            signals = np.fft.irfft(parts, count, axis=1).T
            found += blocks_in(signals - slow @ np.linalg.lstsq(slow, signals, rcond=None)[0], step_s) is not None
        yield {"noise": name, "seed": seed, "blocks": found, "of": each}


def speed(seeds: list[int]) -> Iterator[dict]:
    """200 volumes, the T1 being analysed already."""
    for seed in seeds:
        examination = examination_of(seed)
        for series in (TASK, REST):
            run, _ = analysed(examination, series, seed, 300, Course(volumes=200, repetition_s=2.0))
            run, seconds = analysed(examination, series, seed, 300, Course(volumes=200, repetition_s=2.0))
            yield {"series": series, "seconds": round(seconds, 1), "refusal": run.refusal and str(run.refusal)}


def main() -> None:
    what = {"task": tasks, "idle": idle, "rest": rests, "designs": designs, "speed": speed}[sys.argv[1]]
    rows = []
    for row in what([int(seed) for seed in sys.argv[2:]]):
        print(row, flush=True)
        rows.append(row)
    print(summary(sys.argv[1], rows))


def summary(what: str, rows: list[dict]) -> dict:
    """What the lines say together."""
    if what == "task":
        used = [row for row in rows if row["found"]]
        return {
            "series": len(rows), "measured": len(used), "blocks found": sum(bool(row["blocks"]) for row in used),
            **{f"left, found over true, change {change}": [round(row["found"]["left"] / row["true"]["left"], 2) for row in used
                                                           if row["change"] == change] for change in CHANGES},
            **{f"right, found less true, change {change}": [round(row["found"]["right"] - row["true"]["right"], 2) for row in used
                                                            if row["change"] == change] for change in CHANGES},
            "index less true": [round(row["index"][0] - row["true_index"], 2) for row in used if row["index"]],
            "elsewhere": [row["elsewhere"] for row in used],
        }  # fmt: skip
    if what == "rest":
        used = [row for row in rows if row["found"] is not None]
        far = [round((row["found"] - row["r"]) / row["error"], 2) for row in used]
        return {"series": len(rows), "errors off": far, "within 1.96": sum(abs(one) < 1.96 for one in far),
                "blocks": sum(row["blocks"] for row in rows)}  # fmt: skip
    if what == "idle":
        every = [one for row in rows for one in row.get("active", {}).values()]
        return {"looks": len(every), "any active": sum(one[0] > 0 for one in every), "motor active": sum(one[1] > 0 for one in every),
                "blocks": sum(bool(row.get("blocks")) for row in rows), "series": len(rows)}  # fmt: skip
    return {}


if __name__ == "__main__":
    main()

"""A diffusion series on two cores: how long each step takes, and how that grows: `python benchmarks/diffusion_times.py [--quick]`

Phantom series of more and more directions and voxels; a step's time is its own, without the steps that it asks for. For 64 directions of
2 mm over the whole brain at most 180 s and 4 GiB are promised. Making the series takes longer than measuring them: twenty minutes in all.
"""

from __future__ import annotations

import argparse
import os
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.marker import markers
from analysis.phantom_findings import fa_factors, plant
from analysis.phantom_head import healthy_head
from analysis.phantom_scan import SEQUENCES, scan_diffusion
from analysis.phantom_shape import shape_of
from analysis.phantom_tracts import fibres_of
from analysis.volume import Diffusion
from benchmarks.step_times import CORES, Timed, Watch, alone

SEED = 11
SERIES = ((24, 2.5), (32, 2.5), (64, 2.5), (32, 2.0), (64, 2.0))  # directions, voxels of mm


def series_of(directions: int, voxel_mm: float) -> Diffusion:
    head, _ = plant(healthy_head(), {}, 0.0, SEED)
    coarseness = voxel_mm / SEQUENCES["dwi"].spacing_mm[0]
    return scan_diffusion(head, fibres_of(head, fa_factors({}, 0.0)), shape_of(SEED), SEED, coarseness, directions=directions)


def run(directions: int, voxel_mm: float) -> None:
    with ProcessPoolExecutor(1) as other:  # so that its memory is not counted here
        series = other.submit(series_of, directions, voxel_mm).result()
    watch, start = Watch(), time.monotonic()
    examination = Timed({"dwi": series}, watch=watch)
    every = [one for one in markers() if one.needs == (("dwi",),)]
    outcomes = [watch.time(f"marker {one.name}", alone, one, examination) for one in every]
    total = time.monotonic() - start
    print(f"\n{directions} directions, {voxel_mm} mm, {series.array.shape}: {total:.1f} s, {', '.join(one.outcome for one in outcomes)}")
    for name, seconds in sorted(watch.seconds.items(), key=lambda item: -item[1]):
        print(f"{seconds:7.1f} s {100 * seconds / total:5.1f} %  {name}")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest series only")
    os.environ.update(dict.fromkeys(("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(CORES)))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    for directions, voxel_mm in SERIES[: 1 if parser.parse_args().quick else None]:
        run(directions, voxel_mm)


if __name__ == "__main__":
    main()

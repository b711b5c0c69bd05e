"""What the spectroscopy fit gives back of simulated spectra, and how often its 95 % intervals hold.

    python benchmarks/spectra.py [--seeds FIRST LAST] [--quick]

Every spectrum has concentrations of its own, a line shape, macromolecules and a baseline that are not those of the fit's model, eddy
currents, residual water and, for PRESS, a TE1 of 36 to 50 % of TE that the header does not state. Printed per condition and ratio: how
often it was given, the median error in percent, the scatter, and in how many of 100 the interval held.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.outcome import NotMeasurable
from analysis.phantom_spectrum import HEALTHY_MMOL, Acquisition, simulated
from analysis.spectrum import PRESS, SLASER, STEAM
from analysis.steps.metabolite_basis import TOTALS
from analysis.steps.spectrum_fit import RATIOS, fitted

CONDITIONS = {
    "3 T PRESS 30": Acquisition(),
    "3 T PRESS 30, SNR 15, 10 Hz": Acquisition(snr=15, linewidth_hz=10),
    "3 T PRESS 30, SNR 100": Acquisition(snr=100),
    "3 T PRESS 30, no water": Acquisition(has_water=False, is_mirrored=True),
    "1.5 T PRESS 35": Acquisition(field_mhz=63.9, linewidth_hz=4.5, echo_time_ms=35, spectral_width_hz=1000),
    "7 T PRESS 30": Acquisition(field_mhz=297.2, linewidth_hz=12, spectral_width_hz=4000, points=2048),
    "3 T STEAM 20": Acquisition(sequence=STEAM, echo_time_ms=20, echo_parts_ms=(20, 10)),
    "7 T sLASER 28": Acquisition(field_mhz=297.2, linewidth_hz=12, spectral_width_hz=4000, points=2048, sequence=SLASER, echo_time_ms=28),
    "3 T PRESS 135": Acquisition(echo_time_ms=135),
    "3 T PRESS 144, SNR 15": Acquisition(echo_time_ms=144, snr=15),
    "1.5 T PRESS 288": Acquisition(field_mhz=63.9, linewidth_hz=4.5, echo_time_ms=288, spectral_width_hz=1000, snr=20),
    "3 T PRESS 30, 8 coils, 16 drifting": Acquisition(coils=8, repetitions=16, drift_hz=8),
}


def person(seed: int, naa: float = 1.0) -> dict[str, float]:
    """Concentrations of one person: the healthy ones, each 15 % up or down."""
    chance = np.random.default_rng(seed + 10_000)
    found = {name: value * chance.lognormal(0, 0.15) for name, value in HEALTHY_MMOL.items()}
    return found | {name: found[name] * naa for name in ("NAA", "NAAG")}


def truth(concentrations: dict[str, float]) -> dict[str, float]:
    totals = {name: sum(concentrations[part] for part in parts) for name, parts in TOTALS.items()}
    return {name: totals[above] / totals[below] for name, (above, below) in RATIOS.items()}


def spectrum_of(acquisition: Acquisition, concentrations: dict[str, float], seed: int):
    """Simulated with a TE1 that is then forgotten."""
    if acquisition.sequence == PRESS and acquisition.echo_parts_ms is None:
        first = np.random.default_rng(seed + 20_000).uniform(0.36, 0.5) * acquisition.echo_time_ms
        acquisition = replace(acquisition, echo_parts_ms=(first, acquisition.echo_time_ms - first))
        return replace(simulated(concentrations, acquisition, seed), echo_parts_ms=None)
    return simulated(concentrations, acquisition, seed)


def rows(acquisition: Acquisition, seeds: range) -> tuple[dict[str, list[tuple[float, float, bool]]], float, int]:
    """Per ratio: the error of its logarithm, the standard error stated, whether the interval held; seconds each; how many were refused."""
    found, refused, start = {name: [] for name in RATIOS}, 0, time.perf_counter()
    for seed in seeds:
        concentrations = person(seed)
        try:
            fit = fitted(spectrum_of(acquisition, concentrations, seed))
        except NotMeasurable:
            refused += 1
            continue
        for name, true in truth(concentrations).items():
            if ratio := fit.ratios.get(name):
                found[name].append((np.log(ratio.value / true), ratio.standard_error / ratio.value, ratio.low <= true <= ratio.high))
    return found, (time.perf_counter() - start) / len(seeds), refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", nargs=2, type=int, default=(1000, 1020))
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    seeds = range(*options.seeds)
    together = {name: [] for name in RATIOS}
    for title, acquisition in CONDITIONS.items():
        if options.only not in title:
            continue
        found, seconds, refused = rows(acquisition, seeds)
        print(f"{title}: {len(seeds)} spectra, {refused} refused, {seconds:.1f} s each")
        for name, values in found.items():
            together[name] += values
            print("   " + line(name, values, len(seeds)), flush=True)
    print("all")
    for name, values in together.items():
        print("   " + line(name, values, 0))
    print(lowered(seeds))


def line(name: str, values: list[tuple[float, float, bool]], asked: int) -> str:
    if not values:
        return f"{name:8s} never given"
    errors, stated, held = (np.array(column) for column in zip(*values, strict=True))
    z = np.sqrt(np.mean((errors / stated) ** 2))
    return (
        f"{name:8s} given {len(values):4d} of {asked or len(values)}, "
        f"bias {100 * np.median(errors):+5.1f} %, scatter {100 * errors.std():4.1f} %, "
        f"stated {100 * np.median(stated):4.1f} %, z {z:.2f}, held {100 * held.mean():.0f} of 100"
    )


def lowered(seeds: range) -> str:
    """NAA lowered in the same people: the ratio of the ratios."""
    lines = []
    for naa in (0.9, 0.8):
        changes = []
        for seed in seeds:
            fits = [fitted(spectrum_of(Acquisition(), person(seed, share), seed)) for share in (1.0, naa)]
            if all("naa_cr" in fit.ratios for fit in fits):
                changes.append(fits[1].ratios["naa_cr"].value / fits[0].ratios["naa_cr"].value - 1)
        mean, scatter = 100 * np.mean(changes), 100 * np.std(changes)
        lines.append(f"NAA {100 * (naa - 1):+.0f} %: NAA/Cr {mean:+.1f} % ± {scatter:.1f} ({len(changes)} people)")
    return "\n".join(lines)


if __name__ == "__main__":
    main()

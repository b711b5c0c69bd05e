"""How right the places are that a site's own controls give: the figures of `analysis/controls.py` and `analysis/harmonisation.py`.

    python benchmarks/norms.py rates [--sites 2000]      controls of one scanner: 20, 40 and 80, with and without effects of age and sex
    python benchmarks/norms.py scanners [--sites 400]    few controls on one scanner, more on others: as they are, harmonised

A simulated site has controls of 40 to 80 years; the truth is known, so every healthy person's true percentile is. Scanners shift (normal,
1 spread, and 0.3 more for each measurement) and scale (log-normal, 15 %); 24 measurements go together (correlation 0.5). Patients are
drawn on the first scanner, healthy or with a loss of 1.5 spreads. Prints tables and writes nothing; each takes two minutes.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from analysis.controls import Controls
from analysis.examination import Patient
from analysis.harmonisation import harmonised
from analysis.reference import Expected, percentile_of

LOW, HIGH, LOSS, LIMIT_Z = 40.0, 80.0, 1.5, -1.6449
MEASUREMENTS, TOGETHER = 24, 0.5
SHIFT, OWN_SHIFT, SCALE = 1.0, 0.3, 0.15
PATIENTS = 10


def controls_of(ages: np.ndarray, sexes: np.ndarray, values: np.ndarray, scanners: tuple[int, ...] = ()) -> Controls:
    keep = np.isfinite(values)
    kept = tuple(np.array(scanners)[keep].tolist()) if scanners else ()
    return Controls("x", None, None, "simulated", tuple(ages[keep].tolist()), tuple(sexes[keep].tolist()), tuple(values[keep].tolist()),
                    scanners=kept)  # fmt: skip


def people(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Ages and sexes."""
    return random.uniform(LOW, HIGH, count), np.where(random.random(count) < 0.5, "F", "M")


def truth(ages: np.ndarray, sexes: np.ndarray, slope: float, sex: float) -> np.ndarray:
    """The mean of the healthy, in spreads."""
    return slope * (ages - 60.0) + sex * (sexes == "F")


def rates(sites: int) -> None:
    """One scanner: false positives, detections, how often the interval of the percentile holds the truth, what a site's own check says."""
    print("controls  age effect  sex effect  z<-1.645 (5 %)  z<-2 (2.3 %)  loss found  interval holds (95 %)  left out beyond 5-95 (10 %)")
    for count in (20, 40, 80):
        for slope, sex in ((0.0, 0.0), (-0.03, 0.0), (-0.03, 0.5), (-0.03, 1.2)):
            random = np.random.default_rng([count, round(-100 * slope), round(10 * sex)])
            found = np.concatenate([_one_scanner(random, count, slope, sex) for _ in range(sites)])
            check = np.mean([_left_out(random, count, slope, sex) for _ in range(sites // 10)])
            shown = (found[:, 0] < LIMIT_Z, found[:, 0] < -2.0, found[:, 1] < LIMIT_Z, found[:, 2])
            print(f"{count:8d}  {slope:10g}  {sex:10g}  " + "  ".join(f"{100 * np.mean(one):12.1f}" for one in (*shown, check)), flush=True)


def _one_scanner(random: np.random.Generator, count: int, slope: float, sex: float) -> np.ndarray:
    """By patient: z healthy, z with a loss, whether the interval holds the true percentile."""
    ages, sexes = people(random, count)
    mine = controls_of(ages, sexes, truth(ages, sexes, slope, sex) + random.normal(size=count))
    rows = []
    for age, one in zip(*people(random, PATIENTS), strict=True):
        expected = mine.expected(Patient(float(np.clip(age, ages.min(), ages.max())), one))
        if not isinstance(expected, Expected):
            continue
        z = random.normal()
        healthy = float(truth(np.clip([age], ages.min(), ages.max()), np.array([one]), slope, sex)[0]) + z
        place = expected.place(healthy, None)
        rows.append((place.z, expected.place(healthy - LOSS, None).z, place.percentile_low <= percentile_of(z) <= place.percentile_high))
    return np.array(rows, float).reshape(-1, 3)


def _left_out(random: np.random.Generator, count: int, slope: float, sex: float) -> float:
    ages, sexes = people(random, count)
    places = controls_of(ages, sexes, truth(ages, sexes, slope, sex) + random.normal(size=count)).placed_without()
    inside = [place for place in places if not isinstance(place, str)]
    return float(np.mean([not 5.0 <= place.percentile <= 95.0 for place in inside]))


def scanners(sites: int) -> None:
    """Few controls on the patient's scanner, 20 on each of two others."""
    print("own controls  way                  bias of z (rms)  spread of z  z<-1.645 (5 %)  loss of 1.5 found")
    for own in (5, 8, 12, 19):
        random = np.random.default_rng([own, 7])
        found: dict[str, list[np.ndarray]] = {}
        for _ in range(sites):
            for way, z in _site(random, (own, 20, 20)).items():
                found.setdefault(way, []).append(z)
        for way, sets in found.items():
            bias = np.sqrt(np.mean([np.mean(one[:, 0]) ** 2 for one in sets]))
            z = np.concatenate(sets)
            print(f"{own:12d}  {way:20s} {bias:15.2f}  {z[:, 0].std():11.2f}  {100 * np.mean(z[:, 0] < LIMIT_Z):14.1f}  "
                  f"{100 * np.mean(z[:, 1] < LIMIT_Z):17.1f}", flush=True)  # fmt: skip


def _site(random: np.random.Generator, counts: tuple[int, ...]) -> dict[str, np.ndarray]:
    """z of (patient and measurement, healthy or with a loss) by the way the population is made."""
    which = np.repeat(np.arange(len(counts)), counts)
    shift = SHIFT * random.normal(size=(len(counts), 1)) + OWN_SHIFT * random.normal(size=(len(counts), MEASUREMENTS))
    scale = np.exp(SCALE * random.normal(size=(len(counts), MEASUREMENTS)))
    ages, sexes = people(random, len(which))
    values = _measured(random, ages, sexes, shift[which], scale[which])
    covariates = np.c_[ages, sexes == "F"].astype(float)
    laid = harmonised(values, which, covariates)
    at, of = people(random, PATIENTS)
    low, high = ages[which == 0].min(), ages[which == 0].max()
    at = low + (high - low) * random.random(PATIENTS)
    patients = _measured(random, at, of, shift[:1], scale[:1])
    mine = which == 0
    ways = {
        "this scanner alone": (ages[mine], sexes[mine], values[mine], ()),
        "pooled as they are": (ages, sexes, values, ()),
        "ComBat, error left": (ages, sexes, laid, ()),
        "ComBat": (ages, sexes, laid, tuple(which.tolist())),
    }
    return {way: _places(at, of, patients, scale[0], *population) for way, population in ways.items()}


def _measured(random: np.random.Generator, ages, sexes, shift: np.ndarray, scale: np.ndarray) -> np.ndarray:
    together = random.normal(size=(len(ages), 1))
    people_differ = np.sqrt(TOGETHER) * together + np.sqrt(1 - TOGETHER) * random.normal(size=(len(ages), MEASUREMENTS))
    return truth(ages, sexes, -0.03, 0.3)[:, None] + shift + scale * people_differ


def _places(at, of, patients, scale, ages, sexes, values, which) -> np.ndarray:
    rows = []
    for column in range(values.shape[1]):
        population = controls_of(ages, sexes, values[:, column], which)
        for age, sex, value in zip(at, of, patients[:, column], strict=True):
            expected = population.expected(Patient(float(age), str(sex)))
            if isinstance(expected, Expected):
                rows.append((expected.place(value, None).z, expected.place(value - LOSS * scale[column], None).z))
    return np.array(rows).reshape(-1, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("rates", "scanners"))
    parser.add_argument("--sites", type=int)
    options = parser.parse_args()
    if options.what == "rates":
        rates(options.sites or 2000)
    else:
        scanners(options.sites or 400)


if __name__ == "__main__":
    main()

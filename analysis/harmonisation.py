"""Controls of other scanners laid on one scanner: ComBat, empirical Bayes for the shift and the scale of each scanner.

Learned on healthy controls only; used where a scanner alone has too few of them. Each measurement has its own line over age and sex; what
a scanner shifts and scales is estimated from its residuals and drawn towards what it does to all measurements of the marker together
(Johnson 2007; for diffusion Fortin 2017, for thickness Fortin 2018). Gaps are borne: a measurement uses the people who have it.

Why this is not a library (looked at in 2026): combatlearn 2.3 learns and applies, but refuses gaps, which are normal here (fields of view
cut), and brings umap-learn with numba, plotly, seaborn and nbformat; neuroHarmonize 2.5 needs numpy below 2; neuroCombat 0.2 applies to no
new person. None says how uncertain a scanner's shift is, which our percentiles need with eight to nineteen controls. On complete tables the
numbers here are those of neuroCombat within 0.00001 spreads; combatlearn takes its priors over scanners instead of measurements.

Measured (`benchmarks/norms.py scanners`; 400 simulated sites, 20 controls on each of two other scanners, shifts of 1 spread, scales of
15 %):

| own controls | bias of z: pooled as they are, harmonised, own alone | z < -1.645 (5 %) | loss of 1.5 found: harmonised, own alone |
|---|---|---|---|
| 5 | 0.83, 0.38, 0.34 | 6.4 % | 40 %, 27 % |
| 8 | 0.72, 0.34, 0.31 | 5.4 % | 40 %, 32 % |
| 12 | 0.65, 0.30, 0.29 | 5.2 % | 40 %, 35 % |
| 19 | 0.56, 0.28, 0.28 | 5.2 % | 41 %, 38 % |

The bias is the root mean square over sites of their patients' mean z; 0 if the scanner were known. The spread of z falls from 1.10 (pooled)
to 1.04 with 8. Were the error of the scanner's shift not counted, 6.7 of 100 healthy people would fall below -1.645 with 8, 5.9 with 19.

References: Johnson 2007, 10.1093/biostatistics/kxj037; Fortin 2017, 10.1016/j.neuroimage.2017.08.047; Fortin 2018,
10.1016/j.neuroimage.2017.11.024.
"""

from __future__ import annotations

import numpy as np

LEAST_ON_SCANNER = 8  # with 5, healthy people fell below the 5th percentile in 6.4 of 100
LEAST_FEATURES = 2  # one measurement has no others to draw it towards
ROUNDS, CONVERGED = 200, 1e-8


def harmonised(values: np.ndarray, scanners: np.ndarray, covariates: np.ndarray, onto: int | None = 0) -> np.ndarray:
    """The values as the scanner number `onto` would have measured them; None: the average scanner.

    `values` (person, measurement), NaN where there is none; `scanners` (person,) whole numbers; `covariates` (person, k). Values of the
    scanner `onto` stay as they are. A scanner with fewer than two values of a measurement gives NaN there; so does a measurement of which
    the scanner `onto` has fewer than two, or whose scanners cannot be told from the covariates.
    """
    known = _with_enough(values, scanners)
    parts = [_standardised(column, scanners, covariates) for column in known.T]
    expected, sd = np.array([part[0] for part in parts]).T, np.array([part[1] for part in parts])
    scores = (known - expected) / sd
    effects = {one: _effect(scores[scanners == one]) for one in np.unique(scanners)}
    shift, scale = (np.array([effects[one][k] for one in scanners]) for k in (0, 1))
    to_shift, to_scale = (0.0, 1.0) if onto is None else effects[onto]
    laid = expected + sd * ((scores - shift) / scale * to_scale + to_shift)
    return np.where((scanners == onto)[:, None], known, laid)


def _with_enough(values: np.ndarray, scanners: np.ndarray) -> np.ndarray:
    """The values without those of a scanner that has one of them only."""
    known = values.astype(float).copy()
    for one in np.unique(scanners):
        here = scanners == one
        few = np.isfinite(known[here]).sum(0) < 2
        known[np.ix_(here, few)] = np.nan
    return known


def _standardised(column: np.ndarray, scanners: np.ndarray, covariates: np.ndarray) -> tuple[np.ndarray, float]:
    """What is expected of each person on the average scanner, (person,), and the spread about it; NaN where that cannot be told."""
    has = np.isfinite(column)
    covariates = covariates[:, np.ptp(covariates[has], axis=0) > 0] if has.any() else covariates
    there = np.unique(scanners[has])
    which = (scanners[:, None] == there).astype(float)
    design = np.hstack([which, covariates])
    if len(there) < 2 or np.linalg.matrix_rank(design[has]) < design.shape[1]:
        return np.full(len(column), np.nan), np.nan
    weights = np.linalg.lstsq(design[has], column[has], rcond=None)[0]
    rest = column[has] - design[has] @ weights
    average = which[has].mean(0) @ weights[: len(there)]
    sd = float(np.sqrt(np.mean(rest**2)))
    return average + covariates @ weights[len(there) :], sd if sd > 0 else np.nan


def _effect(scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shift and scale of one scanner by measurement, (m,), from its standard scores (person, m): NaN where it has none."""
    count = np.isfinite(scores).sum(0)
    used = count >= 2
    shift, scale = np.full(scores.shape[1], np.nan), np.full(scores.shape[1], np.nan)
    z, n = scores[:, used], count[used]
    mean, variance = np.nanmean(z, 0), np.nanvar(z, 0, ddof=1)
    if used.sum() >= LEAST_FEATURES and mean.var() > 0 and variance.var() > 0:
        mean, variance = _drawn(z, n, mean, variance)
    shift[used], scale[used] = mean, np.sqrt(variance)
    return shift, scale


def _drawn(z: np.ndarray, n: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The posterior means of Johnson 2007: a normal prior of the shifts, an inverse gamma prior of the variances."""
    centre, width = mean.mean(), mean.var(ddof=1)
    average, between = variance.mean(), variance.var(ddof=1)
    a, b = (2.0 * between + average**2) / between, (average * between + average**3) / between
    shift, scale_2 = mean, variance
    for _ in range(ROUNDS):
        new_shift = (width * n * mean + scale_2 * centre) / (width * n + scale_2)
        new_scale_2 = (b + 0.5 * np.nansum((z - new_shift) ** 2, 0)) / (n / 2.0 + a - 1.0)
        change = max(np.abs(new_shift - shift).max(), np.abs(new_scale_2 / scale_2 - 1.0).max())
        shift, scale_2 = new_shift, new_scale_2
        if change < CONVERGED:
            break
    return shift, scale_2

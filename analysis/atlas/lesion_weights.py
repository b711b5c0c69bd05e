"""Trains the lesion detector: `python -m analysis.atlas.lesion_weights` writes lesion_weights.csv beside this file.

A logistic regression of the features of `analysis.steps.lesion_features`, on synthetic half heads alone (`synthetic_lesions.py`): no image
of a person takes part. Both classes weigh the same; the weights are held small (ridge). The threshold is the one with the best mean Dice on
further synthetic heads. The simple model is meant: a boosted one was better on synthetic lesions and failed on patients, as it learns what
only synthetic lesions have.

The same seeds give the same file, up to the last digits of another processor.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from scipy.special import expit

from analysis.atlas.synthetic_lesions import case_of
from analysis.steps.lesion_features import NAMES, features_of

HERE = Path(__file__).parent
FILE = "lesion_weights.csv"
TRAINING, CHOOSING = range(1, 15), range(101, 105)  # seeds
MOST_ROWS = 60000  # of a case
RIDGE, ROUNDS = 1e-3, 12
FARTHEST = 5.0  # a feature counts up to so many standard deviations
THRESHOLDS = expit(np.arange(0.0, 7.1, 0.25))


def rows_of(seed: int, most: int = MOST_ROWS) -> tuple[np.ndarray, np.ndarray]:
    """The features (n, feature) of the candidates of one synthetic head, and which of them are lesion (n,)."""
    case = case_of(seed)
    features = features_of(case.flair, case.priors)
    is_lesion = case.lesions[features.candidates]
    chosen = np.random.default_rng([seed, 12]).permutation(len(is_lesion))[:most]
    return features.values[chosen], is_lesion[chosen]


def fitted(values: np.ndarray, is_lesion: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and spread of each feature (feature,), and the weights with the constant last (feature + 1,): Newton's method."""
    mean, spread = values.mean(0, dtype=np.float64), np.maximum(values.std(0, dtype=np.float64), 1e-6)
    terms = standardised(values, mean, spread)
    share = is_lesion.mean()
    balance = np.where(is_lesion, 0.5 / share, 0.5 / (1 - share))
    weights = np.zeros(terms.shape[1])
    ridge = RIDGE * len(terms) * np.diag([1.0] * (len(weights) - 1) + [0.0])
    for _ in range(ROUNDS):
        belief = expit(terms @ weights)
        slope = terms.T @ (balance * (belief - is_lesion)) + ridge @ weights
        curve = (terms * (balance * np.maximum(belief * (1 - belief), 1e-6))[:, None]).T @ terms + ridge
        weights = weights - np.linalg.solve(curve, slope)
    return mean, spread, weights


def standardised(values: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> np.ndarray:
    """The features in standard deviations, none farther than FARTHEST, and a constant."""
    terms = np.clip((values - mean) / spread, -FARTHEST, FARTHEST)
    return np.concatenate([terms, np.ones((len(terms), 1))], axis=1)


def best_threshold(beliefs: list[np.ndarray], truths: list[np.ndarray], missed: list[int]) -> float:
    """The threshold with the best mean Dice; `missed`: lesion voxels of each case that were no candidates."""
    dice = [
        np.mean([2 * (truth & (belief > limit)).sum() / max(truth.sum() + lost + (belief > limit).sum(), 1)
                 for belief, truth, lost in zip(beliefs, truths, missed, strict=True)])
        for limit in THRESHOLDS
    ]  # fmt: skip
    return float(THRESHOLDS[int(np.argmax(dice))])


def trained(training: range = TRAINING, choosing: range = CHOOSING) -> dict[str, tuple[float, ...]]:
    """Mean, spread and weight by feature, and its mean on the first synthetic head alone, by which a test knows that the recipe is still
    the one that made the file; `constant` and `threshold` have only a weight."""
    rows = [rows_of(seed) for seed in training]
    mean, spread, weights = fitted(*(np.concatenate(part) for part in zip(*rows, strict=True)))
    beliefs, truths, missed = [], [], []
    for seed in choosing:
        case = case_of(seed)
        features = features_of(case.flair, case.priors)
        beliefs.append(expit(standardised(features.values, mean, spread) @ weights))
        truths.append(case.lesions[features.candidates])
        missed.append(int(case.lesions.sum() - truths[-1].sum()))
    table = {name: tuple(map(float, row)) for name, *row in zip(NAMES, mean, spread, weights[:-1], rows[0][0].mean(0), strict=True)}
    limit = best_threshold(beliefs, truths, missed)
    return {**table, "constant": (0.0, 1.0, float(weights[-1]), 0.0), "threshold": (0.0, 1.0, limit, 0.0)}


def written(table: dict[str, tuple[float, ...]], path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("feature", "mean", "spread", "weight", "first"))
        writer.writerows((name, *(f"{number:.6g}" for number in row)) for name, row in table.items())


if __name__ == "__main__":
    written(trained(), HERE / FILE)

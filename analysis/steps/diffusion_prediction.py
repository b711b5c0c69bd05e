"""What the other volumes of a diffusion series say of one: its signal predicted for its own gradient, with its own contrast.

Volumes of one b-value are predicted from one another: on a sphere of directions the signal is smooth, a mean and an even harmonic of low
order. That holds for any signal, also where fluid, bone and air share a voxel and a tensor would not. A volume never takes part in its own
prediction.

Source: the role of the Gaussian process in eddy (Andersson 2015, 10.1016/j.neuroimage.2015.07.067), with harmonics in its place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

B_ZERO_S_MM2 = 50.0  # up to here a volume counts as b = 0
SAME_SHELL_S_MM2 = 100.0
LEAST_FOR_ORDER = {2: 12, 4: 30}  # directions; with fewer too little is left to predict one from
STRONG_B_S_MM2 = 1500.0  # from here on the fourth order shows
MOST_LEVERAGE = 0.9


@dataclass(frozen=True, eq=False)
class Shell:
    """Volumes of one b-value: their indices, and what their signals are linear in, (volume of the shell, m)."""

    volumes: np.ndarray
    terms: np.ndarray

    def predicted(self, signals: np.ndarray, use: np.ndarray) -> np.ndarray:
        """Signals (volume of the shell, n) as the others that are used (volume of the shell,) predict them."""
        if not use.any():
            return signals
        solve = np.linalg.pinv(self.terms[use])
        fitted = (self.terms @ solve).astype(np.float32) @ signals[use]
        own = np.zeros(len(signals))
        own[use] = np.minimum((self.terms[use] * solve.T).sum(axis=1), MOST_LEVERAGE)
        # the prediction without a volume follows from the fit with it: its residual grows by its own share in the fit
        share = (own / (1.0 - own)).astype(np.float32)[:, None]
        return fitted - share * (signals - fitted)


def shells_of(b_values_s_mm2: np.ndarray, b_vectors: np.ndarray) -> tuple[Shell, ...]:
    """The shells of a series, b = 0 first where there is any. `b_vectors` (volume, 3) in any axes."""
    order = np.argsort(b_values_s_mm2, kind="stable")
    b = b_values_s_mm2[order]
    apart = (np.diff(b) > SAME_SHELL_S_MM2) | ((b[1:] > B_ZERO_S_MM2) & (b[:-1] <= B_ZERO_S_MM2))
    return tuple(_shell(volumes, b_values_s_mm2, b_vectors) for volumes in np.split(order, np.flatnonzero(apart) + 1))


def _shell(volumes: np.ndarray, b_values_s_mm2: np.ndarray, b_vectors: np.ndarray) -> Shell:
    x, y, z = b_vectors[volumes].T
    b = b_values_s_mm2[volumes].max()
    if b <= B_ZERO_S_MM2 or len(volumes) < LEAST_FOR_ORDER[2]:
        return Shell(volumes, np.ones((len(volumes), 1)))
    powers = 2 if b < STRONG_B_S_MM2 or len(volumes) < LEAST_FOR_ORDER[4] else 4
    # on the unit sphere all monomials of one even degree are the harmonics up to that order
    terms = [x**i * y**j * z ** (powers - i - j) for i in range(powers + 1) for j in range(powers + 1 - i)]
    return Shell(volumes, np.stack(terms, axis=1))


def predicted(shells: tuple[Shell, ...], signals: np.ndarray, lost: np.ndarray | None = None) -> np.ndarray:
    """Signals (volume, n) as the others predict them, float32. `lost` (volume, n), boolean: signals that nothing is predicted from."""
    found = np.empty(signals.shape, np.float32)
    if lost is None or not lost.any():
        for shell in shells:
            found[shell.volumes] = shell.predicted(signals[shell.volumes], np.ones(len(shell.volumes), bool))
        return found
    patterns, which = np.unique(np.packbits(lost, axis=0).T, axis=0, return_inverse=True)
    for pattern in range(len(patterns)):
        places = np.flatnonzero(which.ravel() == pattern)
        for shell in shells:
            here = np.ix_(shell.volumes, places)
            found[here] = shell.predicted(signals[here], ~lost[shell.volumes, places[0]])
    return found

"""What is known of a brain's signals before a spectrum is fitted: soft ratios, each an expectation with an error.

They keep what a spectrum cannot tell apart within what a brain can hold, in the manner of LCModel (Provencher 1993, doi
10.1002/mrm.1910300604); the three singlets that the ratios rest on have none. The areas of the broad lines are those of one
metabolite-nulled spectrum (PRESS, 3 T, TI 600 ms, from the example data of Osprey, doi 10.1016/j.jneumeth.2020.108827), with errors of 30
to 60 %: they agree with the positions and order of size of Cudalbu 2021 (doi 10.1002/nbm.4393).
"""

from __future__ import annotations

import numpy as np

from analysis.steps.metabolite_basis import SINGLETS, Basis, rest_of
from analysis.steps.spectrum_model import Prior

TO_BIG = {  # sparse metabolites over tNAA + tCr + 3 tCho: expectation and error, soft as in LCModel
    "sI": (0.02, 0.02), "Tau": (0.04, 0.04), "GABA": (0.04, 0.04), "Asp": (0.05, 0.05), "Lac": (0.02, 0.06), "GSH": (0.04, 0.03),
    "Gly": (0.02, 0.02), "Glu": (0.35, 0.2), "Gln": (0.12, 0.12), "mI": (0.25, 0.2),
}  # fmt: skip
TO_MM09 = {  # areas of broad lines over that at 0.92 ppm, and their error
    "MM12": (0.27, 0.12), "MM14": (0.45, 0.2), "MM17": (0.5, 0.2), "MM20": (0.7, 0.3), "MM21": (0.25, 0.15), "MM22": (0.8, 0.3),
    "MM24": (0.3, 0.15), "MM26": (0.22, 0.1), "MM27": (0.15, 0.1), "MM30": (0.5, 0.2), "MM32": (0.48, 0.2), "MM36": (0.1, 0.08),
    "MM37": (0.2, 0.12), "MM39": (0.25, 0.15), "MM40": (0.5, 0.3), "Lip09": (0.0, 0.3), "Lip13": (0.0, 0.5),
}  # fmt: skip
NAAG_TO_NAA = (0.15, 0.15)
REST_SD = 0.2  # of the protons beside a singlet, over what the singlet lets expect


def soft_prior(basis: Basis, amplitudes: np.ndarray) -> Prior:
    """The ratios as observations with an error of one; errors are scaled by the `amplitudes` (signal,) seen last."""
    one = dict(zip(basis.names, np.eye(len(basis.names)), strict=True))
    seen = dict(zip(basis.names, amplitudes, strict=True))
    big = basis.members("tNAA") + basis.members("tCr") + 3 * basis.members("tCho")
    strength = max(big @ amplitudes, 1e-12)
    broad = max(seen["MM09"], 0.05 * strength)
    rows = [(one[name] - ratio * big) / (error * strength) for name, (ratio, error) in TO_BIG.items()]
    rows += [(one[name] - ratio * one["MM09"]) / (error * broad) for name, (ratio, error) in TO_MM09.items()]
    rows.append((one["NAAG"] - NAAG_TO_NAA[0] * one["NAA"]) / (NAAG_TO_NAA[1] * max(seen["NAA"], 0.01 * strength)))
    rows += [(one[rest_of(name)] - one[name]) / (REST_SD * max(seen[name], 0.02 * strength)) for name in SINGLETS]
    return Prior(np.array(rows), np.zeros(len(rows)))

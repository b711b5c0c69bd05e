"""The coded reports of Betz of before names and levels stood beside the numbers: what they are called follows from their codes.

Nothing new is added here: a measurement that came later says its name itself.
"""

from __future__ import annotations

import re

from analysis import concepts
from analysis.sentence import SERIES_NAMES
from node.concepts import level_words

_VOLUMES = {
    concepts.INTRACRANIAL: "intracranial_volume", concepts.BRAIN: "brain_volume", concepts.GREY_MATTER: "grey_matter_volume",
    concepts.WHITE_MATTER: "white_matter_volume", concepts.CEREBROSPINAL_FLUID: "csf_volume",
    concepts.MIDBRAIN: "midbrain_volume", concepts.PONS: "pons_volume", concepts.MEDULLA: "medulla_volume",
    concepts.PRECENTRAL_GYRUS: "precentral_volume", concepts.CORTICOSPINAL_TRACT: "cst_volume",
    concepts.WHITE_MATTER_LESION: "lesion_volume",
}  # fmt: skip
_BY_SITE = {
    **{(concepts.VOLUME.code, site.code): name for site, name in _VOLUMES.items()},
    (concepts.THICKNESS.code, concepts.PRECENTRAL_GYRUS.code): "precentral_thickness",
    (concepts.THICKNESS.code, concepts.POSTCENTRAL_GYRUS.code): "postcentral_thickness",
    (concepts.FRACTIONAL_ANISOTROPY.code, concepts.CORTICOSPINAL_TRACT.code): "cst_fa",
    (concepts.MEAN_DIFFUSIVITY.code, concepts.CORTICOSPINAL_TRACT.code): "cst_md",
    (concepts.FRACTIONAL_ANISOTROPY.code, concepts.CALLOSAL_MOTOR.code): "callosal_motor_fa",
    (concepts.MEAN_DIFFUSIVITY.code, concepts.CALLOSAL_MOTOR.code): "callosal_motor_md",
    (concepts.FRACTIONAL_ANISOTROPY.code, concepts.SPLENIUM.code): "control_fa",
}
_BY_QUANTITY = {
    concepts.RADIAL_DIFFUSIVITY.code: "cst_rd", concepts.AXIAL_DIFFUSIVITY.code: "cst_ad",
    concepts.ASYMMETRY_INDEX.code: "cst_fa_asymmetry",
    concepts.THICKNESS_RATIO.code: "precentral_postcentral_ratio", concepts.FLAIR_CONTRAST.code: "cst_flair_contrast",
    concepts.BAND_CONTRAST.code: "motor_band_contrast", concepts.BAND_SCORE.code: "motor_band_score", concepts.CORD_AREA.code: "cord_area",
    concepts.DEPTH.code: "cord_ap_diameter", concepts.WIDTH.code: "cord_rl_diameter", concepts.LESION_COUNT.code: "lesion_count",
    concepts.CORD_COMPRESSION_RATIO.code: "cord_compression_ratio", concepts.ACUTE_INFARCT_VOLUME.code: "acute_infarct_volume",
    concepts.MIDLINE_SHIFT.code: "midline_shift",
}  # fmt: skip
_FINDINGS = {
    concepts.CST_HYPERINTENSITY.code: "cst_hyperintensity", concepts.BRAINSTEM_ATROPHY.code: "brainstem_atrophy",
    concepts.CORD_ATROPHY.code: "cord_atrophy", concepts.CORD_COMPRESSION.code: "cord_compression",
    concepts.CORD_T2_HYPERINTENSITY.code: "cord_t2_hyperintensity", concepts.MOTOR_CORTEX_ATROPHY.code: "motor_cortex_atrophy",
    concepts.MOTOR_BAND_SIGN.code: "motor_band_sign", concepts.CST_DEGENERATION.code: "cst_degeneration",
    concepts.MS_LIKE_PATTERN.code: "ms_like_pattern", concepts.ACUTE_INFARCT.code: "acute_infarct",
    concepts.CHRONIC_INFARCT.code: "chronic_infarct", concepts.MASS_EFFECT.code: "mass_effect",
    concepts.ABNORMAL_ENHANCEMENT.code: "abnormal_enhancement",
}  # fmt: skip
_LEVELS = ("whole", "subcortical", "corona_radiata", "plic", "peduncle", "pons", "medial", "intermediate", "lateral", "periventricular",
           "juxtacortical", "infratentorial", "deep")  # fmt: skip
_OF_WHOLE_TRACT = "cst_diffusion"  # its whole tract was named without a level where the mask had none


def measurement_named(marker: str, quantity: str, site: str) -> str:
    """The name of a measurement by its marker and the codes of what was measured and of what; LookupError for one that is not known."""
    return _BY_SITE.get((quantity, site)) or _BY_QUANTITY[quantity]


def finding_named(concept: str) -> str | None:
    """The name of a finding by its code; None for any other coded item of a group."""
    return _FINDINGS.get(concept)


def level_in(tracking: str, site: str, side: str | None, marker: str) -> str | None:
    """The level of a group by its tracking identifier: `Corticospinal tract, left, PLIC on DWI`, which may be cut after 40 letters."""
    said = re.sub(r" (on [A-Z0-9* ]+|\([a-z0-9 ,]+\))$", "", tracking)
    said = re.sub(r" \([a-z0-9 _]+, [a-z0-9 _]+\)?$", "", said)
    rest = [part for part in said.split(", ")[1:] if part not in (side, "")]
    if not rest or rest[0] in SERIES_NAMES.values():
        return "whole" if marker == _OF_WHOLE_TRACT and side else None
    known = [level for level in _LEVELS if level_words(level).startswith(rest[0])]
    return known[0] if known else rest[0].replace(" ", "_")

"""How good the images are that the other markers measured on.

Gives: for every series that was read, its role as the level: snr (1), the signal of the deep tissue over the noise; motion, for a series of
one image the ghosts beside the head as a share of the signal (1), for diffusion and functional series the mean distance of the head
from its mean place (mm). The finding `image_quality`, per series: limited quality is present or absent, and why.
Needs: any image of head or neck.
Method: signal is the mean 25 mm and more under the surface, in the upper 100 mm; in diffusion series that of b = 0. Noise is what second
differences along all three axes leave there, in the quietest quarter; where a series holds the same picture twice, of the difference of
the two. Interpolation by zero filling is undone first. Motion between steps of the phase encoding throws ghosts along one axis: air beside
the head is compared with air that is not. Volumes are laid onto one another, those of diffusion as the correction of their motion does,
and what eddy currents shift is taken out. Folded tissue makes the first and the last plane of an axis as alike as neighbours. Whether the
brain is cut is said by the place of the T1 on the template where there is one, else by how much of the head touches the faces of the
field.
Trust: a phantom head (seed 11): signal to noise 2 and 4 % too low on T1 and FLAIR, 11 and 14 % too high on SWI and diffusion. Noise added
to eight real series comes back up to 8 % too low; zero filling by 1.5 changes it by up to 5 %. In voxels of 2 mm and more anatomy counts
as noise, unless the series holds a picture twice: the number is then a lower bound (half the truth on phantom diffusion of 2.5 mm). Ghosts
of still phantoms are at most 0.003, of good series of scanners 0.014 and 0.031. Shifts and turns up to ±1, 3 and 5 mm and degrees between
eight parts of the encoding, simulated on phantom and four real heads, give 0.013 to 0.047, 0.025 to 0.093 and 0.033 to 0.118, more with
more motion in each; the limit of 0.04 finds 5 mm in all but one T1, and 3 mm in most. Displacement of functional series: 0.1 mm on a still
phantom, 0.1 to 0.4 mm on good series, and up to 0.5 mm too much on simulated moves of 0.6 to 5 mm; of diffusion series 0.1 mm on a still
phantom (seed 7), 2.2 mm where it moved by 2.3 mm (seed 1). Wrap: of folds of phantom and two real heads by 30 and 50 mm all 15 front to
back, 18 of 19 left to right and 10 of 20 head to foot are found: the top of a head folded onto its own neck is not. Of 72 heads cut on
both sides, on which the limit was chosen, none is taken for one. Cuts and wrap were looked for on eight real series: three cut the brain,
and were told; no wrap was told. The limits were chosen on phantoms and on these real series, so that they raise no alarm on good ones is
no independent proof. Not measured: motion of patients, receive filters, reconstructions that denoise.
Refuses: an empty image; ghosts in air that was blanked (skull-stripped, defaced, masked by the scanner): the motion of that series is not
measured, and nothing is said of it. Motion that only blurs makes no ghosts and is not seen. A series that was cropped after reconstruction
may hold folded tissue that is not recognised.
References: Dietrich 2007, 10.1002/jmri.20969 (noise under parallel imaging, from differences); Mortamet 2009, 10.1002/mrm.21992 (artefacts
seen in the air); Gudbjartsson 1995, 10.1002/mrm.1910340618 (noise of magnitude images).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

from analysis import atlas, concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Concept, Finding, Gap, Measurement, NotMeasurable, Outcome, Verdict
from analysis.reference import placed
from analysis.steps.diffusion import steady_diffusion
from analysis.steps.diffusion_prediction import B_ZERO_S_MM2, SAME_SHELL_S_MM2
from analysis.steps.displacement import displacement_of
from analysis.steps.field_of_view import cut_part, is_wrapped
from analysis.steps.head import head_on_template
from analysis.steps.quality import Overview, ghosting_of, noise_of, overview_of
from analysis.steps.space import lps_grid, share_inside
from analysis.volume import Diffusion, Image, Runs, TimeSeries, Volume
from analysis.words import joined, say

NAME, VERSION = "image_quality", 1
# A functional series is long: it is looked at where another marker has it read, and not read for this alone.
NEEDED = ("t1", "t1_contrast", "flair", "t2", "swi", "t2star", "dwi", "cord_t2", "cord_t2star")
ROLES = (*NEEDED[:7], "bold", *NEEDED[7:])
CORD = ("cord_t2", "cord_t2star")
# Limits, chosen on phantoms and on six good series of four scanners (Trust).
LEAST_SNR = 8.0  # grey and white matter of a T1 are then less than 4 standard deviations apart
MOST_GHOSTING = 0.04
MOST_DISPLACEMENT_MM = 2.0
LEAST_COVERED = {"t1": 0.99, "t1_contrast": 0.99}
LEAST_COVERED_OTHERS = 0.95
SNR_ERROR, FINE_MM, DISPLACEMENT_ERROR_MM = 0.1, 1.5, 0.4
NO_REFERENCE = say("image quality depends on the scanner and the sequence: there is no population to compare with")
SNR_METHOD = say("signal of the deep tissue over the noise in it")
GHOSTING_METHOD = say("ghosts in the air beside the head, as a share of the signal")
DISPLACEMENT_METHOD = say("mean distance of the head from its mean place over the volumes")


@dataclass(frozen=True)
class Quality:
    """What was said of one series: numbers, gaps, and the reasons why its quality is limited; `fine` says what is not."""

    measurements: tuple[Measurement, ...]
    gaps: tuple[Gap, ...]
    limits: tuple[str, ...]
    fine: tuple[str, ...]


def measure(examination: Examination) -> Outcome:
    measurements: list[Measurement] = []
    gaps: list[Gap] = []
    findings: list[Finding] = []
    for role in (role for role in ROLES if role in examination.images):
        try:
            found = quality_of(examination, role)
        except NotMeasurable as refusal:
            gaps += [Gap(name, refusal.reason, level=role) for name in ("snr", "motion")]
            findings.append(_finding(role, "not assessed", refusal.reason))
            continue
        measurements += found.measurements
        gaps += found.gaps
        findings.append(_finding(role, "present" if found.limits else "absent", joined(found.limits or found.fine, "; ")))
    if not measurements:
        raise NotMeasurable(say("no series shows anything that stands out from its background"))
    return Outcome(NAME, VERSION, MEASURED, measurements=tuple(measurements), gaps=tuple(gaps), findings=tuple(findings))


def quality_of(examination: Examination, role: str) -> Quality:
    """One series. NotMeasurable where nothing can be seen in it."""
    image = examination.image(role)
    image = image.longest if isinstance(image, Runs) else image
    first = first_picture(image)
    overview = overview_of(first)
    measurements, gaps = [], []
    said = [*_field(examination, role, first, overview)]
    for name, look in (("motion", _motion), ("snr", _snr)):
        try:
            measurement, *words = look(role, image, first, overview, examination)
            measurements.insert(0, measurement)
            said.insert(0, tuple(words))
        except NotMeasurable as refusal:
            gaps.append(Gap(name, refusal.reason, level=role))
            said.insert(0, (False, say("motion could not be seen") if name == "motion" else say("noise could not be seen")))
    limits, fine = (tuple(words for is_limit, words in said if is_limit == wanted) for wanted in (True, False))
    return Quality(tuple(measurements), tuple(gaps), limits, fine)


def first_picture(image: Image) -> Volume:
    """The image itself; of a diffusion series the first volume with the least weighting, of a time series the middle one."""
    if isinstance(image, Volume):
        return image
    index = int(np.argmin(image.b_values_s_mm2)) if isinstance(image, Diffusion) else image.array.shape[3] // 2
    return Volume(np.ascontiguousarray(image.array[..., index]), image.lps_from_index)


def twins_of(image: Image) -> tuple[np.ndarray, np.ndarray] | None:
    """Two volumes that show the same, or None: neighbours in time, two with b = 0, or two of one b-value with the nearest directions."""
    if isinstance(image, TimeSeries) and image.array.shape[3] > 1:
        middle = image.array.shape[3] // 2
        return image.array[..., middle], image.array[..., middle - 1]
    if not isinstance(image, Diffusion):
        return None
    zero = np.flatnonzero(image.b_values_s_mm2 <= B_ZERO_S_MM2)
    if len(zero) > 1:
        return image.array[..., zero[0]], image.array[..., zero[1]]
    shell = largest_shell(image)
    if len(shell) < 2:
        return None
    alike = np.abs(image.b_vectors_lps[shell] @ image.b_vectors_lps[shell].T) - 2 * np.eye(len(shell))
    one, other = np.unravel_index(int(np.argmax(alike)), alike.shape)
    return image.array[..., shell[one]], image.array[..., shell[other]]


def largest_shell(image: Diffusion) -> np.ndarray:
    """The indices of the weighted volumes of the b-value that most have."""
    b = image.b_values_s_mm2
    shells = [np.flatnonzero(np.abs(b - value) < SAME_SHELL_S_MM2) for value in np.unique(b[b > B_ZERO_S_MM2])]
    return max(shells, key=len, default=np.empty(0, int))


def _snr(role: str, image: Image, first: Volume, overview: Overview, examination: Examination) -> tuple[Measurement, bool, str]:
    twins = twins_of(image)
    noise = noise_of(first, overview) if twins is None else noise_of(first.with_array(twins[0]), overview, twins[1])
    if noise == 0:
        raise NotMeasurable(say("the image shows no noise at all: it was smoothed, or its numbers are too coarse"))
    snr = overview.signal / noise
    is_exact = twins is not None or bool(first.spacing_mm.max() <= FINE_MM)
    made = _measurement(examination, "snr", role, snr, "1", SNR_METHOD, SNR_ERROR * snr if is_exact else None)
    is_low = snr < LEAST_SNR
    return made, is_low, say("low signal to noise {snr:.0f}", snr=snr) if is_low else say("signal to noise {snr:.0f}", snr=snr)


def _motion(
    role: str, image: Image, first: Volume, overview: Overview, examination: Examination
) -> tuple[Measurement, bool, str]:
    if isinstance(image, Volume):
        share = ghosting_of(first, overview)
        strong = share > MOST_GHOSTING
        made = _measurement(examination, "motion", role, share, "1", GHOSTING_METHOD, None)
        ghosts = say("strong motion: ghosts of {share:.0f} % of the signal", share=100 * share)
        return made, strong, ghosts if strong else say("no strong ghosts of motion")
    if isinstance(image, Diffusion):
        moved_mm = _diffusion_displacement_mm(image, overview, examination)
    else:
        moved_mm = displacement_of(image.array, np.arange(image.array.shape[3]), overview)
    made = _measurement(examination, "motion", role, moved_mm, "mm", DISPLACEMENT_METHOD, DISPLACEMENT_ERROR_MM)
    strong = moved_mm > MOST_DISPLACEMENT_MM
    moved = say("the head moved by {moved_mm:.1f} mm between volumes", moved_mm=moved_mm)
    return made, strong, say("strong motion: {moved}", moved=moved) if strong else moved


def _diffusion_displacement_mm(image: Diffusion, overview: Overview, examination: Examination) -> float:
    """As the correction of motion found it; where that is not possible, from the volumes of one b-value."""
    try:
        return float(examination.once(steady_diffusion).displacement_mm.mean())
    except NotMeasurable:
        return displacement_of(image.array, largest_shell(image), overview, image.b_vectors_lps)


def _field(examination: Examination, role: str, first: Volume, overview: Overview) -> Iterator[tuple[bool, str]]:
    """What the field of view does: whether it is a limit, and the words."""
    folded = is_wrapped(first, overview)
    yield folded, say("tissue from beyond the field of view is folded into the image (wrap)") if folded else say("no wrap")
    if role in CORD:
        return
    cut = _cut(examination, role, first, overview)
    yield cut is not None, cut or say("the brain is not cut")


def _cut(examination: Examination, role: str, first: Volume, overview: Overview) -> str | None:
    """What the field of view cuts, or None: by the placement of the T1, which is in the same space, else by the shape of the head."""
    try:
        share = covered_share(examination, first)
    except NotMeasurable:
        return cut_part(overview)
    least = LEAST_COVERED.get(role, LEAST_COVERED_OTHERS)
    return None if share >= least else say("the field of view holds {share:.0f} % of the brain", share=100 * share)


def covered_share(examination: Examination, grid: Volume) -> float:
    """The share of the brain that lies inside a grid in the space of the T1, 0 to 1. NotMeasurable without the T1 of a head."""
    examination.image("t1")
    return share_inside(grid, examination.once(head_on_template), points_of_brain())


@cache
def points_of_brain() -> np.ndarray:
    """One in forty of the positions of the template's brain, LPS mm: shape (3, n)."""
    inside = atlas.template()["inside"]
    return lps_grid(inside)[:, inside.array][:, ::40]


def _measurement(
    examination: Examination, name: str, role: str, value: float, unit: str, method: str, uncertainty: float | None
) -> Measurement:
    quantity = {"snr": concepts.SIGNAL_TO_NOISE, "motion": concepts.GHOSTING if unit == "1" else concepts.DISPLACEMENT}[name]
    place = placed(examination, name, value, uncertainty, level=role, otherwise=NO_REFERENCE)
    return Measurement(name, value, unit, quantity, _site(role), level=role, uncertainty=uncertainty, method=method, **place)


def _finding(role: str, value: Verdict, reason: str) -> Finding:
    return Finding("image_quality", value, concepts.LIMITED_QUALITY, _site(role), level=role, reason=reason)


def _site(role: str) -> Concept:
    return concepts.CERVICAL_SPINE if role in CORD else concepts.HEAD


MARKER = Marker(NAME, VERSION, needs=(NEEDED,), gives=("snr", "motion"), findings=("image_quality",), measure=measure, doc=__doc__)

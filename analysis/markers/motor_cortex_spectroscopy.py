"""Metabolites of the motor cortex: ratios of N-acetylaspartate, creatine, choline, myo-inositol and glutamate.

Gives: naa_cr, naa_cho, naa_mi, cho_cr, mi_cr, glx_cr (1; ratios of amounts), snr (1) and linewidth (Hz) of each spectrum, left and right,
at short_te and long_te; the mask `spectroscopy_voxel` on the T1; the plot spectrum with fit, baseline and residual.
Needs: single-voxel spectra of hydrogen (role mrs), and a T1 of the same frame of reference, from which place and tissues are known.
Method: the box of the voxel is laid on the T1 and on the atlas; the decays are combined, aligned, freed of water and fitted by a basis
computed for field, sequence and echo time (analysis/steps/spectrum_fit.py). Of several spectra of a side and echo time the one with the
smallest error of NAA/Cr speaks. Ratios are not corrected for relaxation or for the tissues of the voxel.
Trust: The ratios of the present fit were measured on simulated spectra (analysis/steps/spectrum_fit.py). With the fit before its last
change, six phantom heads (seeds 101 to 106; a cube of 20 mm, a little askew, that the phantom's own anatomy puts into the area of the
hand; spectra of 3 T, PRESS, TE 30 ms, whose line shapes, macromolecules and baselines are not those of the fit, signal to noise about
35): each voxel was found in the motor cortex of its side, 59 to 74 % of its tissue precentral gyrus. Healthy, 12 spectra: NAA/Cr right
(standard deviation 4 %, at worst 9), NAA/Cho 1 % too low (8), NAA/mI 2 % too high (11), Cho/Cr 2 % too high (9), mI/Cr right (9), Glx/Cr
3 % too low (11); linewidth 12 % too wide. NAA lower by 15 % on the left: NAA/Cr 1.28 there (standard deviation 0.05) and 1.51 (0.07) on
the right (in truth 1.28 and 1.50), lower on the left in 6 of 6. The stated interval of 95 % held the truth in 143 of 144 ratios: it is
rather too wide. Cubes of 15 and 20 mm around the middle of the areas of leg, hand and face, up to 4 mm off and turned by up to 30 degrees
(two heads), hold 37 to 98 % precentral gyrus, such around the middle of the postcentral gyrus 3 to 46 %; most cubes of 30 mm are near the
limit. A real voxel (3 T, Philips) with its T1 lies, by eye, where it was planned, in the posterior cingulate, and is refused. A change of a
ratio is seen from 2.8 times its stated error on; not measured at several visits. Not measured: patients, rescans, movement between the T1
and the spectrum, a real spectrum of motor cortex.
Refuses: a voxel whose place is not known (no T1, another frame of reference, no place in the headers); one of which less than a third of
the tissue is precentral gyrus, or more is another gyrus; one with less than 40 % of grey and white matter; spectroscopic imaging, edited
spectra, other nuclei; what is no spectrum of a brain; ratios with a standard error above 20 %, and those of myo-inositol and
glutamate at long echo times.
References: Kalra 2006, 10.1001/archneur.63.8.1144 (17 patients, 15 healthy people: NAA/mI 22 % lower); Pohl 2001,
10.1001/archneur.58.5.729 (70 patients, 48 healthy people: NAA/Cho and NAA/Cr lower);
Front Neurol 2019, 10.3389/fneur.2019.00482 (review: NAA and mI are not reliable for follow-up).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Curve, Gap, Mask, Measurement, NotMeasurable, Outcome, Plot, Side
from analysis.reference import placed
from analysis.spectrum import Spectra, Spectrum
from analysis.steps.metabolite_concentration import concentrations
from analysis.steps.spectrum_fit import SHORT_ECHO_MS, SpectrumFit, fitted
from analysis.steps.voxel import LEAST_PRECENTRAL, Voxel, voxel_of
from analysis.words import Name, Words, say

NAME, VERSION = "motor_cortex_spectroscopy", 1
SIDES: tuple[Side, ...] = ("left", "right")
RATIOS = {
    "naa_cr": concepts.NAA_CREATINE, "naa_cho": concepts.NAA_CHOLINE, "naa_mi": concepts.NAA_INOSITOL, "cho_cr": concepts.CHOLINE_CREATINE,
    "mi_cr": concepts.INOSITOL_CREATINE, "glx_cr": concepts.GLUTAMATE_CREATINE,
}  # fmt: skip
QUALITY = {"snr": (concepts.SIGNAL_TO_NOISE, "1"), "linewidth": (concepts.LINE_WIDTH, "Hz")}
GIVES = (*RATIOS, *QUALITY)
CURVES = ("data", "fit", "baseline", "residual")
NO_REFERENCE = say(
    "no norm travels between sites: the ratios depend on scanner, sequence and echo time; compare with the site's own controls"
)
NO_QUALITY_REFERENCE = say("it tells how good the spectrum is, and nothing of the patient")
METHOD = say("ratio of fitted amounts, not corrected for relaxation")
NOTE = say(
    "Fewer neurons mean less NAA: lower ratios support involvement of the upper motor neuron, and are seen in other diseases; in groups "
    "NAA/Cr was 10 % and NAA/mI 22 % lower, and single patients overlap with healthy people."
)
NO_T1 = say("without a T1 series of the study it is not known whether the voxel lies in the motor cortex")


@dataclass(frozen=True, eq=False)
class Found:
    """One spectrum of the motor cortex; `fit` is None where it could not be fitted, for that `reason`."""

    spectrum: Spectrum
    voxel: Voxel
    fit: SpectrumFit | None
    reason: str | None = None

    @property
    def level(self) -> str:
        return level_of(self.spectrum, self.fit)

    @property
    def error(self) -> float:
        """Of NAA/Cr, as a share of it; infinite where there is none."""
        ratio = self.fit.ratios.get("naa_cr") if self.fit else None
        return ratio.standard_error / ratio.value if ratio else np.inf


def measure(examination: Examination) -> Outcome:
    spectra = examination.image("mrs")
    assert isinstance(spectra, Spectra)
    if "t1" not in examination.images:
        raise NotMeasurable(NO_T1)
    found, elsewhere = _all(examination, spectra)
    if not any(one.fit for one in found):
        raise NotMeasurable(found[0].reason if found else elsewhere[0])
    best = _best(found)
    fits = [one for one in best if one.fit]
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=tuple(measurement for one in fits for measurement in _measurements(examination, one)),
        gaps=tuple(gap for one in best for gap in _gaps(one)),
        masks=_masks(fits),
        plots=tuple(_plot(one) for one in fits),
        notes=(*(_said(one) for one in fits), *(_against_water(one) for one in fits), *_unused(found, best), *elsewhere,
               *dict.fromkeys(note for one in fits for note in one.fit.notes), NOTE),
    )  # fmt: skip


def level_of(spectrum: Spectrum, fit: SpectrumFit | None) -> str:
    """By the echo time, as the fit has it."""
    return "short_te" if (fit.short_echo if fit else spectrum.echo_time_ms <= SHORT_ECHO_MS) else "long_te"


def _all(examination: Examination, spectra: Spectra) -> tuple[list[Found], list[Words]]:
    """The spectra of the motor cortex, and why the others are none."""
    found, elsewhere = [], []
    for spectrum in spectra.voxels:
        try:
            voxel = voxel_of(examination, spectrum)
        except NotMeasurable as refusal:
            elsewhere.append(_of_series(spectrum, refusal.reason))
            continue
        if not voxel.is_motor_cortex:
            elsewhere.append(_of_series(spectrum, _elsewhere(voxel)))
            continue
        try:
            found.append(Found(spectrum, voxel, fitted(spectrum)))
        except NotMeasurable as refusal:
            found.append(Found(spectrum, voxel, None, refusal.reason))
    return found, elsewhere


def _of_series(spectrum: Spectrum, reason: str) -> Words:
    return say("spectrum {series}: {reason}", series=Name(spectrum.series), reason=reason) if spectrum.series else reason


def _elsewhere(voxel: Voxel) -> Words:
    return say(
        "the voxel does not lie in the motor cortex: its middle is in the {lobe}, {share:.0f} % of its tissue in the precentral gyrus, at "
        "least {least:.0f} % and more than of any other gyrus are needed",
        lobe=voxel.lobe, share=100 * voxel.precentral, least=100 * LEAST_PRECENTRAL,
    )


def _best(found: list[Found]) -> list[Found]:
    """One spectrum for each side and echo time, in that order."""
    best: dict[tuple[str, str], Found] = {}
    for one in sorted(found, key=lambda one: (one.fit is None, one.error)):
        best.setdefault((one.voxel.side, one.level), one)
    return [best[side, level] for side in SIDES for level in ("short_te", "long_te") if (side, level) in best]


def _measurements(examination: Examination, one: Found) -> list[Measurement]:
    side, level, site = one.voxel.side, one.level, concepts.MOTOR_VOXEL
    made = [
        Measurement(name, ratio.value, "1", RATIOS[name], site, side, level, ratio.standard_error, method=METHOD,
                    **placed(examination, name, ratio.value, ratio.standard_error, side, level, otherwise=NO_REFERENCE))
        for name in RATIOS if (ratio := one.fit.ratios.get(name))
    ]  # fmt: skip
    values = {"snr": one.fit.snr, "linewidth": one.fit.linewidth_hz}
    return made + [
        Measurement(name, values[name], unit, quantity, site, side, level,
                    **placed(examination, name, values[name], None, side, level, otherwise=NO_QUALITY_REFERENCE))
        for name, (quantity, unit) in QUALITY.items()
    ]  # fmt: skip


def _gaps(one: Found) -> list[Gap]:
    if one.fit is None:
        return [Gap(name, one.reason, one.voxel.side, one.level) for name in GIVES]
    return [Gap(gap.name, gap.reason, one.voxel.side, one.level) for gap in one.fit.gaps]


def _masks(fits: list[Found]) -> tuple[Mask, ...]:
    """The voxels, one for a side where both echo times have the same."""
    masks: list[Mask] = []
    for one in fits:
        if not any(mask.side == one.voxel.side and np.array_equal(mask.array, one.voxel.mask) for mask in masks):
            masks.append(Mask("spectroscopy_voxel", "t1", one.voxel.mask, concepts.MOTOR_VOXEL, one.voxel.side, one.level))
    return tuple(masks)


def _plot(one: Found) -> Plot:
    curves = tuple(Curve(name, np.asarray(getattr(one.fit, name), float)) for name in CURVES)
    return Plot("spectrum", np.asarray(one.fit.ppm, float), "[ppm]", "[arb'U]", curves, one.voxel.side, one.level)


def _said(one: Found) -> Words:
    voxel = one.voxel
    return say(
        "The voxel of {volume:.1f} ml on the {side} side: {share:.0f} % of its tissue is precentral gyrus ({hand:.0f} % the part of the "
        "hand); it holds {grey:.0f} % grey matter, {white:.0f} % white matter and {csf:.0f} % CSF. {sequence}, TE {echo:.0f} ms.",
        volume=one.spectrum.voxel_ml, side=voxel.side, share=100 * voxel.precentral, hand=100 * voxel.hand, grey=100 * voxel.grey,
        white=100 * voxel.white, csf=100 * voxel.csf, sequence=Name(one.spectrum.sequence or one.spectrum.sequence_words or "–"),
        echo=one.spectrum.echo_time_ms,
    )  # fmt: skip


def _against_water(one: Found) -> Words:
    voxel = one.voxel
    try:
        found = concentrations(one.spectrum, one.fit, voxel.grey, voxel.white, voxel.csf)
    except NotMeasurable as refusal:
        return say("No concentrations on the {side} side, TE {echo:.0f} ms: {reason}.",
                   side=voxel.side, echo=one.spectrum.echo_time_ms, reason=refusal.reason)  # fmt: skip
    return say(
        "Compared with the unsuppressed water of the voxel on the {side} side, TE {echo:.0f} ms: NAA {naa:.1f} ± {naa_error:.1f}, creatine "
        "{cr:.1f} ± {cr_error:.1f}, choline {cho:.1f} ± {cho_error:.1f} mmol per kg of tissue water. Water content and relaxation times "
        "are published means, the errors those of the fit alone; right only where the scanner stored water and spectrum on one scale.",
        side=voxel.side, echo=one.spectrum.echo_time_ms, naa=found["tNAA"].value, naa_error=found["tNAA"].standard_error,
        cr=found["tCr"].value, cr_error=found["tCr"].standard_error, cho=found["tCho"].value, cho_error=found["tCho"].standard_error,
    )  # fmt: skip


def _unused(found: list[Found], best: list[Found]) -> list[Words]:
    return [_of_series(one.spectrum, say("not used: another one of that side and echo time has the smaller error"))
            for one in found if one not in best]  # fmt: skip


MARKER = Marker(NAME, VERSION, needs=(("mrs",),), gives=GIVES, findings=(), measure=measure, doc=__doc__)

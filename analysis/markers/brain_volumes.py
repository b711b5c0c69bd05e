"""Volumes of the brain and of its tissues.

Gives: intracranial_volume, brain_volume, grey_matter_volume, white_matter_volume, csf_volume (ml); the mask `brain`.
Needs: a T1 of the whole head (role t1).
Method: the template's brain is carried to the patient by registration; inside it each voxel is split into CSF, grey and white matter by
its brightness.
Trust: nine phantom heads that nothing was tuned on (seeds 11 to 14): brain, grey and white matter within 1.1 % of the truth;
intracranial volume 3.4 % (worst 3.8 %) and CSF 15 % (worst 16.5 %) too low, because the mask leaves out the 2 mm of fluid under the
phantom's skull. One real head (T1, 0.7 mm) on other grids: spread 0.3 to 0.7 % over tilts to 10 degrees at 1 mm; at 1.3 mm brain 2 % more,
CSF 14 % less; in slices of 4.2 mm brain 4 % more, CSF 20 % less (a phantom in slices of 4 mm: 1 % more, 9 % less). A phantom that moved by
1 and 2 degrees and mm between eight parts of the scan: brain 5 and 7 % more, CSF 26 and 44 % less, stated as such an error where ghosts
show it; by 4, it is refused. A phantom that was skull-stripped: grey and white matter as before within 2 %. A change of the brain is seen
from 1.0 % on, by both images at once (`analysis.steps.volume_change` has how far a planted one is followed); of the other volumes, as
differences of two values by their stated errors, from 5 % (grey matter) to 42 % (CSF) on, which was not measured at several visits. Not
measured: rescans, patients, other methods on the same heads. `benchmarks/trust.py` repeats the nine heads.
Refuses: what is not the T1 of a head; a series that cuts the brain; tissues that cannot be told apart. Intracranial volume and CSF of a
skull-stripped T1 are gaps.
References: Avants 2011, 10.1016/j.neuroimage.2010.09.025 (registration); Tustison 2010, 10.1109/TMI.2010.2046908 (N4).
"""

from __future__ import annotations

from analysis import concepts
from analysis.examination import Examination
from analysis.marker import Marker
from analysis.outcome import MEASURED, Gap, Mask, Measurement, NotMeasurable, Outcome
from analysis.reference import placed
from analysis.steps.head import brain_mask, covered_brain, skull_stripped
from analysis.steps.quality import ghosting_of, overview_of
from analysis.steps.tissue import tissue_fractions
from analysis.volume import Volume
from analysis.words import say

NAME, VERSION = "brain_volumes", 2
LEAST_COVERED = 0.99
NO_REFERENCE = say("no published population was measured with this method; compare with the site's own controls")
# One standard error as a share of the value: what phantom, tilts and voxel size showed together (Trust).
ERROR = {"intracranial_volume": 0.04, "brain_volume": 0.02, "grey_matter_volume": 0.02, "white_matter_volume": 0.03, "csf_volume": 0.15}
# What a millimetre more of the longest edge of a voxel adds to it (Trust).
ERROR_PER_MM = {
    "intracranial_volume": 0.005, "brain_volume": 0.015, "grey_matter_volume": 0.015, "white_matter_volume": 0.02, "csf_volume": 0.06
}  # fmt: skip
FINE_MM, COARSE_MM = 1.0, 2.0
# What motion adds where its ghosts are more than a share of the signal (Trust); good series show up to 0.031.
MOST_GHOSTING = 0.033
ERROR_OF_MOTION = {
    "intracranial_volume": 0.02, "brain_volume": 0.07, "grey_matter_volume": 0.08, "white_matter_volume": 0.12, "csf_volume": 0.4
}  # fmt: skip
OF_FLUID = ("intracranial_volume", "csf_volume")
STRIPPED = say("not measurable: the T1 series comes already skull-stripped, so the fluid under the skull is not in it")
SITES = {
    "intracranial_volume": concepts.INTRACRANIAL,
    "brain_volume": concepts.BRAIN,
    "grey_matter_volume": concepts.GREY_MATTER,
    "white_matter_volume": concepts.WHITE_MATTER,
    "csf_volume": concepts.CEREBROSPINAL_FLUID,
}


def measure(examination: Examination) -> Outcome:
    t1 = examination.image("t1")
    covered = examination.once(covered_brain)
    if covered < LEAST_COVERED:
        raise NotMeasurable(say("the T1 series cuts the brain: it holds {share:.0f} % of it", share=100 * covered))
    mask, tissue = examination.once(brain_mask), examination.once(tissue_fractions)
    ml = {
        name: float(part.sum(dtype=float)) * t1.voxel_ml
        for name, part in (("csf", tissue.csf), ("grey", tissue.grey), ("white", tissue.white))
    }
    values = {
        "intracranial_volume": float(mask.sum()) * t1.voxel_ml,
        "brain_volume": ml["grey"] + ml["white"],
        "grey_matter_volume": ml["grey"],
        "white_matter_volume": ml["white"],
        "csf_volume": ml["csf"],
    }
    without_fluid, has_moved = examination.once(skull_stripped), moved(t1)
    coarse_mm = max(float(t1.spacing_mm.max()) - FINE_MM, 0.0)
    error = {name: ERROR[name] + ERROR_PER_MM[name] * coarse_mm + has_moved * ERROR_OF_MOTION[name] for name in SITES}
    return Outcome(
        NAME,
        VERSION,
        MEASURED,
        measurements=tuple(
            _volume(examination, name, value, error[name]) for name, value in values.items() if not (without_fluid and name in OF_FLUID)
        ),
        gaps=tuple(Gap(name, STRIPPED) for name in OF_FLUID if without_fluid),
        masks=(Mask("brain", "t1", mask, concepts.BRAIN),),
        notes=notes(float(t1.spacing_mm.max()), without_fluid, has_moved),
    )


def _volume(examination: Examination, name: str, value_ml: float, error: float) -> Measurement:
    place = placed(examination, name, value_ml, error * value_ml, otherwise=NO_REFERENCE)
    return Measurement(name, value_ml, "ml", concepts.VOLUME, SITES[name], uncertainty=error * value_ml, **place)


def moved(t1: Volume) -> bool:
    """Whether ghosts in the air tell that the head moved; False where the air does not show it."""
    try:
        return ghosting_of(t1, overview_of(t1)) > MOST_GHOSTING
    except NotMeasurable:
        return False


def notes(voxel_mm: float, without_fluid: bool, has_moved: bool) -> tuple[str, ...]:
    """What a reader must know of the image. `voxel_mm`: the longest edge of a voxel."""
    motion = say(
        "The head moved during the T1 series: there is too little CSF and too much of the rest, and the errors are stated larger for it."
    )
    coarse = say(
        "The voxels are up to {voxel_mm:.1f} mm long: sulci are blurred, and the errors are stated larger for it.",
        voxel_mm=voxel_mm,
    )
    stripped = say("The T1 series comes without skull and scalp. Brain, grey and white matter are measured; what was cut away cannot be.")
    said = ((coarse, voxel_mm >= COARSE_MM), (stripped, without_fluid), (motion, has_moved))
    return tuple(sentence for sentence, is_so in said if is_so)


MARKER = Marker(NAME, VERSION, needs=(("t1",),), gives=tuple(SITES), findings=(), measure=measure, doc=__doc__)

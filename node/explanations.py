"""What a reader of the pages must know of each marker: what it is, how it was measured, and how far it can be trusted.

The long form, with every figure, stands in the docstring of the marker (`betz markers`); these are its figures in two or three sentences.
A marker that is not listed is explained by its own docstring, in English.
"""

from __future__ import annotations

from dataclasses import dataclass

from analysis.marker import markers
from analysis.words import say


@dataclass(frozen=True)
class Explanation:
    """`what` was looked at and why, `how` it was measured, how sure that is (`trust`)."""

    what: str
    how: str
    trust: str


EXPLANATIONS = {
    "brain_volumes": Explanation(
        say("Volumes of the brain, of its tissues and of the fluid around it. They say nothing of ALS by themselves: they are the "
            "frame."),
        say("The brain of a standard head is laid onto the patient's; inside it each voxel is divided into fluid, grey and white matter "
            "by its brightness on T1."),
        say("On nine computed heads with known volumes: brain, grey and white matter within 1.1 %, intracranial volume 3.4 % and CSF 15 % "
            "too low. Not measured: repeated scans of patients."),
    ),
    "precentral_gyrus": Explanation(
        say("Thickness and volume of the motor cortex, with the postcentral gyrus as its control. Thin motor cortex supports involvement "
            "of the upper motor neuron."),
        say("The gyri of an atlas are laid onto the patient; the thickness is projected from the white surface on T1 and averaged over "
            "each gyrus."),
        say("On twenty healthy computed heads the thickness was 0.18 mm too high (standard deviation 0.03), the ratio right within 0.02. "
            "A loss of less than a fifth is hardly found. Not measured: patients, repeated scans."),
    ),
    "brainstem": Explanation(
        say("Volumes of midbrain, pons and medulla, through which the corticospinal tract runs."),
        say("The three parts of an atlas are laid onto the patient; their surface follows the brightness of the T1."),
        say("On twenty computed heads: midbrain 15 % and pons 5 % too low, medulla right within 6 %. Not measured: patients, repeated "
            "scans."),
    ),
    "cervical_cord": Explanation(
        say("Area and diameters of the cervical cord at each vertebra. The cord becomes thinner in ALS, by a few percent on average, "
            "and in other diseases."),
        say("The edge of the cord lies half-way between its brightness and that of the fluid around it, on planes perpendicular to the "
            "cord; discs are counted from C2/C3."),
        say("On computed cords in voxels up to 1.2 mm the area was right within 2 %, within 5 % where little fluid lies around; on "
            "twenty computed necks within 6 %, in sagittal slices of 3.3 mm within 12 %. Not measured: patients, repeated scans."),
    ),
    "cord_compression": Explanation(
        say("Where the cervical cord is flattened, by a disc for instance, and bright signal inside it. Compression can look like ALS; it "
            "is also common without symptoms and can stand beside ALS, so it never excludes it."),
        say("The depth of the cord is compared with its depth 10 to 30 mm above and below; fluid in front of the cord is looked for at "
            "each disc; the cord is searched for places that are brighter than the same place above and below."),
        say("On computed necks a loss of 7 to 51 % of the depth was measured within 8 percentage points, large ones a tenth too low, and "
            "more so where a bright spot lay at the same height; no healthy one of twenty was called compressed. Not measured: patients."),
    ),
    "cst_flair": Explanation(
        say("Brightness of the corticospinal tract against normal white matter. A bright tract under the motor cortex supports involvement "
            "of the upper motor neuron; brightness in the internal capsule and below is common in healthy people."),
        say("The tract of an atlas is laid onto the patient; each level is compared with frontal and occipital white matter, in spreads of "
            "normal white matter."),
        say("On computed heads right within 0.3 spreads; a tract that was 17 % brighter was found, one of 9 % was missed. Not measured: "
            "patients, repeated scans."),
    ),
    "motor_cortex_spectroscopy": Explanation(
        say("Metabolites of the motor cortex. NAA falls when neurons are lost: lower ratios support involvement of the upper motor neuron, "
            "in groups of patients more than in a single one."),
        say("The voxel is laid on the T1 and on an atlas; its spectrum is fitted by spectra of pure metabolites, computed for the field, "
            "the sequence and the echo time."),
        say("On six computed heads with known metabolites NAA/Cr was right within 9 % (standard deviation 4 %); a loss of 15 % on one side "
            "was seen in each. No norm travels between sites. Not measured: patients, repeated scans."),
    ),
    "motor_band": Explanation(
        say("Dark cortex in front of the central sulcus, by part: leg, hand, face. It supports involvement of the upper motor neuron, but "
            "motor cortex also darkens with age."),
        say("The cortex facing the central sulcus is compared with that of neighbouring gyri; veins do not count. Scores are 0 (none), 1 "
            "(mild or a part) and 2 (marked)."),
        say("On two computed heads that nothing was tuned on every score was right. No real susceptibility-weighted series of a whole head "
            "was measured: how dark healthy motor cortex is on scanners is not known."),
    ),
    "cst_diffusion": Explanation(
        say("Diffusion along the corticospinal tract. Low anisotropy with high radial diffusivity supports loss of its fibres."),
        say("A tensor is fitted to the diffusion series, with motion taken out; the values are means over the tract of an atlas that is "
            "laid onto the patient, the profile follows the patient's own streamlines."),
        say("On computed heads the anisotropy of every level was within 0.023 of the truth, and losses of 5 to 20 % were found within 1.3 "
            "percentage points. Values depend on scanner and protocol: compare with controls of the same. Not measured: patients."),
    ),
    "callosum_diffusion": Explanation(
        say("Diffusion where the callosum joins the motor cortices, with the splenium, which ALS spares, as control."),
        say("Two parts of an atlas are laid onto the patient; the mean is weighted towards their middle and by left-right anisotropy."),
        say("On two computed heads the anisotropy of the motor segment was 0.06 too low, as it is two voxels thin, and that of the "
            "splenium right within 0.005. Not measured: patients, repeated scans."),
    ),
    "white_matter_lesions": Explanation(
        say("Bright spots of the white matter on FLAIR, by region. Many of them under the cortex, at the ventricles and in brainstem or "
            "cerebellum speak for another disease than ALS, such as multiple sclerosis; with age and high blood pressure spots are "
            "common."),
        say("A rule that was learned on computed heads alone weighs how bright a voxel is, how it stands out and where it lies, and so "
            "finds a lesion; it reaches as far as its brightness. From 3 mm on it counts. A band along the corticospinal tract does not."),
        say("On computed heads bright lesions were found, some small ones missed, with the figures given above, and volumes were 3 to 9 % "
            "too small; of faint ones half were missed. Lesions of patients were not measured: a screen that finds nothing excludes "
            "nothing."),
    ),
    "infarct": Explanation(
        say("Infarcts, which can look like disease of the motor neuron: acute ones on diffusion, old ones on FLAIR. Absent says that a "
            "screen found none; it clears nobody."),
        say("Acute: bright with diffusion weighting with a low diffusion coefficient, both against the patient's own brain and the other "
            "side. Old: as dark as fluid on FLAIR inside the brain, with a bright rim."),
        say("On computed heads acute infarcts of 0.5 to 6 ml were found with their volume right within a fifth, and T2 shine-through "
            "was told apart; old ones of 0.9 and 3 ml were found, one of 0.4 ml missed. Thirteen healthy heads gave no acute one, and "
            "twenty-four no old one; nor did two real diffusion series and a FLAIR. Patients with infarcts were not measured."),
    ),
    "mass": Explanation(
        say("Signs of a tumour or another mass: a midline that is pushed away from a dark region, and brain that takes up contrast. It is "
            "a flag for a person to look, and clears nobody."),
        say("The brain of a standard head is laid onto the patient's and tells where the midline lies; dark regions on T1 are compared "
            "with the other side; contrast is the quotient of two T1, without vessels, plexus and pituitary."),
        say("On computed heads the shift of the midline was right within 0.4 mm. Masses of 8, 23 and 27 ml were found by push and by "
            "contrast; one that pushes the midline by less than 3.5 mm, as most small ones do, is not flagged by its push. "
            "Healthy heads gave no false alarm. Patients with a mass were not measured."),
    ),
    "motor_activation": Explanation(
        say("The motor cortex while a hand moves, and the correlation of both hand areas at rest. It is described and not judged: "
            "published results in ALS contradict each other, there is no norm, and weakness and effort change activation by themselves."),
        say("Motion is taken out; the series is laid over the T1. In a task each voxel is compared with the blocks of the task, and what "
            "exceeds the 5 % limit of the whole brain counts. At rest motion, white matter, fluid and slow and fast waves are taken out."),
        say("On two computed heads 57 to 100 % of an activation of 2 to 3 % was found, and 14 to 53 % of one of 1 %: the volume "
            "follows the quality of the series as well. Of runs without activation one in seventeen showed some. Planted "
            "correlations were found within their errors. Not measured: real tasks, real rest, patients."),
    ),
    "image_quality": Explanation(
        say("How good the images are that were measured on. It says nothing of the patient."),
        say("Noise is what remains of the finest differences deep in the head; motion is seen as ghosts in the air or as displacement "
            "between volumes; folded and cut tissue is looked for."),
        say("Noise that was added to eight real series came back up to 8 % too low. Motion that only blurs is not seen."),
    ),
}  # fmt: skip


def explanation_of(marker: str) -> Explanation:
    """The explanation of a marker; its own paragraphs where it has none here."""
    if marker in EXPLANATIONS:
        return EXPLANATIONS[marker]
    doc = next((one for one in markers() if one.name == marker), None)
    return Explanation(*(doc.section(title) if doc else "" for title in ("Gives", "Method", "Trust")))


def sources_of(marker: str) -> str:
    """The literature of a marker, as its docstring has it; empty where it names none."""
    return next((one.section("References") for one in markers() if one.name == marker), "")

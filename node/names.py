"""What a reader calls the markers, measurements, findings and roles of the interface.

The names themselves (`cst_fa`) stay as they are in report.json and in codes. A name that is not listed is read word by word.
"""

from __future__ import annotations

from analysis.words import say

_READ_AS = {
    "brain_volumes": say("brain volumes"), "intracranial_volume": say("intracranial volume"), "brain_volume": say("brain volume"),
    "grey_matter_volume": say("grey matter volume"), "white_matter_volume": say("white matter volume"), "csf_volume": say("CSF volume"),
    "brainstem": say("brainstem"), "midbrain_volume": say("midbrain volume"), "pons_volume": say("pons volume"),
    "cervical_cord": say("cervical cord"), "cord_area": say("cord area"), "cord_ap_diameter": say("cord AP diameter"),
    "cord_rl_diameter": say("cord RL diameter"), "cord_atrophy": say("cord atrophy"),
    "cord_compression": say("cord compression"), "cord_compression_ratio": say("cord compression ratio"),
    "cord_t2_hyperintensity": say("cord T2 hyperintensity"),
    "medulla_volume": say("medulla volume"), "brainstem_atrophy": say("brainstem atrophy"),
    "callosum_diffusion": say("callosum diffusion"), "callosal_motor_fa": say("callosal motor FA"),
    "callosal_motor_md": say("callosal motor MD"), "control_fa": say("control FA"),
    "cst_diffusion": say("CST diffusion"), "cst_fa": say("CST FA"), "cst_md": say("CST MD"), "cst_rd": say("CST RD"),
    "cst_ad": say("CST AD"), "cst_fa_asymmetry": say("CST FA asymmetry"), "cst_volume": say("CST volume"),
    "cst_degeneration": say("CST degeneration"),
    "cst_flair": say("CST FLAIR"), "cst_flair_contrast": say("CST FLAIR contrast"), "cst_hyperintensity": say("CST hyperintensity"),
    "image_quality": say("image quality"), "snr": say("SNR"), "motion": say("motion"),
    "motor_band": say("motor band"), "motor_band_contrast": say("motor band contrast"), "motor_band_score": say("motor band score"),
    "motor_band_sign": say("motor band sign"),
    "precentral_gyrus": say("precentral gyrus"), "precentral_volume": say("precentral volume"),
    "precentral_thickness": say("precentral thickness"), "postcentral_thickness": say("postcentral thickness"),
    "precentral_postcentral_ratio": say("precentral postcentral ratio"), "motor_cortex_atrophy": say("motor cortex atrophy"),
    "white_matter_lesions": say("white matter lesions"), "lesion_count": say("lesion count"), "lesion_volume": say("lesion volume"),
    "ms_like_pattern": say("MS-like pattern"),
    "motor_cortex_spectroscopy": say("metabolites of the motor cortex"), "naa_cr": say("NAA/Cr"), "naa_cho": say("NAA/Cho"),
    "naa_mi": say("NAA/mI"), "cho_cr": say("Cho/Cr"), "mi_cr": say("myo-inositol/Cr"), "glx_cr": say("Glx/Cr"),
    "linewidth": say("linewidth"),
    "short_te": say("short echo time"), "long_te": say("long echo time"),
    "infarct": say("infarct"), "acute_infarct_volume": say("acute infarct volume"), "acute_infarct": say("acute infarct"),
    "chronic_infarct": say("old infarct"), "mass": say("mass"), "midline_shift": say("midline shift"), "mass_effect": say("mass effect"),
    "abnormal_enhancement": say("abnormal enhancement"),
    "motor_activation": say("function of the motor cortex"), "activation_volume": say("activation volume"),
    "laterality_index": say("laterality index"), "m1_m1_connectivity": say("M1–M1 connectivity"),
    "framewise_displacement": say("framewise displacement"),
    "t1": say("T1"), "t1_contrast": say("T1 contrast"), "flair": say("FLAIR"), "t2": say("T2"), "swi": say("SWI"), "t2star": say("T2*"),
    "dwi": say("DWI"), "bold": say("BOLD"), "mrs": say("MRS"), "cord_t2": say("cord T2"), "cord_t2star": say("cord T2*"),
    "other": say("other"),
}  # fmt: skip
# What sentences insert as it is: levels of a structure, parts and faces of the head, components and planes of an image.
INSERTED = (
    say("whole"), say("subcortical"), say("corona radiata"), say("plic"), say("peduncle"), say("pons"), say("midbrain"), say("medulla"),
    say("medial"), say("intermediate"), say("lateral"), say("frontal"), say("occipital"), say("top"), say("front"), say("back"),
    say("slice"), say("row"), say("column"), say("phase"), say("real"), say("imaginary"), say("sagittal"), say("coronal"), say("axial"),
    say("single voxel"), say("internal capsule"), say("susceptibility-weighted"), say("T2*-weighted"), say("callosal motor segment"),
    say("task"), say("task left hand"), say("task right hand"), say("task both hands"), say("rest"), say("run"), say("hand area"),
    say("rest 2"), say("rest 3"), say("task 2"), say("task 3"), say("task left hand 2"), say("task right hand 2"), say("activation"),
)  # fmt: skip


def words(name: str) -> str:
    """A name of the interface as a reader sees it: `cst_diffusion` is `CST diffusion`."""
    return _READ_AS.get(name) or name.replace("_", " ")

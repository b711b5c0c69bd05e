"""The coded concepts that markers name, as plain tuples (coding scheme, code, meaning).

Standard codes are those of DICOM PS3.16 (SCT, DCM, NEU, LN). What no scheme has a code for stands under 99ALSMRI, a scheme that every
object declares.
"""

from analysis.outcome import Concept

# quantities
VOLUME = Concept("SCT", "118565006", "Volume")
THICKNESS = Concept("LN", "59089-3", "Thickness")
THICKNESS_RATIO = Concept("99ALSMRI", "THICKNESS-RATIO", "Ratio of cortical thickness, precentral over postcentral")
FRACTIONAL_ANISOTROPY = Concept("DCM", "110808", "Fractional Anisotropy")
MEAN_DIFFUSIVITY = Concept("DCM", "113202", "Mean Diffusivity")
RADIAL_DIFFUSIVITY = Concept("DCM", "113203", "Radial Diffusivity")
AXIAL_DIFFUSIVITY = Concept("DCM", "113204", "Axial Diffusivity")
SIGNAL_TO_NOISE = Concept("DCM", "113060", "Signal to noise")
GHOSTING = Concept("RADLEX", "RID11423", "Motion related artifact")
DISPLACEMENT = Concept("99ALSMRI", "MEAN-DISPL", "Mean displacement of the head between volumes")
FLAIR_CONTRAST = Concept("99ALSMRI", "FLAIR-CONTRAST", "Signal above normal white matter, in spreads of white matter")
BAND_CONTRAST = Concept("99ALSMRI", "BAND-CONTRAST", "Signal loss of motor cortex against neighboring cortex")
BAND_SCORE = Concept("99ALSMRI", "BAND-SCORE", "Motor cortex low intensity score (0-2)")
CORD_AREA = Concept("99ALSMRI", "CORD-CSA", "Cross-sectional area of spinal cord perpendicular to centerline")
CORD_COMPRESSION_RATIO = Concept("99ALSMRI", "CORD-MSCC", "Depth of spinal cord lost against above and below")
DEPTH = Concept("SCT", "131197000", "Depth")
WIDTH = Concept("SCT", "103355008", "Width")
LESION_COUNT = Concept("99ALSMRI", "LESION-COUNT", "Number of lesions")
ACUTE_INFARCT_VOLUME = Concept("99ALSMRI", "ACUTE-INF-VOL", "Volume of acute infarction")
MIDLINE_SHIFT = Concept("99ALSMRI", "MIDLINE-SHIFT", "Shift of the midline")
ASYMMETRY_INDEX = Concept("99ALSMRI", "ASYM-INDEX", "Asymmetry index (R-L)/((R+L)/2)")

# structures
INTRACRANIAL = Concept("SCT", "128319008", "Intracranial structure")
HEAD = Concept("SCT", "69536005", "Head")
CERVICAL_SPINE = Concept("SCT", "122494005", "Cervical spine")
CERVICAL_CORD = Concept("SCT", "54785003", "Cervical spinal cord")
BRAIN = Concept("SCT", "12738006", "Brain")
GREY_MATTER = Concept("SCT", "389081007", "Gray Matter")
WHITE_MATTER = Concept("SCT", "389080008", "White Matter")
WHITE_MATTER_LESION = Concept("DCM", "110702", "White Matter T2 Hyperintensity")
CEREBROSPINAL_FLUID = Concept("SCT", "65216001", "Cerebrospinal Fluid")
CALLOSAL_MOTOR = Concept("99ALSMRI", "CC-MOTOR", "Motor segment of corpus callosum")
SPLENIUM = Concept("SCT", "23347006", "splenium of corpus callosum")
CORTICOSPINAL_TRACT = Concept("NEU", "1320", "corticospinal tract")
POSTCENTRAL_GYRUS = Concept("NEU", "105", "postcentral gyrus")
PRECENTRAL_GYRUS = Concept("NEU", "89", "precentral gyrus")
BRAIN_STEM = Concept("SCT", "119238007", "Brain Stem")
MIDBRAIN = Concept("SCT", "61962009", "Midbrain")
PONS = Concept("SCT", "49557009", "Pons")
MEDULLA = Concept("NEU", "698", "medulla oblongata")
LATERAL_VENTRICLE = Concept("SCT", "66720007", "Lateral Ventricle")
LESION = Concept("SCT", "52988006", "Lesion")
CEREBRAL_INFARCTION = Concept("SCT", "432504007", "Cerebral infarction")

# findings
LIMITED_QUALITY = Concept("RADLEX", "RID13", "Limited quality")
CST_HYPERINTENSITY = Concept("99ALSMRI", "FLAIR-CST-HYPER", "FLAIR hyperintensity of corticospinal tract")
BRAINSTEM_ATROPHY = Concept("99ALSMRI", "BSTEM-ATROPHY", "Atrophy of the brainstem")
CORD_ATROPHY = Concept("99ALSMRI", "CORD-ATROPHY", "Atrophy of the cervical spinal cord")
CORD_COMPRESSION = Concept("SCT", "71286001", "Spinal cord compression")
CORD_T2_HYPERINTENSITY = Concept("99ALSMRI", "CORD-T2-HYPER", "Intramedullary T2 hyperintensity of spinal cord")
MOTOR_CORTEX_ATROPHY = Concept("99ALSMRI", "M1-ATROPHY", "Atrophy of the motor cortex")
MOTOR_BAND_SIGN = Concept("99ALSMRI", "MOTOR-BAND-SIGN", "Motor band sign")
CST_DEGENERATION = Concept("99ALSMRI", "CST-DEGENERATION", "Degeneration of the corticospinal tract")
MS_LIKE_PATTERN = Concept("99ALSMRI", "MS-LIKE-PATTERN", "Lesions like those of multiple sclerosis")
ACUTE_INFARCT = Concept("99ALSMRI", "ACUTE-INFARCT", "Acute infarct")
CHRONIC_INFARCT = Concept("99ALSMRI", "CHRONIC-INFARCT", "Old infarct")
MASS_EFFECT = Concept("99ALSMRI", "MASS-EFFECT", "Mass effect")
ABNORMAL_ENHANCEMENT = Concept("99ALSMRI", "ABN-ENHANCE", "Abnormal enhancement")

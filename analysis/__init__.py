"""The engine: volumes in, report out.

Pure computation. Nothing here knows DICOM, the network, the disk (but for the packaged atlas), the clock, logging or the screen.

The same images give the same numbers, bit for bit on one machine. ITK (in ANTs and SimpleITK) adds up in the order in which its threads
end, and the registrations follow the last digit: with two threads, runs on one head differed by 0.004 mm in the thickness of the
cortex and by 0.4 % in the CSF. So each filter has one thread, and what is independent runs side by side instead.
"""

import os

os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = "1"

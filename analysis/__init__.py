"""The engine: volumes in, report out.

Pure computation. Nothing here knows DICOM, the network, the disk (but for the packaged atlas), the clock, logging or the screen.
"""

"""Everything that knows DICOM, the network, the disk, the clock or the screen: one module per stage of the river."""

__version__ = "0.1.0"

"""Intermediate results that several markers share. A step is a function of an `Examination` and runs once per study."""

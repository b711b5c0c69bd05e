"""One file is one marker: found by being there, tested by being there. See `analysis.marker`."""

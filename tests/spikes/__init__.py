"""Spikes: more sampling for a while, in one process or in all that share a control file."""

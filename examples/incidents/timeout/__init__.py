"""Incident "timeout": every checkout waits, and fails. The fault is on a path that hardly anybody takes."""

"""Incident "n-plus-one": since the release 1.1 of the profile service, everything is slow. Nothing fails."""

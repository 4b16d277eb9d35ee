"""Incident "ghost-error": a few checkouts of a hundred fail, and no log says why."""

"""What goes wrong with the loading of traces. Each error says what to do."""

from __future__ import annotations


class NotTracesError(ValueError):
    """The bytes are no traces in a format that is known."""


class NoTraceError(ValueError):
    """The trace is not there, or no trace matches."""


class ServerError(ValueError):
    """The server cannot be asked, or refuses to answer."""

"""The exporter of this process, as the parts before it see it."""

from __future__ import annotations

from collections.abc import Callable

from tracemw._export.answers import printable
from tracemw._export.exporter import AttemptResult, Exporter, ExportRequest, Outcome
from tracemw._export.losses import Losses


class ProcessExporter:
    """Makes one attempt with the exporter of this process, which belongs to the thread that sends.

    Whatever the exporter raises becomes an outcome. The words of the backend are made fit for a log line.

    Args:
        make: Makes the exporter.
        losses: Notes every outcome.
    """

    def __init__(self, make: Callable[[], Exporter], losses: Losses) -> None:
        self._make = make
        self._losses = losses
        self._exporter: Exporter | None = None

    def open(self) -> Exporter:
        """Make the exporter, in the thread that will send."""
        exporter = self._exporter = self._make()
        return exporter

    def pack(self, body: bytes) -> bytes:
        """Return the bytes that are sent for a body."""
        return (self._exporter or self.open()).pack(body)

    def send(self, request: ExportRequest, timeout: float) -> Outcome:
        """Make one attempt within `timeout` seconds."""
        try:
            outcome = (self._exporter or self.open()).send(request, timeout)
        except Exception as error:
            self._losses.tell_of_fault(error)
            outcome = Outcome(AttemptResult.UNKNOWN, error=repr(error))
        if outcome.error:
            outcome = outcome._replace(error=printable(outcome.error))
        self._losses.hear(outcome)
        return outcome

    def close(self) -> None:
        """Close the connection of the exporter."""
        if self._exporter is not None:
            self._exporter.close()
            self._exporter = None

    def leave_to_parent(self) -> None:
        """Let go of the connection in a process that has just been forked. The parent goes on using it."""
        if self._exporter is not None:
            self._exporter.leave_to_parent()

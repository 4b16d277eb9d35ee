"""Erasing in Tempo 3.1 or later: by ids, then by query, one redaction at a time.

A redaction by query erases, in each block, the traces of which that block has a span with the pseudonym. A late span
without it in another block stays. So the traces are named by their ids first. The query then gets what no search has
found.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import Final

from tracemw.erasure.redaction_service import RedactionService, Sent
from tracemw.erasure.windows import Window

_AGAIN: Final = 300.0
"""Seconds until ids are named again that are still there. Every five minutes Tempo looks for new blocks, and a
redaction covers those that it knows."""

_TOO_NEW: Final = "spans of the last minute: a search does not find them yet"
_IN_LIVE_STORE: Final = (
    "spans that are not in a block yet: Tempo redacts blocks, and by default knows a new one within about 30 minutes "
    "of its last span"
)


class InTempo:
    """Tempo's blocks, as a place that traces are erased in.

    Args:
        service: The redaction service.
        query: The query that finds the traces.
        window: The window that the user has named; None if there is none.
    """

    backend = "tempo"
    checks_ids = True
    """Whether parts of a trace may be there that a search does not find."""

    def __init__(self, service: RedactionService, query: str, window: Window | None) -> None:
        self._service = service
        self._query = query
        self._window = window
        self._ids_named_at: float | None = None
        self._is_query_taken = False
        self._needs_no_query = False
        self._refused: Sent | None = None
        self.requests: list[Sent] = []
        """The requests that Tempo has accepted."""

    @property
    def is_asked(self) -> bool:
        """Whether all has been asked for that is to be: Tempo has taken the query.

        While another redaction runs, Tempo takes none. That is no reason to go on if no search has found anything.
        """
        return self._is_query_taken or self._needs_no_query

    def erase(self, trace_ids: Collection[str]) -> None:
        """Ask for what is due: the redaction of these traces, then that of the query.

        Raises:
            QueryError: if the service cannot be asked, or refuses for good.
        """
        self._refused = None
        now = time.monotonic()
        if trace_ids and (self._ids_named_at is None or now - self._ids_named_at >= _AGAIN):
            if not self._take(self._service.redact_ids(sorted(trace_ids))):
                return
            self._ids_named_at = now
        if not self._is_query_taken:
            sent = self._service.redact_query(self._query, self._window)
            self._is_query_taken = self._take(sent)
            self._needs_no_query = sent.answer == "busy" and not trace_ids and self._ids_named_at is None

    def _take(self, sent: Sent) -> bool:
        if sent.answer != "accepted":
            self._refused = sent
            return False
        self.requests.append(sent)
        return True

    def out_of_reach(self, left: int) -> list[str]:
        """Return what this run has not erased, and why."""
        told = [_TOO_NEW]
        if left:
            told.append(_IN_LIVE_STORE)
        if self._refused is not None:
            told.append(_due(self._refused))
        if left and self.requests:
            told.append(f"{left} of the traces: a redaction runs, and by id they are there some 10 minutes longer")
        return told


def _due(refused: Sent) -> str:
    what = "the redaction by id" if refused.by == "ids" else "the redaction by query"
    if refused.answer == "busy":
        return f"{what}: Tempo takes one at a time, and another one runs ({refused.said})"
    return f"{what}: Tempo knows no block for it ({refused.said}), and looks for new ones every 5 minutes"

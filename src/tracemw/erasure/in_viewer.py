"""Erasing in the store of ``tracemw view``: at once, and whole traces."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from tracemw.analysis.load.query_api import QueryApi

_AT_ONCE: Final = 10_000
"""Traces that the viewer erases for one request."""


class InViewer:
    """The store of a viewer, as a place that traces are erased in.

    Args:
        api: The viewer.
        dry_run: Whether to erase nothing.
    """

    backend = "viewer"
    is_asked = True
    """Whether all has been asked for that is to be."""
    checks_ids = False
    """Whether parts of a trace may be there that a search does not find."""
    requests: Sequence[object] = ()

    def __init__(self, api: QueryApi, *, dry_run: bool) -> None:
        self._api = api
        self._dry_run = dry_run

    def erase(self, trace_ids: Collection[str]) -> None:
        """Erase traces. When this returns, nothing of them is in the viewer's files.

        The viewer is asked even if there are none: an earlier run may have failed before the files were written anew.

        Raises:
            QueryError: if the viewer cannot be asked, or refuses.
        """
        if self._dry_run:
            return
        ids = list(trace_ids)
        for begin in range(0, max(len(ids), 1), _AT_ONCE):
            self._api.erase(ids[begin : begin + _AT_ONCE])

    def out_of_reach(self, left: int) -> list[str]:
        """Return what this run has not erased, and why."""
        return ["spans have come in meanwhile, and may be on their way still"] if left else []

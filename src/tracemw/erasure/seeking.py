"""The traces of users: those that a search finds, and those that are still there."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from tracemw.analysis.load.query_api import QueryApi
from tracemw.analysis.load.unreadable import NoTraceError
from tracemw.analysis.model import Trace
from tracemw.erasure.windows import Window

_LIMIT: Final = 10_000
"""Traces that one search gives. If it gives so many, there may be more."""

_AT_ONCE: Final = 8
"""Traces that are asked for side by side."""


class Seeker:
    """Finds the traces that a query is about.

    Args:
        api: The server that is searched.
        query: TraceQL.
        windows: When the traces began: one search for each window, or more.

    Attributes:
        is_cut_off: Whether the latest search may have left some out: too many began in one second.
    """

    def __init__(self, api: QueryApi, query: str, windows: Iterable[Window]) -> None:
        self._api = api
        self._query = query
        self._windows = tuple(windows)
        self.is_cut_off = False

    def find(self) -> list[str]:
        """Return the ids of the traces, in hex, each once.

        Raises:
            QueryError: if the server cannot be asked, or refuses.
        """
        self.is_cut_off = False
        found: dict[str, None] = {}
        for window in self._windows:
            found.update(dict.fromkeys(self._search(window)))
        return list(found)

    def _search(self, window: Window) -> list[str]:
        ids = self._api.search(self._query, start=window.start, end=window.end, limit=_LIMIT)
        if len(ids) >= _LIMIT:
            if halves := window.halves():
                return [found for half in halves for found in self._search(half)]
            self.is_cut_off = True
        return [found.zfill(32) for found in ids]

    def example(self, query: str) -> Trace | None:
        """Return one trace of the windows that another query finds; None if there is none.

        Raises:
            QueryError: if the server cannot be asked, or refuses.
            NoTraceError: if the trace has gone meanwhile.
            NotTracesError: if the answer is no trace.
        """
        for window in self._windows:
            for found in self._api.search(query, start=window.start, end=window.end, limit=1):
                return self._api.trace(found)
        return None

    def still_there(self, trace_ids: Collection[str]) -> list[str]:
        """Return those of some traces of which the server still has spans, by their ids.

        Raises:
            QueryError: if the server cannot be asked, or refuses.
        """
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return [found for found, there in zip(trace_ids, threads.map(self._has, trace_ids), strict=True) if there]

    def _has(self, trace_id: str) -> bool:
        try:
            self._api.trace(trace_id)
        except NoTraceError:
            return False
        return True

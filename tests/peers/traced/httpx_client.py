"""Every client of httpx is traced, its mounts and proxies included."""

from __future__ import annotations

from typing import Any

import httpx

from tracemw.httpx import trace_client

from .recording import pytest_unconfigure as pytest_unconfigure


def _trace_all(kind: type[httpx.Client] | type[httpx.AsyncClient]) -> None:
    init = kind.__init__

    def init_traced(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        trace_client(self)

    kind.__init__ = init_traced  # type: ignore[method-assign]


_trace_all(httpx.Client)
_trace_all(httpx.AsyncClient)

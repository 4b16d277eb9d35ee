"""Every Starlette application has our door by `add_middleware`, its first middleware."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette

from tracemw.starlette import TraceMiddleware

from .recording import pytest_unconfigure as pytest_unconfigure

_init = Starlette.__init__


def _init_traced(self: Starlette, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    self.add_middleware(TraceMiddleware, response_header=None)


Starlette.__init__ = _init_traced  # type: ignore[method-assign]

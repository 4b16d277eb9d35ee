"""Every FastAPI application has our door by `add_middleware`, its first middleware."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from tracemw.fastapi import TraceMiddleware

from .recording import pytest_unconfigure as pytest_unconfigure

_init = FastAPI.__init__


def _init_traced(self: FastAPI, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    self.add_middleware(TraceMiddleware, response_header=None)


FastAPI.__init__ = _init_traced  # type: ignore[method-assign]

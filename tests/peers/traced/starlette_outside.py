"""Every ASGI application that a test client gets is wrapped with our door for Starlette."""

from __future__ import annotations

from typing import Any

from starlette import testclient

from tracemw.starlette import TraceMiddleware

from .recording import pytest_unconfigure as pytest_unconfigure

_init = testclient._TestClientTransport.__init__


def _init_traced(self: Any, app: Any, *args: Any, **kwargs: Any) -> None:
    _init(self, TraceMiddleware(app, response_header=None), *args, **kwargs)


testclient._TestClientTransport.__init__ = _init_traced  # type: ignore[method-assign]

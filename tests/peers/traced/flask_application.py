"""Every Flask application has our extension, from the start."""

from __future__ import annotations

from typing import Any

from flask import Flask

from tracemw.flask import TraceMiddleware

from .recording import pytest_unconfigure as pytest_unconfigure

_init = Flask.__init__


def _init_traced(self: Flask, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    TraceMiddleware(self)


Flask.__init__ = _init_traced  # type: ignore[method-assign]

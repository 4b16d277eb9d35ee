"""Every session of requests is traced, also those that `requests.get` and its like make."""

from __future__ import annotations

import requests

from tracemw.requests import trace_session

from .recording import pytest_unconfigure as pytest_unconfigure

_init = requests.Session.__init__


def _init_traced(self: requests.Session) -> None:
    _init(self)
    trace_session(self)


requests.Session.__init__ = _init_traced  # type: ignore[method-assign]

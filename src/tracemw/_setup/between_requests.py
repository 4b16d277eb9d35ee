"""Sending where no thread can send: uWSGI runs none unless it is told to."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from typing import Any

from tracemw._process.native import is_without_threads

_logger = logging.getLogger("tracemw")


def send_between_requests(send: Callable[[], object]) -> None:
    """Where uWSGI runs no threads, say so in the log, and have it call `send` after each request."""
    if not is_without_threads():
        return
    _logger.warning(
        "uWSGI runs no threads: spans are sent between two requests, the next request waits for that, and spikes from "
        "the control file have no effect; set enable-threads = true in uWSGI's configuration, or pass --enable-threads"
    )
    uwsgi: Any = sys.modules["uwsgi"]
    hook: Callable[[], object] | None = getattr(uwsgi, "after_req_hook", None)
    if not isinstance(hook, _AfterRequest):
        uwsgi.after_req_hook = _AfterRequest(send, hook)


class _AfterRequest:
    """The hook that uWSGI calls after each request. It sends spans, and then calls the hook that was there before."""

    def __init__(self, send: Callable[[], object], then: Callable[[], object] | None) -> None:
        self._send = send
        self._then = then

    def __call__(self) -> None:
        self._send()
        if self._then is not None:
            self._then()

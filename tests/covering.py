"""Lets coverage see the threads that tracemw starts beneath `threading`: `make coverage` has this plugin of coverage's.

Coverage sees a new thread by the hook of `threading`, which these threads do not ask. On Python 3.14, coverage watches
the whole interpreter, and there is no hook.
"""

from __future__ import annotations

import _thread
import sys
import threading
from collections.abc import Callable
from typing import Any

_start = _thread.start_new_thread


def _start_seen(function: Callable[..., object], arguments: tuple[Any, ...], keywords: Any = None) -> int:
    def run(*positional: Any, **more: Any) -> None:
        sys.settrace(threading.gettrace())
        function(*positional, **more)

    return _start(run, arguments, keywords or {})


def coverage_init(registry: object, options: object) -> None:
    """Take the place of what starts a thread; coverage calls this in each process that it looks at."""
    del registry, options
    _thread.start_new_thread = _start_seen

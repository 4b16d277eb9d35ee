"""What tracemw needs of the interpreter."""

from __future__ import annotations

import sys


def require_the_gil() -> None:
    """Refuse an interpreter that runs threads side by side.

    Parts of tracemw take no locks. They are right as long as the interpreter switches threads, and runs signal
    handlers, only at calls and backward jumps. `docs/architecture.md` says which parts these are.

    Raises:
        RuntimeError: on a free-threaded build of CPython whose global interpreter lock is off.
    """
    is_enabled = getattr(sys, "_is_gil_enabled", None)  # from Python 3.13 on
    if is_enabled is not None and not is_enabled():
        raise RuntimeError(
            "tracemw does not run without the global interpreter lock: start Python with PYTHON_GIL=1, or with -X gil=1"
        )

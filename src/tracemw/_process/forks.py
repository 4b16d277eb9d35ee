"""What begins anew in a process that has been forked, by Python or beneath it.

Python's hooks tell of its own forks. uWSGI forks in C, where no hook runs; so a page of memory tells, too, which the
kernel wipes in every child: `unless here[0]: renew()` costs a fifth of what `os.getpid` does. Whoever notices first
takes the same steps.
"""

from __future__ import annotations

import logging
import mmap
import os
import sys
import time
import weakref
from collections.abc import Callable
from types import MethodType
from typing import Final, Protocol

from tracemw._process.log import log
from tracemw._process.native import get_ident, sleep

_WIPE_ON_FORK: Final = 18
"""`MADV_WIPEONFORK` of Linux, from 4.14 on, for which Python has no name."""

_PATIENCE: Final = 1.0
"""Seconds to wait for another thread that takes the steps; it may have been left behind by a fork in the midst."""


class Marker(Protocol):
    """Whose first item is false in a process that has not begun anew since it was forked."""

    def __getitem__(self, index: int, /) -> int:
        """Tell whether this process is the one that the latest steps were taken in."""

    def __setitem__(self, index: int, value: int, /) -> None:
        """Note that they have been taken."""


class _ProcessId:
    """The marker where the kernel wipes no pages."""

    def __init__(self) -> None:
        self._id = os.getpid()

    def __getitem__(self, index: int, /) -> int:
        return self._id == os.getpid()

    def __setitem__(self, index: int, value: int, /) -> None:
        self._id = os.getpid()


def _marker() -> Marker:
    try:
        page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        page.madvise(_WIPE_ON_FORK)
    except (AttributeError, OSError, ValueError):
        return _ProcessId()
    page[0] = 1
    return page


here: Final = _marker()
_inherited: Final = mmap.mmap(-1, mmap.PAGESIZE) if "uwsgi" in sys.modules else None
"""Shared by all processes, to note that one of them has what uWSGI's master could not send."""

_steps: Final[list[Callable[[], object]]] = []
_taken_by: int | None = None


def begin_anew_with(step: Callable[[], object]) -> None:
    """Take `step` in each process that is forked from this one; a method does not keep its object alive."""
    taken = _weakly(step) if isinstance(step, MethodType) else step
    _steps.append(taken)
    # Each has a hook of its own, in its place among those of others: it may need what a library has to begin anew.
    os.register_at_fork(after_in_child=taken)


def _weakly(method: MethodType) -> Callable[[], object]:
    found = weakref.WeakMethod(method)

    def step() -> None:
        if (alive := found()) is not None:
            alive()

    return step


def inherits() -> bool:
    """Tell one of uWSGI's workers, and only one, that what waits in the process it was forked from is its to send."""
    if _inherited is None or _inherited[0]:
        return False
    _inherited[0] = 1
    return True


def check() -> None:
    """Begin anew if this process has been forked and nobody has noticed."""
    if not here[0]:
        renew()


def renew() -> None:
    """Take the steps in a process that has been forked; of several threads one does, and the others wait for it."""
    global _taken_by
    this = get_ident()
    if _taken_by == this:  # a step that starts a span, say
        return
    until = time.monotonic() + _PATIENCE
    while _taken_by is not None:
        if time.monotonic() >= until:
            break
        sleep(0.001)
    _taken_by = this  # no call since it was seen to be free
    try:
        if not here[0]:
            _take_all()
    finally:
        _taken_by = None
        here[0] = 1


def _take_all() -> None:
    for step in _steps:
        try:
            step()
        except Exception as error:
            log(logging.ERROR, "tracing does not begin anew in a forked process as it should", error=error)


def _after_fork() -> None:
    global _taken_by
    _taken_by = None  # whoever was at it is not here
    here[0] = 1  # the hooks that follow take the steps


os.register_at_fork(after_in_child=_after_fork)

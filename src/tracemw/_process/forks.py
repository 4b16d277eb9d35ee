"""What begins anew in a forked process, whether Python forked it or C code did.

Python's hooks notice only Python's own forks. uWSGI forks in C, and no hook runs. So there is a marker, too: a page of
memory that the kernel wipes in every child. `if not here[0]: renew()` costs a fifth of `os.getpid()`. Hook and marker
lead to the same steps. Whichever notices the fork first takes them.
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
"""`MADV_WIPEONFORK` of Linux 4.14 and later. Python has no name for it."""

_PATIENCE: Final = 1.0
"""Seconds to wait for another thread that takes the steps. A fork meanwhile would leave that thread in the parent."""


class Marker(Protocol):
    """A sequence whose first item is false in a forked process that has not begun anew."""

    def __getitem__(self, index: int, /) -> int:
        """Tell whether the steps have been taken in this process."""

    def __setitem__(self, index: int, value: int, /) -> None:
        """Note that the steps have been taken in this process."""


class _ProcessId:
    """The marker for kernels that wipe no pages."""

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
"""A page that all processes share. Its first byte says that one worker has taken what uWSGI's master could not send."""

_steps: Final[list[Callable[[], object]]] = []
_taken_by: int | None = None


def begin_anew_with(step: Callable[[], object]) -> None:
    """Take `step` in each process that is forked from this one. A method as the step does not keep its object alive."""
    taken = _weakly(step) if isinstance(step, MethodType) else step
    _steps.append(taken)
    # Each step is a hook of its own, after those registered before: a step may need a library that has begun anew.
    os.register_at_fork(after_in_child=taken)


def _weakly(method: MethodType) -> Callable[[], object]:
    found = weakref.WeakMethod(method)

    def step() -> None:
        if (alive := found()) is not None:
            alive()

    return step


def inherits() -> bool:
    """Return True in one of uWSGI's workers, and only one: that worker sends what waited in the master."""
    if _inherited is None or _inherited[0]:
        return False
    _inherited[0] = 1
    return True


def check() -> None:
    """Begin anew if this process has been forked and nobody has noticed."""
    if not here[0]:
        renew()


def renew() -> None:
    """Take the steps in a forked process. Of several threads, one takes them and the others wait."""
    global _taken_by
    this = get_ident()
    if _taken_by == this:  # a step has led back here: it starts a span, say
        return
    until = time.monotonic() + _PATIENCE
    while _taken_by is not None:
        if time.monotonic() >= until:
            break
        sleep(0.001)
    _taken_by = this  # no call came since the loop has found None: of several threads, one takes the steps
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
    _taken_by = None  # the thread that took the steps is not in this process
    here[0] = 1  # the hooks that follow take the steps


os.register_at_fork(after_in_child=_after_fork)

"""The line of the application's code that has called a library: the innermost frame that is the application's own."""

from __future__ import annotations

import sys
from types import FrameType

from tracemw._otel.application import CodeLine, of_application


def calling_line() -> CodeLine | None:
    """Return the innermost line of the application's own code on the stack; None without one."""
    frame = calling_frame()
    return None if frame is None else CodeLine.of(frame)


def calling_frame() -> FrameType | None:
    """Return the innermost frame of the application's own code on the stack; None without one.

    A greenlet has a stack of its own, so the search goes on where the greenlet was started: SQLAlchemy runs all that is
    asynchronous in greenlets.
    """
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    greenlet, is_its_own = None, of_application
    while True:
        while frame is not None:
            if is_its_own[frame.f_code.co_filename]:
                return frame
            frame = frame.f_back
        greenlet = _parent(greenlet)
        if greenlet is None:
            return None
        frame = greenlet.gr_frame


class _Greenlet:
    """The part of `greenlet.greenlet` that is used here."""

    parent: _Greenlet | None
    gr_frame: FrameType | None


def _parent(greenlet: _Greenlet | None) -> _Greenlet | None:
    """Return the greenlet that has started a greenlet; of None, the one that has started the current one."""
    if greenlet is None:
        library = sys.modules.get("greenlet")
        if library is None:
            return None
        greenlet = library.getcurrent()
    return None if greenlet is None else greenlet.parent

"""Exceptions that the application swallows: handled within a span, and never the end of one.

The interpreter tells of every handler that an exception reaches, and of every function that an exception leaves
(`sys.monitoring`, PEP 669). `with` and `finally` are handlers, too, and so is an `except` that does not match. So an
exception counts when it reaches a handler of the application, and counts no more when it leaves that function, when
another exception leaves in its place, or when it ends a span. `tracemw._otel.handled` keeps the lists.

A callback that raises would raise into the application. Code that raises nothing costs nothing.
"""

from __future__ import annotations

import logging
import sys
from concurrent.futures import CancelledError
from time import monotonic_ns
from types import CodeType
from typing import Any, Final

from tracemw._otel.application import is_application
from tracemw._otel.context import current_context, span_in
from tracemw._otel.exceptions import exception_type
from tracemw._otel.guard import fault
from tracemw._otel.handled import Handled, Handling, Mark, Raised, Tally, mark_of, put_mark, switch
from tracemw._otel.recorder import is_ours
from tracemw._process.forks import begin_anew_with

_logger: Final = logging.getLogger("tracemw")

_monitoring: Final[Any] = getattr(sys, "monitoring", None)
_TOOL_IDS: Final = (4, 3)
"""Those that PEP 669 reserves for nobody."""

_NO_ERRORS: Final = (StopIteration, StopAsyncIteration, CancelledError)
"""Exceptions that say nothing of a failure. What is no `Exception` is left out anyway: asyncio's cancellation, say."""

_DEEPEST: Final = 1000
"""Frames of a traceback that are looked at."""
_LONGEST_CHAIN: Final = 8
"""Exceptions of a chain that are looked at when one leaves a function."""


class Swallowed(Tally):
    """Watches the exceptions that the application handles, from `begin` to `end`."""

    __slots__ = ("__weakref__", "_tool")

    def __init__(self) -> None:
        super().__init__()
        self._tool: int | None = None
        begin_anew_with(self._begin_anew)

    def begin(self) -> None:
        """Watch from now on. Log a warning where that is not possible: before Python 3.12, or with no free tool id."""
        if _monitoring is None:
            _logger.warning(
                "swallowed=True does nothing on Python %d.%d: swallowed exceptions are seen from Python 3.12 on",
                *sys.version_info[:2],
            )
            return
        free = [tool for tool in _TOOL_IDS if _monitoring.get_tool(tool) is None]
        if not free:
            _logger.warning(
                "swallowed=True does nothing: the tool ids of sys.monitoring that tracemw may use are taken, 4 by %s "
                "and 3 by %s. Leave out one of these tools",
                *map(_monitoring.get_tool, _TOOL_IDS),
            )
            return
        self._tool = free[0]
        events = _monitoring.events
        _monitoring.use_tool_id(self._tool, "tracemw")
        _monitoring.register_callback(self._tool, events.EXCEPTION_HANDLED, self._handled)
        _monitoring.register_callback(self._tool, events.PY_UNWIND, self._left)
        _monitoring.set_events(self._tool, events.EXCEPTION_HANDLED | events.PY_UNWIND)
        switch.is_on = True

    def end(self) -> None:
        """Watch no more, and free the tool id."""
        if self._tool is None:
            return
        switch.is_on = False
        events = _monitoring.events
        _monitoring.set_events(self._tool, events.NO_EVENTS)  # up to Python 3.13, a freed tool id keeps its events
        for event in (events.EXCEPTION_HANDLED, events.PY_UNWIND):
            _monitoring.register_callback(self._tool, event, None)
        _monitoring.free_tool_id(self._tool)
        self._tool = None

    def _begin_anew(self) -> None:
        self.count = 0  # what the parent has counted is the parent's

    def _handled(self, code: CodeType, offset: int, error: BaseException) -> None:
        """Count an exception that has reached a handler."""
        if not is_application(code.co_filename) or not isinstance(error, Exception) or isinstance(error, _NO_ERRORS):
            return
        try:
            span = span_in(current_context())
            if span is not None and is_ours(span) and span.is_recording():
                self._count(span, code, offset, error)
        except Exception as problem:
            fault("Swallowed", problem)

    def _count(self, span: Any, code: CodeType, offset: int, error: Exception) -> None:
        mark = mark_of(error)
        if mark == span.get_span_context().trace_id:  # it has ended a span
            return
        handled = span.handled
        if handled is None:
            # `setdefault` on the dictionary is one step: two threads get the same list.
            handled = vars(span).setdefault("handled", Handled(self))
        if type(mark) is not Mark or mark.handled is not handled:
            mark = Mark(handled, _raised_at(error, code))
            put_mark(error, mark)
        raised = mark.raised
        # The place has references to both functions, so their ids stay theirs.
        key = type(error), id(raised.code), raised.line, id(code), offset
        counted = handled.place(key)
        if counted is None:
            counted = handled.enter(key, Handling(exception_type(error), raised, code, offset, monotonic_ns()))
        mark.count(counted, code)

    def _left(self, code: CodeType, offset: int, error: BaseException) -> None:
        """Take back an exception that leaves a function, and those that it has replaced in that function."""
        del offset
        if not is_application(code.co_filename):
            return
        try:
            mark = mark_of(error)
            if type(mark) is Mark:
                mark.take_back()
            replaced = error.__context__
            for _ in range(_LONGEST_CHAIN):
                if replaced is None:
                    break
                mark = mark_of(replaced)
                if type(mark) is Mark and mark.code is code:
                    mark.take_back()
                replaced = replaced.__context__
        except Exception as problem:
            fault("Swallowed", problem)


def _raised_at(error: BaseException, handler: CodeType) -> Raised:
    """Return the innermost line of the application in an exception's traceback."""
    raised = None
    traceback = error.__traceback__
    for _ in range(_DEEPEST):
        if traceback is None:
            break
        if is_application(traceback.tb_frame.f_code.co_filename):
            raised = traceback
        traceback = traceback.tb_next
    if raised is None:  # somebody has taken the traceback away
        return Raised(handler, handler.co_firstlineno)
    return Raised(raised.tb_frame.f_code, raised.tb_lineno)

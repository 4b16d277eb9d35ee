"""Exceptions that the application has handled, as long as they have ended no span.

The watch enters an exception into the list of the span that is current, and leaves a mark at the exception. An
exception that leaves the function with the handler after all, or ends a span, is taken back. What the list has when the
span ends becomes events of that span.

A mark leads to the list, and the list to neither exceptions, frames nor spans. So nothing is kept alive, and no cycle
is closed.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from types import CodeType
from typing import Any, Final, NamedTuple

from tracemw._otel.application import CodeLine
from tracemw._otel.guard import guarded

_MARK: Final = "__tracemw_handled__"

_MOST_PLACES: Final = 20
"""Places that one span tells. What is handled at further ones is only counted."""

_MOST_EXCEPTIONS: Final = 100
"""Exceptions of a chain or group that are looked at when one of them ends a span."""

SWALLOWED: Final = "tracemw.swallowed"
"""The event of a span for one place."""
SWALLOWED_MORE: Final = "tracemw.swallowed.more"
"""The event of a span for all further places."""


class Switch:
    """Whether handled exceptions are watched in this process."""

    __slots__ = ("is_on",)

    def __init__(self) -> None:
        self.is_on = False


switch: Final = Switch()


class Tally:
    """How many exceptions have been swallowed."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = 0


class Raised(NamedTuple):
    """The innermost line of the application that an exception has come from."""

    code: CodeType
    line: int


class Handling(Tally):
    """Where exceptions of one class are raised, and where they are handled.

    Args:
        kind: The name of the class.
        raised: Where they are raised.
        code: The function that handles them.
        offset: Where its handler begins, in bytes of the function's bytecode.
        at: When the first one was handled, in nanoseconds of the monotonic clock.
    """

    __slots__ = ("_code", "_kind", "_offset", "_raised", "at")

    def __init__(self, kind: str, raised: Raised, code: CodeType, offset: int, at: int) -> None:
        super().__init__()
        self._kind = kind
        self._raised = raised
        self._code = code
        self._offset = offset
        self.at = at

    def attributes(self) -> dict[str, str | int]:
        """Return the attributes of the event that tells the place."""
        code, line = self._raised
        handled = CodeLine(self._code.co_filename, self._line(), self._code.co_qualname)
        return {
            "exception.type": self._kind,
            **CodeLine(code.co_filename, line, code.co_qualname).attributes(),
            "tracemw.handled.file.path": handled.path,
            "tracemw.handled.line.number": handled.number,
            "tracemw.handled.function.name": handled.function,
            "tracemw.swallowed.count": self.count,
        }

    def _line(self) -> int:
        """Return the line of the handler. Its first instructions belong to no line."""
        lines = (line for _, end, line in self._code.co_lines() if end > self._offset and line is not None)
        return next(lines, self._code.co_firstlineno)


class Handled:
    """The exceptions that are handled while one span is current, by place.

    Args:
        tally: Counts them for the whole process.
    """

    __slots__ = ("_more", "_places", "tally")

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self._places: dict[Hashable, Handling] = {}
        self._more = Tally()

    def place(self, key: Hashable) -> Handling | None:
        """Return the place that has been entered as `key`."""
        return self._places.get(key)

    def enter(self, key: Hashable, place: Handling) -> Tally:
        """Enter a new place. Return what to count with: of too many places, the further ones share one count."""
        if len(self._places) >= _MOST_PLACES:
            for other, found in list(self._places.items()):
                if not found.count:
                    self._places.pop(other, None)
            if len(self._places) >= _MOST_PLACES:
                return self._more
        return self._places.setdefault(key, place)

    def events(self) -> Iterator[tuple[str, dict[str, str | int], int]]:
        """Give the name, attributes and time of each event that tells a place."""
        latest = 0
        for place in list(self._places.values()):
            latest = max(latest, place.at)
            if place.count > 0:
                yield SWALLOWED, place.attributes(), place.at
        if self._more.count > 0:
            yield SWALLOWED_MORE, {"tracemw.swallowed.count": self._more.count}, latest


class Mark:
    """Left at an exception: where it was raised, and where it was handled latest."""

    __slots__ = ("_counted", "code", "handled", "raised")

    def __init__(self, handled: Handled, raised: Raised) -> None:
        self.handled = handled
        self.raised = raised
        self.code: CodeType | None = None
        """The function that has handled the exception."""
        self._counted: Tally | None = None

    def count(self, counted: Tally, code: CodeType) -> None:
        """Count the exception as handled in the function `code`, and no longer where it was handled before."""
        self.take_back()
        self.code = code
        # No call from here to the end: the counts change together.
        self._counted = counted
        counted.count += 1
        self.handled.tally.count += 1

    def take_back(self) -> None:
        """Count the exception no longer as handled."""
        # No call from here to the end: an exception is taken back once.
        counted = self._counted
        self._counted = None
        if counted is not None:
            counted.count -= 1
            self.handled.tally.count -= 1

    def __reduce__(self) -> tuple[type[bool], tuple[()]]:
        # The mark of an exception that is sent to another process, or copied, stays here.
        return bool, ()


def mark_of(error: BaseException) -> Any:
    """Return an exception's `Mark`; the id of the trace if the exception has ended a span; None without either."""
    return error.__dict__.get(_MARK)


def put_mark(error: BaseException, mark: Mark | int) -> None:
    """Leave a mark at an exception."""
    error.__dict__[_MARK] = mark  # past `__setattr__`, since some classes refuse attributes


@guarded
def take_back_all(error: BaseException, trace_id: int) -> None:
    """Take back an exception that has ended a span of the trace, with all that it was raised from or consists of."""
    waiting: list[BaseException | None] = [error]
    seen: set[int] = set()
    while waiting and len(seen) < _MOST_EXCEPTIONS:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        mark = mark_of(each)
        if type(mark) is Mark:
            mark.take_back()
        put_mark(each, trace_id)
        waiting += (each.__cause__, each.__context__)
        if isinstance(each, BaseExceptionGroup):
            waiting += each.exceptions[:_MOST_EXCEPTIONS]

"""The stack trace of an exception, within a limit.

Backends cut a long value and keep its start; Grafana Tempo cuts at 2,048 bytes. A Python traceback shows the most
recent call last, so its most important line would be lost. Here a long stack trace is shortened from the inside. These
parts stay: the message of each exception in a chain or group, the frame that raised it, the first frame, and as many of
the last frames as have room. The text says how many frames are left out. A short stack trace is Python's own text.

Time and memory grow with the number of frames and the length of the messages, however exceptions are nested.
"""

from __future__ import annotations

import traceback
from collections import deque
from types import FrameType, TracebackType
from typing import Final, NamedTuple

from tracemw._otel.cleaning import cut, shown
from tracemw._otel.exceptions import exception_type, message_of
from tracemw.redaction.in_use import in_use

LONGEST: Final = 2000
"""Bytes of a stack trace in UTF-8, by default: a little less than Tempo shows."""

_HEAD: Final = "Traceback (most recent call last):\n"
_CAUSE: Final = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT: Final = "\nDuring handling of the above exception, another exception occurred:\n\n"
_SHORTEST_FRAME: Final = 40
"""Bytes that a frame takes at least."""
_MOST_EXCEPTIONS: Final = 1000
"""Exceptions of a chain or group that are read."""
_SIMPLE: Final = 16
_SIMPLE_FRAMES: Final = 200
"""Up to so many exceptions and frames, Python makes its own text first. It is made quickly, and may be short enough."""


class _Frame(NamedTuple):
    """A frame of a traceback, and how many times in a row it comes."""

    frame: FrameType
    line: int
    times: int

    def text(self, longest: int) -> str:
        summary = traceback.StackSummary.extract(iter([(self.frame, self.line)]))
        lines = "".join(summary.format()).splitlines()
        if self.times > 1:
            lines.append(f"  [Previous line repeated {self.times - 1} more times]")
        return "".join(f"{cut(line, longest)}\n" for line in lines)

    def size(self) -> int:
        """Return how many characters the frame takes at least."""
        code = self.frame.f_code
        return len(code.co_filename) + len(code.co_name) + 24


class _Raised:
    """One exception of a chain or group, and the parts of it that are kept.

    Args:
        error: The exception.
        introduction: The text that stands before the exception.
        importance: How much the exception tells of what went wrong. A smaller number means more.
        most: How many of its last frames may be kept.
    """

    def __init__(self, error: BaseException, introduction: str, importance: int, most: int) -> None:
        self.error = error
        self.introduction = introduction
        self.importance = importance
        self.message = ""
        self._first = ""
        self._last: deque[str] = deque()
        # The first frame and the last ones, until they are kept; and how many frames lie between them.
        self._rest, self._between = _frames_of(error.__traceback__, most)

    @property
    def depth(self) -> int:
        """How many of its frames are not kept."""
        return self._between + sum(frame.times for frame in self._rest)

    @property
    def size(self) -> int:
        """How many characters those frames take at least."""
        return self._between * _SHORTEST_FRAME + sum(frame.size() for frame in self._rest)

    def keep_first(self, room: int, line: int) -> int:
        """Keep the first frame if it has room. Return its size, or 0."""
        if not self._rest:
            return 0
        text = self._rest[0].text(line)
        if (size := _size(text)) > room:
            return 0
        self._first = text
        self._rest.popleft()
        return size

    def keep_last(self, room: int, line: int) -> int:
        """Keep the last frame that is not kept yet, if it has room. Return its size, or 0."""
        if len(self._rest) == 1 and not self._first and self._between:  # it is the first frame, with a gap after it
            return self.keep_first(room, line)
        if not self._rest:
            return 0
        text = self._rest[-1].text(line)
        if (size := _size(text)) > room:
            return 0
        self._last.appendleft(text)
        self._rest.pop()
        return size

    def text(self) -> str:
        """Return the text of the parts that are kept."""
        left_out = self.depth
        missing = f"  ... {left_out} frame{'s' if left_out > 1 else ''} left out ...\n" if left_out else ""
        frames = "".join((self._first, missing, *self._last))
        return f"{self.introduction}{_HEAD if frames else ''}{frames}{self.message}"


def _frames_of(traceback: TracebackType | None, most: int) -> tuple[deque[_Frame], int]:
    """Return the first frame and the last ones, and how many frames lie between them."""
    first: _Frame | None = None
    last: deque[_Frame] = deque()
    between = 0
    while traceback is not None:
        frame, line = traceback.tb_frame, traceback.tb_lineno
        if last and last[-1].line == line and last[-1].frame.f_code is frame.f_code:
            last[-1] = _Frame(frame, line, last[-1].times + 1)
        elif first is None:
            first = _Frame(frame, line, 1)
        else:
            last.append(_Frame(frame, line, 1))
            if len(last) > most:
                between += last.popleft().times
        traceback = traceback.tb_next
    if first is not None:
        last.appendleft(first)
    return last, between


def stacktrace(error: BaseException, longest: int = LONGEST) -> str:
    """Return the stack trace of an exception and its causes, in at most `longest` bytes of UTF-8."""
    try:
        raised = _all_that_was_raised(error, longest // _SHORTEST_FRAME + 2)
        frames = sum(each.depth for each in raised)
        is_simple = sum(map(_width, raised)) <= _SIMPLE and frames <= _SIMPLE_FRAMES
        if is_simple and sum(each.size for each in raised) <= longest:
            text = _without_secrets("".join(traceback.format_exception(error)))
            if _size(text) <= longest:
                return text
        text = _without_secrets(_shortened(raised, longest))
    except Exception:  # the exception's class breaks the `traceback` module
        text = _message_and_notes(error, longest)
    return text if _size(text) <= longest else _end_of(text, longest)


def _without_secrets(text: str) -> str:
    return in_use().text(text, "text", "exception.stacktrace")


def _shortened(raised: list[_Raised], longest: int) -> str:
    line = max(longest // 8, _SHORTEST_FRAME)
    room = longest - _size(_more(len(raised)))
    kept: list[_Raised] = []
    # First each message, with the frame that raised. Then the first frame of the most important exception. Then more of
    # the last frames.
    for each in sorted(raised, key=lambda each: each.importance):
        each.message = _message_and_notes(each.error, max(longest // (8 if kept else 3), _SHORTEST_FRAME))
        each.keep_last(longest, line)
        size = _size(each.text()) + _size(_more(1))
        if kept and size > room:
            break
        room -= size
        kept.append(each)
    room -= kept[0].keep_first(room, line)
    growing = list(kept)
    while growing:
        for each in list(growing):
            size = each.keep_last(room, line)
            room -= size
            if not size:
                growing.remove(each)
    if room > 0:
        kept[0].message = _message_and_notes(kept[0].error, _size(kept[0].message) + room)
    parts: list[str] = []
    missing = 0
    for each in raised:
        if each in kept:
            if missing:
                parts.append(_more(missing))
            parts.append(each.text())
            missing = 0
        else:
            missing += 1
    if missing:
        parts.append(_more(missing))
    return "".join(parts)


def _width(raised: _Raised) -> int:
    """Return how many texts Python would make of an exception: a group may have one member many times."""
    error = raised.error
    return 1 + (len(error.exceptions) if isinstance(error, BaseExceptionGroup) else 0)


def _more(exceptions: int) -> str:
    return f"\n... {exceptions} exception{'s' if exceptions > 1 else ''} left out ...\n"


def _message_and_notes(error: BaseException, longest: int) -> str:
    """Return an exception's class, message and notes, as lines."""
    message = cut(message_of(error), longest)  # cut only after redaction, which does not recognize half of a secret
    text = f"{exception_type(error)}: {message}" if message else exception_type(error)
    try:
        notes = list(getattr(error, "__notes__", None) or ())
    except Exception:
        notes = []
    for note in notes:
        if len(text) > longest:
            break
        text += f"\n{cut(_without_secrets(shown(note)), longest)}"
    return f"{cut(text, longest - 1)}\n"


def _all_that_was_raised(error: BaseException, frames: int) -> list[_Raised]:
    """Return the exceptions that Python would show: a cause before its effect, a group before its members."""
    found: list[_Raised] = []
    seen: set[int] = set()
    # A stack of exceptions to read, each with the text before it, and with whether it is a member of a group.
    waiting: list[tuple[BaseException, str, bool]] = [(error, "", False)]
    while waiting and len(found) < _MOST_EXCEPTIONS:
        latest, introduction, is_member = waiting.pop()
        chain: list[tuple[BaseException, str]] = []
        current: BaseException | None = latest
        while current is not None and id(current) not in seen:
            seen.add(id(current))
            cause = current.__cause__
            link = _CAUSE
            if cause is None and not current.__suppress_context__:
                cause, link = current.__context__, _CONTEXT
            chain.append((current, link))
            current = cause
        chain = chain[:_MOST_EXCEPTIONS]
        chain.reverse()
        introductions = [introduction, *[link for _, link in chain[1:]]]
        for index, (each, _) in enumerate(chain):
            if each is error:
                importance = 0
            elif is_member or index == 0:  # the origin of the error: a group's member, or the start of a chain
                importance = 1
            else:
                importance = 2
            found.append(_Raised(each, introductions[index], importance, frames if importance < 2 else 2))
            if isinstance(each, BaseExceptionGroup):
                total = len(each.exceptions)
                members = list(enumerate(each.exceptions[:_MOST_EXCEPTIONS], 1))
                waiting += [
                    (member, f"\nException {number} of {total} in the group:\n\n", True)
                    for number, member in reversed(members)
                ]
    return found


def _size(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "backslashreplace"))


def _end_of(text: str, longest: int) -> str:
    octets = text.encode("utf-8", "backslashreplace")[-longest:]
    return octets.decode("utf-8", "ignore")

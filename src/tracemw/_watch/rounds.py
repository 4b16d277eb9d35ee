"""What the watch does each time it looks at the requests being served."""

from __future__ import annotations

import math
from time import monotonic_ns
from typing import Final

from tracemw._otel.clock import offset_of
from tracemw._otel.served import Seen, Served, leave_note, served
from tracemw._watch.heartbeat import LOOK, Hearts
from tracemw._watch.stack_text import code_attributes
from tracemw._watch.stacks import stacks_of

STACK: Final = "tracemw.stack"
"""The event that tells where a slow request was."""
STREAMING: Final = "tracemw.streaming"
"""The event that tells that the response had begun by then: what is slow is its body, or it is a connection."""
FIRST_BYTE: Final = "tracemw.first_byte.after"
"""The attribute of that event that says after how many seconds the response began."""
AFTER: Final = "tracemw.stack.after"
"""The attribute that says after how many seconds."""

_MOST_STACKS: Final = 5
"""Stacks of one request: after the time that is configured, twice that time, four times, and so on."""
_LONGEST_PAUSE: Final = 1.0
_SHORTEST_PAUSE: Final = 0.01
"""Seconds between two looks: at most, and at least, however early stacks are wanted."""
_SECOND: Final = 10**9


class Rounds:
    """Looks at the requests being served, and leaves notes at those that are slow.

    Args:
        stack_after: Seconds after which a request's stack is taken; None for never.
        stacktrace_limit: Bytes that a stack may take.
        hearts: The beats of event loops; None when nobody is blamed for blocking one.
    """

    def __init__(self, *, stack_after: float | None, stacktrace_limit: int, hearts: Hearts | None) -> None:
        self._stack_after = math.inf if stack_after is None else stack_after
        self._limit = stacktrace_limit
        self._hearts = hearts
        self._taken: dict[Served, int] = {}
        """How many stacks of a request have been taken, for those that are still served."""

    def go(self) -> float:
        """Look once. Return after how many seconds to look again."""
        pause = min(_LONGEST_PAUSE, self._stack_after)
        requests = list(served)
        if self._hearts is not None:
            look_again = self._hearts.look(requests)
            if look_again is not None:
                pause = min(pause, look_again)
            elif not requests:
                pause = LOOK  # the next request may block an event loop, and nothing wakes the watch before it sleeps
        now, taken, due = monotonic_ns(), {}, []
        for request in requests:
            age = _age(request, now)
            stacks = self._taken.get(request, 0)
            if stacks == _MOST_STACKS:
                taken[request] = stacks
                continue
            if age is None:
                continue
            left = self._stack_after * 2**stacks - age
            if left <= 0 and request.is_awaited:
                due.append((request, age))
                stacks += 1
                left = self._stack_after * 2**stacks - age
            elif left <= 0:
                told = {AFTER: round(age, 3)}
                if request.answered_at is not None:
                    told[FIRST_BYTE] = round(age - (now - request.answered_at) / _SECOND, 3)
                leave_note(request, Seen(now, STREAMING, told))
                stacks = _MOST_STACKS
            if stacks:
                taken[request] = stacks
            pause = min(pause, left) if left > 0 else pause
        self._taken = taken
        if due:
            self._take_stacks(due, now)
        return max(pause, _SHORTEST_PAUSE)

    def rest(self) -> None:
        """Let go of all: nobody is served."""
        self._taken = {}
        if self._hearts is not None:
            self._hearts.rest()

    def begin_anew(self) -> None:
        """Begin in a forked process, in which nobody is served."""
        self.rest()

    def tell_all(self) -> None:
        """Take the stacks of all requests now, and tell all that is known of them, on their spans."""
        now = monotonic_ns()
        requests = list(served)
        self._take_stacks([(each, age) for each in requests if (age := _age(each, now)) is not None], now)
        for request in requests:
            request.tell()

    def _take_stacks(self, due: list[tuple[Served, float]], now: int) -> None:
        found = stacks_of([request for request, _ in due])
        for request, age in due:
            told = code_attributes(found[request], self._limit)
            if told:
                leave_note(request, Seen(now, STACK, {**told, AFTER: round(age, 3)}))


def _age(request: Served, now: int) -> float | None:
    """Return for how many seconds a request has been served; None when its span does not tell."""
    span = request.span
    started = getattr(span, "start_time", None)
    return (now - started + offset_of(span)) / _SECOND if isinstance(started, int) else None

"""Event loops that do not come round: somebody blocks them, and all requests on them wait.

An event loop that has had a request runs a beat of ours every few milliseconds while the watch is awake. The beat goes
on between requests, since the next one may block the loop at once. When a beat is overdue, the watch reads the stack of
the thread that runs the loop: that is the line that blocks. The note at the request that it blocks for is left at once,
since that request may end before the loop comes round.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Mapping
from contextvars import Context
from time import monotonic_ns
from typing import Any, Final

from tracemw._otel.served import Served, leave_note
from tracemw._process.native import get_ident
from tracemw._watch.stack_text import code_attributes
from tracemw._watch.stacks import running_in
from tracemw._watch.thread_pool import PoolQueues

LOOK: Final = 0.05
"""Seconds between two looks at the beats."""
_BEAT: Final = 0.02
"""Seconds between two beats."""
_SUSPECT: Final = 50_000_000
"""Nanoseconds that a beat is overdue when the stack is read."""
_BLOCKED: Final = 100_000_000
"""Nanoseconds from which a loop counts as blocked."""

BLOCKED: Final = "tracemw.loop.blocked"
"""The event of a request that has blocked its event loop."""
WAITED: Final = "tracemw.loop.waited"
"""The event of a request whose event loop was blocked by somebody else."""
SECONDS: Final = "tracemw.seconds"
"""The attribute that says how long, on each event of time that belongs to nobody."""
BLOCKER: Final = "tracemw.loop.blocked_by"
"""The attribute that names the trace of the request that has blocked the loop."""


class Block:
    """One time for which an event loop was blocked. The end is known when the loop comes round."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.ended: int | None = None


class BlockNote:
    """What one request has to do with a block."""

    def __init__(self, block: Block, name: str, told: Mapping[str, Any]) -> None:
        self._block = block
        self._told = told
        self.at = block.at
        self.name = name

    def attributes(self, now: int) -> Mapping[str, Any] | None:
        lasted = (self._block.ended or now) - self.at
        return {**self._told, SECONDS: round(lasted / 1e9, 3)} if lasted > _BLOCKED else None


class Heart:
    """The beat of one event loop.

    Args:
        loop: The event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)
        self._due = 0
        self._beats = False
        self._goes_on = False
        self._thread: int | None = None
        self._block: Block | None = None
        self._pools = PoolQueues()

    def begin(self) -> None:
        """Have the loop beat, unless it does. The watch's thread calls this."""
        loop = self._loop()
        if self._goes_on or loop is None:
            return
        self._due, self._goes_on = monotonic_ns(), True
        if self._beats:  # no call since `_goes_on` is set: this beat goes on
            return
        self._beats = True
        try:
            loop.call_soon_threadsafe(self._beat, context=Context())
        except RuntimeError:  # the loop is closed
            self._beats = False

    def end(self) -> None:
        """Let the beat run out: the watch sleeps."""
        self._goes_on = False

    def look(self, requests: Iterable[Served], limit: int) -> None:
        """Find out who blocks the loop if its beat is overdue. The watch's thread calls this.

        Args:
            requests: The requests on the loop.
            limit: Bytes that a stack may take.
        """
        loop, due = self._loop(), self._due
        if not self._beats or self._block is not None or loop is None or not loop.is_running():
            return
        if monotonic_ns() - due < _SUSPECT:
            return
        owner, stack = running_in(loop, self._thread)
        self._block = block = Block(due)
        if self._due != due:  # the loop has come round meanwhile
            self._block = None
            return
        told = code_attributes([stack], limit)
        of_others = {name: value for name, value in told.items() if name != "code.stacktrace"}
        if owner is not None:
            leave_note(owner, BlockNote(block, BLOCKED, told))
            if owner.span is not None:
                of_others[BLOCKER] = owner.span.get_span_context().trace_id.to_bytes(16, "big").hex()
        for request in requests:
            if request is not owner:
                leave_note(request, BlockNote(block, WAITED, of_others))

    def _beat(self) -> None:
        now = monotonic_ns()
        block, self._block = self._block, None
        if block is not None:
            block.ended = now
        self._thread = get_ident()
        loop = self._loop()
        self._beats = self._goes_on and loop is not None
        if not self._beats or loop is None:
            self._pools.end()
            return
        self._due = now + int(_BEAT * 1e9)
        loop.call_later(_BEAT, self._beat, context=Context())
        self._pools.look(loop, now)


class Hearts:
    """The beats of all event loops that have requests, or have had some.

    Args:
        stacktrace_limit: Bytes that a stack may take.
    """

    def __init__(self, stacktrace_limit: int) -> None:
        self._limit = stacktrace_limit
        self._all: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Heart] = weakref.WeakKeyDictionary()

    def look(self, requests: Iterable[Served]) -> bool:
        """Look at each loop that has requests once. Return whether a loop is known."""
        by_loop: dict[asyncio.AbstractEventLoop, list[Served]] = {}
        for request in requests:
            if request.loop is not None:
                by_loop.setdefault(request.loop, []).append(request)
        for loop in by_loop:
            if loop not in self._all:
                self._all[loop] = Heart(loop)
        hearts = list(self._all.items())
        for loop, heart in hearts:
            heart.begin()
            if loop in by_loop:
                heart.look(by_loop[loop], self._limit)
        return bool(hearts)

    def rest(self) -> None:
        """Let all beats run out."""
        for heart in list(self._all.values()):
            heart.end()

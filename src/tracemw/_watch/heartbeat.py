"""Event loops that do not come round: somebody blocks them, and all requests on them wait.

An event loop that has had a request runs a beat of ours every few milliseconds while the watch is awake. The beat goes
on between requests, since the next one may block the loop at once. When a beat is overdue, the watch reads the stack of
the thread that runs the loop: that is the line that blocks. The note at the request that it blocks for is left at once,
since that request may end before the loop comes round.
"""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextvars import Context
from time import monotonic_ns
from typing import Any, Final

from tracemw._otel.served import Served, leave_note
from tracemw._process.native import get_ident, get_native_id
from tracemw._watch.run_queue import RunQueue
from tracemw._watch.stack_text import code_attributes
from tracemw._watch.stacks import running_in
from tracemw._watch.thread_pool import PoolQueues

LOOK: Final = 0.05
"""Seconds between two looks at the beats."""
_CLOSE_LOOK: Final = 0.01
"""Seconds between two looks while a loop is blocked: several requests may block it, one after another."""
_BEAT: Final = 0.02
"""Seconds between two beats."""
_SUSPECT: Final = 50_000_000
"""Nanoseconds that a beat is overdue when the stack is read."""
_BLOCKED: Final = 100_000_000
"""Nanoseconds from which a loop counts as blocked, or as starved."""

BLOCKED: Final = "tracemw.loop.blocked"
"""The event of a request that has blocked its event loop."""
WAITED: Final = "tracemw.loop.waited"
"""The event of a request whose event loop was blocked by somebody else."""
STARVED: Final = "tracemw.loop.starved"
"""The event of a request whose event loop had no processor."""
SECONDS: Final = "tracemw.seconds"
"""The attribute that says how long, on each event of time that belongs to nobody."""
WITHOUT_PROCESSOR: Final = "tracemw.loop.without_processor"
"""The attribute that says for how many of the seconds a blocked loop had no processor either."""
BLOCKER: Final = "tracemw.loop.blocked_by"
"""The attribute that names the trace of the request that has blocked the loop."""


class Block:
    """One time for which an event loop did not come round, because of one request, or of none.

    Args:
        at: The beginning, in nanoseconds of the monotonic clock.
        owner: The request that blocks the loop, if it is one.
        run_queue: The waits of the loop's thread for a processor.
        waited_before: What those had come to at the beginning.
    """

    def __init__(self, at: int, owner: Served | None, run_queue: RunQueue, waited_before: int) -> None:
        self.at = at
        self.owner = owner
        self.seen = at
        """When the watch has seen latest that the block goes on."""
        self._run_queue = run_queue
        self._waited_before = waited_before
        self._known: tuple[int, int] | None = None

    def end(self, at: int) -> None:
        """Note the end."""
        self._known = self.lasted(at)

    def lasted(self, now: int) -> tuple[int, int]:
        """Return how long the block has lasted, and for how long of that there was no processor, in nanoseconds."""
        if self._known is not None:
            return self._known
        lasted = now - self.at
        return lasted, min(max(self._run_queue.waited() - self._waited_before, 0), lasted)


class BlockNote:
    """What one request has to do with a block."""

    def __init__(self, block: Block, name: str, told: Mapping[str, Any]) -> None:
        self._block = block
        self._told = told
        self.at = block.at
        self.name = name

    def attributes(self, now: int) -> Mapping[str, Any] | None:
        lasted, starved = self._block.lasted(now)
        if lasted - starved <= _BLOCKED:  # whoever is on the stack just had no processor
            return None
        told = {**self._told, SECONDS: round(lasted / 1e9, 3)}
        if starved > _SUSPECT:
            told[WITHOUT_PROCESSOR] = round(starved / 1e9, 3)
        return told


class StarvedNote:
    """What one request has to do with a loop that had no processor."""

    name = STARVED

    def __init__(self, block: Block) -> None:
        self._block = block
        self.at = block.at

    def attributes(self, now: int) -> Mapping[str, Any] | None:
        lasted, starved = self._block.lasted(now)
        is_block = lasted - starved > _BLOCKED
        return None if is_block or starved <= _BLOCKED else {SECONDS: round(starved / 1e9, 3)}


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
        self._run_queue = RunQueue(0)
        """The waits of the loop's thread, which the first beat tells."""
        self._waited_before = 0
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

    def look(self, requests: Sequence[Served], limit: int) -> bool:
        """Find out who blocks the loop if its beat is overdue. The watch's thread calls this.

        Args:
            requests: The requests on the loop.
            limit: Bytes that a stack may take.

        Returns:
            Whether the beat is overdue.
        """
        loop, due, now = self._loop(), self._due, monotonic_ns()
        if not self._beats or loop is None or not loop.is_running():
            return False
        if now - due < _SUSPECT:
            self._waited_before = self._run_queue.waited()
            return False
        if not requests:
            return True
        owner, stack = running_in(loop, self._thread)
        latest = self._block
        if latest is None:
            block = Block(due, owner, self._run_queue, self._waited_before)
        elif owner is latest.owner:
            latest.seen = now
            return True
        else:  # the next one of those that run in the same turn
            latest.end(latest.seen)
            block = Block(now, owner, self._run_queue, self._run_queue.waited())
        self._block = block
        if self._due != due:  # the loop has come round meanwhile
            self._block = None
            return False
        told = code_attributes([stack], limit)
        of_others = {name: value for name, value in told.items() if name != "code.stacktrace"}
        if owner is not None:
            leave_note(owner, BlockNote(block, BLOCKED, told))
            leave_note(owner, StarvedNote(block))
            if owner.span is not None:
                of_others[BLOCKER] = owner.span.get_span_context().trace_id.to_bytes(16, "big").hex()
        for request in requests:
            if request is not owner:
                leave_note(request, BlockNote(block, WAITED, of_others))
                leave_note(request, StarvedNote(block))
        return True

    def _beat(self) -> None:
        now = monotonic_ns()
        block, self._block = self._block, None
        if block is not None:
            block.end(now)
        if self._thread is None:
            self._thread, self._run_queue = get_ident(), RunQueue(get_native_id())
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

    def look(self, requests: Iterable[Served]) -> float | None:
        """Look at each loop once. Return after how many seconds to look again; None when no loop is known."""
        by_loop: dict[asyncio.AbstractEventLoop, list[Served]] = {}
        for request in requests:
            if request.loop is not None:
                by_loop.setdefault(request.loop, []).append(request)
        for loop in by_loop:
            if loop not in self._all:
                self._all[loop] = Heart(loop)
        pause = None
        for loop, heart in list(self._all.items()):
            heart.begin()
            is_overdue = heart.look(by_loop.get(loop, ()), self._limit)
            pause = _CLOSE_LOOK if is_overdue or pause == _CLOSE_LOOK else LOOK
        return pause

    def rest(self) -> None:
        """Let all beats run out."""
        for heart in list(self._all.values()):
            heart.end()

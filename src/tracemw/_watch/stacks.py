"""The stacks of those who work for requests: threads, tasks down the chain of their awaits, and greenlets.

Nothing is noted while requests run well, so the workers are found when somebody asks. One of these holds for a worker:

* a frame of a door of ours is on its stack, and has the request's exchange
* it runs in a context of the request: a task knows its context, and thread pools have it in a variable

Greenlets and the tasks of trio cannot be found from another thread, so requests note theirs when they begin. WARNING:
to look for them among all objects of the garbage collector breaks the application. While `tuple(...)` is filled in
another thread, a second reference to the tuple makes that call fail with a SystemError.

All frames that are looked at may run on meanwhile. Each step that reads one is right at its moment.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import math
import sys
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import partial
from types import AsyncGeneratorType, BuiltinMethodType, CoroutineType, FrameType, GeneratorType
from typing import Any, Final, NamedTuple
from weakref import ref

from tracemw._otel.application import CodeLine, is_own
from tracemw._otel.context import exchange_within
from tracemw._otel.guard import guarded
from tracemw._otel.served import Served, served
from tracemw._process.native import get_ident

_DEEPEST: Final = 2000
"""Frames of one stack that are read."""
_MOST_LINES: Final = 3
_MOST_TASKS: Final = 100
"""Tasks of one request, under trio, that are looked at."""
_THREAD: Final = math.inf
_STEPS: Final = (CoroutineType, GeneratorType, AsyncGeneratorType)

# How thread pools call what they were given, by the name of the function: the variable that leads to the context.
_POOLS: Final = {
    "WorkerThread.run": "context",  # anyio
    "_WorkItem.run": "self",  # concurrent.futures, and asyncio.to_thread
    "SyncToAsync.thread_handler": "func",  # asgiref
    "to_thread_run_sync.<locals>.worker_fn": "context",  # trio
}


class Stack(NamedTuple):
    """Where one worker is, with the outermost line first; from the door on, if the worker came through it."""

    lines: list[CodeLine]
    is_through_the_door: bool
    order: float
    """Workers that tell more come later: tasks in the order in which they were made, as far as their names tell, and
    then threads."""


def stacks_of(requests: Collection[Served]) -> dict[Served, list[Stack]]:
    """Return the stacks of those who work for each of the requests. Those who tell most come last."""
    wanted = {id(each): each for each in requests}
    found: dict[Served, list[Stack]] = {each: [] for each in requests}
    running = {}
    for loop in {each.loop for each in requests if each.loop is not None}:
        for task in asyncio.all_tasks(loop):
            request, stack, frame = _of_task(task, wanted)
            if request is None:
                continue
            if asyncio.current_task(loop) is task and frame is not None:
                running[frame] = request  # its stack is that of the thread
            else:
                found[request].append(stack)
    for thread, innermost in sys._current_frames().items():  # noqa: SLF001  documented, whatever it is called
        # This thread may be a request's own: a signal handler has come here.
        top = _outside(innermost) if thread == get_ident() else innermost
        _add_owner(top, _THREAD, wanted, running, found)
    for request in requests:
        if not found[request] and request.worker is not None:
            _add_worker(request.worker(), wanted, running, found)
    for stacks in found.values():
        stacks.sort(key=lambda stack: (not stack.is_through_the_door, stack.order))
    return found


def worker_finder() -> Callable[[], ref[Any] | None] | None:
    """Return what finds the greenlet or the task of trio that runs now; None in a process that has neither."""
    trio = sys.modules.get("trio.lowlevel")
    has_greenlets = "gevent" in sys.modules or "eventlet" in sys.modules
    greenlets = sys.modules.get("greenlet") if has_greenlets else None
    if trio is None and greenlets is None:
        return None

    @guarded
    def find() -> ref[Any] | None:
        if trio is not None and trio.in_trio_task():
            return ref(trio.current_task())
        return None if greenlets is None else ref(greenlets.getcurrent())

    return find


def _add_worker(
    worker: Any,
    wanted: dict[int, Served],
    running: dict[FrameType, Served],
    found: dict[Served, list[Stack]],
) -> None:
    """Add the stacks of a greenlet, or of a task of trio and the tasks beneath it."""
    if worker is None or hasattr(worker, "gr_frame"):
        _add_owner(getattr(worker, "gr_frame", None), _THREAD, wanted, running, found)
        return
    waiting = deque([worker])
    for order in range(_MOST_TASKS):
        if not waiting:
            return
        task = waiting.popleft()
        if not getattr(task.coro, "cr_running", False):  # otherwise its stack is that of the thread
            request, stack, _ = _of_coroutine(task.coro, task.context, order, wanted)
            if request is not None:
                found[request].append(stack)
        waiting.extend(child for nursery in list(task.child_nurseries) for child in nursery.child_tasks)


def running_in(loop: asyncio.AbstractEventLoop, thread: int | None) -> tuple[Served | None, Stack]:
    """Return what an event loop runs now, and the request that it runs this for, if there is one.

    Args:
        loop: The event loop.
        thread: The thread that runs the loop; None when that is not known.
    """
    wanted = {id(each): each for each in list(served)}
    task = asyncio.current_task(loop)
    request, outermost = None, None
    if task is not None:
        request, _, outermost = _of_task(task, wanted)
    frames: list[FrameType] = []
    for number, innermost in sys._current_frames().items():  # noqa: SLF001
        if thread is None or number == thread:
            frames = list(_up(innermost))
            if number == thread or outermost in frames:
                break
            frames = []
    for depth, frame in enumerate(frames):
        owner = _owner_by(frame, frames[depth - 1] if depth else None, wanted)
        if owner is not None or (outermost is not None and frame is outermost):
            return owner or request, _stack(frames[: depth + 1], owner is not None, _THREAD)
    return request, _stack(frames, False, _THREAD)


def request_of_task(task: asyncio.Task[Any]) -> Served | None:
    """Return the request that a task works for, if it is being served."""
    context = _context_of(task)
    request: Any = None if context is None else exchange_within(context)
    return request if request in served else None


def request_of_work(work: object) -> Served | None:
    """Return the request that an executor's work is for, if it is being served, and if the work has its context."""
    context = _context_in(work)
    request: Any = None if context is None else exchange_within(context)
    return request if request in served else None


def lines_in_pools() -> list[str]:
    """Return the lines of the application at which threads of pools are now, the most frequent ones first."""
    lines: Counter[str] = Counter()
    for innermost in sys._current_frames().values():  # noqa: SLF001
        frames = list(_up(innermost))
        if any(frame.f_code.co_qualname in _POOLS for frame in frames):
            own = next((line for line in map(CodeLine.of, frames) if line.is_application), None)
            if own is not None:
                lines[f"{own.path}:{own.number} {own.function}"] += 1
    return [line for line, _ in lines.most_common(_MOST_LINES)]


def _add_owner(
    top: FrameType | None,
    order: float,
    wanted: dict[int, Served],
    running: dict[FrameType, Served],
    found: dict[Served, list[Stack]],
) -> None:
    """Find out for whom the stack that ends in `top` works, and add the stack to that request's."""
    frames: list[FrameType] = []
    for frame in _up(top):
        owner = running.get(frame) or _owner_by(frame, frames[-1] if frames else None, wanted)
        frames.append(frame)
        if owner is not None:
            found[owner].append(_stack(frames, is_own(frame.f_code.co_filename), order))
            return


def _of_task(task: asyncio.Task[Any], wanted: dict[int, Served]) -> tuple[Served | None, Stack, FrameType | None]:
    """Return the request that a task works for, its stack, and its outermost frame."""
    kind, _, number = task.get_name().partition("-")
    order = int(number) if kind == "Task" and number.isdecimal() else 0
    return _of_coroutine(task.get_coro(), _context_of(task), order, wanted)


def _of_coroutine(
    coroutine: Any, context: contextvars.Context | None, order: float, wanted: dict[int, Served]
) -> tuple[Served | None, Stack, FrameType | None]:
    """Return the request that a task's coroutine works for, its stack, and its outermost frame."""
    frames = list(_down(coroutine))[::-1]
    for depth, frame in enumerate(frames):
        owner = _owner_by(frame, None, wanted)
        if owner is not None:
            return owner, _stack(frames[: depth + 1], True, order), frames[-1]
    request = None if context is None else wanted.get(id(exchange_within(context)))
    return request, _stack(frames, False, order), frames[-1] if frames else None


def _context_of(task: asyncio.Task[Any]) -> contextvars.Context | None:
    """Return the context of a task, which has it in C, and has no public name for it before Python 3.12."""
    found = (each for each in gc.get_referents(task) if type(each) is contextvars.Context)
    return next(found, None)


def _owner_by(frame: FrameType, inner: FrameType | None, wanted: dict[int, Served]) -> Served | None:
    """Return the request that a frame has in its hands: it is a door's, or a thread pool's."""
    code = frame.f_code
    if is_own(code.co_filename):
        known = frame.f_locals
        return wanted.get(id(known.get("exchange"))) or wanted.get(id(known.get("self")))
    variable = _POOLS.get(code.co_qualname)
    # A thread that has nothing to do still has the variables of its last work, and waits for its queue.
    if variable is None or (inner is not None and inner.f_code.co_qualname == "Queue.get"):
        return None
    context = _context_in(frame.f_locals.get(variable))
    return None if context is None else wanted.get(id(exchange_within(context)))


def _context_in(value: Any) -> contextvars.Context | None:
    """Return the context that a value is, or that a function calls another one in."""
    if not isinstance(value, (contextvars.Context, BuiltinMethodType, partial)):
        # A work item of `concurrent.futures`: up to Python 3.13 with its function, then with all that is called.
        value = getattr(value, "fn", None) or (getattr(value, "task", None) or (None,))[0]
    if isinstance(value, partial):
        value = value.func
    if isinstance(value, BuiltinMethodType):
        value = value.__self__
    return value if isinstance(value, contextvars.Context) else None


def _up(frame: FrameType | None) -> Iterator[FrameType]:
    """Yield the frames of a stack, with the innermost first."""
    for _ in range(_DEEPEST):
        if frame is None:
            return
        yield frame
        frame = frame.f_back


def _outside(frame: FrameType | None) -> FrameType | None:
    """Return the innermost frame that has called tracemw."""
    while frame is not None and is_own(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def _down(awaited: Any) -> Iterator[FrameType]:
    """Yield the frames of a coroutine, down the chain of awaits, with the outermost first."""
    for _ in range(_DEEPEST):
        if isinstance(awaited, CoroutineType):
            frame, awaited = awaited.cr_frame, awaited.cr_await
        elif isinstance(awaited, GeneratorType):
            frame, awaited = awaited.gi_frame, awaited.gi_yieldfrom
        elif isinstance(awaited, AsyncGeneratorType):
            frame, awaited = awaited.ag_frame, awaited.ag_await
        else:
            # The step of an asynchronous generator, and what `__await__` of a coroutine gives, have no name for it.
            awaited = next((each for each in gc.get_referents(awaited) if isinstance(each, _STEPS)), None)
            if awaited is None:
                return
            continue
        if frame is not None:
            yield frame


def _stack(frames: Iterable[FrameType], is_through_the_door: bool, order: float) -> Stack:
    """Return a stack whose innermost frame comes first, without the frames of tracemw."""
    lines = [CodeLine.of(frame) for frame in frames if not is_own(frame.f_code.co_filename)]
    return Stack(lines[::-1], is_through_the_door, order)

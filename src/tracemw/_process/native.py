"""Threads, locks, queues and sockets of the operating system, whatever gevent or eventlet puts in their place.

A monkey patch replaces what the standard library's modules hold, before tracemw is imported, or later: gunicorn's
gevent workers patch after the fork, when `init` has long been called. So tracemw's own thread and everything that it
waits for are bound once, here, and all are of the operating system's kind. They do without the event loop of greenlets,
which the application may keep busy, and which does not run while a signal is handled.

Bound from modules written in C that no patch touches, and what gevent and eventlet do replace there, they give back.
"""

from __future__ import annotations

import os
import sys
import time
import weakref
from _queue import Empty, SimpleQueue
from _socket import getaddrinfo
from _socket import socket as Socket  # noqa: N812  a class, which C spells like its module
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _thread import LockType
    from collections.abc import Callable

    Lock = LockType

__all__ = [
    "Empty",
    "SimpleQueue",
    "Socket",
    "Thread",
    "get_ident",
    "getaddrinfo",
    "make_lock",
    "sleep",
    "wait_for",
]


def _original(module: str, name: str) -> Any:
    """Return what a module of the standard library held before it was patched, if it was."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched(module):
        return gevent.get_original(module, name)
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return getattr(eventlet.original(module), name)
    return getattr(import_module(module), name)


_start: Final[Callable[..., int]] = _original("_thread", "start_new_thread")
_own: Final[Any] = _original("_thread", "_local")()
get_ident: Final[Callable[[], int]] = _original("_thread", "get_ident")
make_lock: Final[Callable[[], Lock]] = _original("_thread", "allocate_lock")
sleep: Final[Callable[[float], None]] = _original("time", "sleep")

_SHORTEST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.02


def is_about_to_fork() -> bool:
    """Tell whether this is uWSGI's process before it forks its workers.

    A thread that holds the interpreter at that moment, of which nothing is left in a worker, would hold it there for
    ever: Python's own forks see to that, and those in C do not.
    """
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return False
    return not uwsgi.worker_id() and uwsgi.masterpid() in (0, os.getpid())


def is_without_threads() -> bool:
    """Tell whether uWSGI holds the interpreter all the time, so that a thread waits for ever, or nearly so."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return False
    off = (b"false", b"0", b"no", b"off")
    return not uwsgi.opt.get("threads") and uwsgi.opt.get("enable-threads", off[0]) in off


class Thread:
    """A thread of the operating system, which does not keep the interpreter from its end.

    Args:
        run: What it runs.
        *arguments: What `run` is called with.

    Raises:
        RuntimeError: when the interpreter takes no new threads, or must not have any.
    """

    def __init__(self, run: Callable[..., object], *arguments: object) -> None:
        # The thread's own data goes with the last that the interpreter knows of it, and that with no step in Python.
        if is_about_to_fork():
            raise RuntimeError("no thread is started before uWSGI forks")
        if is_without_threads():
            raise RuntimeError("uWSGI runs no threads")
        self._gone: SimpleQueue[object] = SimpleQueue()
        self._data: weakref.ref[_Data] | None = None
        _start(self._run, (run, arguments))

    def _run(self, run: Callable[..., object], arguments: tuple[object, ...]) -> None:
        _own.data = data = _Data()
        self._data = weakref.ref(data, self._gone.put)
        del data
        run(*arguments)

    def join(self, timeout: float) -> None:
        """Wait until it is gone, at most `timeout` seconds: a subinterpreter cannot end beside a thread."""
        with suppress(Empty):
            self._gone.get(timeout=timeout)


class _Data:
    """Lives as long as a thread does."""


def wait_for(lock: Lock, timeout: float) -> bool:
    """Acquire a lock that a thread of ours releases; tell whether that was so within `timeout` seconds.

    Where threads are greenlets, the others run on meanwhile.
    """
    if time.sleep is sleep:
        return lock.acquire(timeout=timeout)
    until, pause = time.monotonic() + timeout, _SHORTEST_PAUSE
    while not lock.acquire(blocking=False):
        left = until - time.monotonic()
        if left <= 0:
            return False
        try:
            time.sleep(min(pause, left))
        except Exception:  # within the event loop itself, as a signal's handler may be: there, nothing else can run
            return lock.acquire(timeout=left)
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True

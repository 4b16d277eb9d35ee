"""Threads, locks, queues and sockets of the operating system, also beneath gevent and eventlet.

A monkey patch replaces these in the standard library's modules, before tracemw is imported or later. gunicorn's gevent
workers patch after the fork, long after `init`. So this module binds once all that tracemw's own thread runs on and
waits for, and all of it is the operating system's. The thread needs no event loop of greenlets: the application may
keep that loop busy, and it does not run while a signal is handled.

Most names come from modules in C that no patch touches. For the others, gevent and eventlet give the original back.
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
    "get_native_id",
    "getaddrinfo",
    "make_lock",
    "make_taken_lock",
    "sleep",
    "wait_for",
]


def _original(module: str, name: str) -> Any:
    """Return what a module of the standard library holds, or held before a patch."""
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    if gevent is not None and gevent.is_module_patched(module):
        return gevent.get_original(module, name)
    if eventlet is not None and eventlet.is_monkey_patched("thread"):
        return getattr(eventlet.original(module), name)
    return getattr(import_module(module), name)


_start: Final[Callable[..., int]] = _original("_thread", "start_new_thread")
_own: Final[Any] = _original("_thread", "_local")()
get_ident: Final[Callable[[], int]] = _original("_thread", "get_ident")
get_native_id: Final[Callable[[], int]] = _original("_thread", "get_native_id")
make_lock: Final[Callable[[], Lock]] = _original("_thread", "allocate_lock")
sleep: Final[Callable[[float], None]] = _original("time", "sleep")

_SHORTEST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.02


def is_about_to_fork() -> bool:
    """Tell whether this is uWSGI's process before it forks its workers.

    No thread may be started now. At the fork it might hold the interpreter's lock. A worker does not have the thread,
    so the lock would stay taken there for ever. Python's own forks prevent that, and forks in C do not.
    """
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return False
    return not uwsgi.worker_id() and uwsgi.masterpid() in (0, os.getpid())


def is_without_threads() -> bool:
    """Tell whether uWSGI runs without threads: it holds the interpreter's lock, and a thread hardly ever runs."""
    uwsgi: Any = sys.modules.get("uwsgi")
    if uwsgi is None:
        return False
    off = (b"false", b"0", b"no", b"off")
    return not uwsgi.opt.get("threads") and uwsgi.opt.get("enable-threads", off[0]) in off


def make_taken_lock() -> Lock:
    """Return a lock that somebody waits for, and that somebody else releases."""
    lock = make_lock()
    lock.acquire()
    return lock


class Thread:
    """A thread of the operating system. The interpreter may end while the thread runs.

    Args:
        run: The function that the thread runs.
        *arguments: The arguments of `run`.

    Raises:
        RuntimeError: when the interpreter takes no new threads, or must not have any.
    """

    def __init__(self, run: Callable[..., object], *arguments: object) -> None:
        # `join` waits until the thread's own data is freed. The interpreter frees that last, and runs no Python code
        # in the thread afterwards.
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
        """Wait until the thread is gone, at most `timeout` seconds. A subinterpreter cannot end before its threads."""
        with suppress(Empty):
            self._gone.get(timeout=timeout)


class _Data:
    """A thread's own data. It lives as long as the thread."""


def wait_for(lock: Lock, timeout: float) -> bool:
    """Acquire a lock that a thread of ours releases. Return whether that succeeded within `timeout` seconds.

    Where threads are greenlets, the other greenlets run on meanwhile.
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
        except Exception:  # a signal handler may run within the event loop itself, where no other greenlet can run
            return lock.acquire(timeout=left)
        pause = min(pause * 2, _LONGEST_PAUSE)
    return True

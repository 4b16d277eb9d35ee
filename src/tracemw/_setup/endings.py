"""The ways in which a process ends: atexit, signals, gunicorn's workers, children of a fork. Tracing ends first."""

from __future__ import annotations

import atexit
import inspect
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import FrameType
from typing import Any, Final, Protocol

from tracemw._process.forks import begin_anew_with

PROCESS_EXIT: Final = "process_exit"
"""`error.type` of spans that are open when the process ends by itself. Spans that a signal ends have its name."""

Handler = Callable[[int, FrameType | None], object]


class End(Protocol):
    """Shuts tracing down. It may be called more than once: the ways to end overlap."""

    def __call__(self, why: str = PROCESS_EXIT, /) -> object:
        """Shut down, because of `why`."""


class Endings:
    """Calls `end` at the end of this process, and of each process that forks from it.

    Args:
        end: What to call.
    """

    def __init__(self, end: End) -> None:
        self._end = end

    def register(self) -> None:
        """Register for all ways to end. Once in a process is enough."""
        atexit.register(self._end)
        self.handle_signals()
        if "gunicorn.config" in sys.modules:
            with suppress(Exception):  # an unknown version of gunicorn may differ
                self._handle_signals_in_gunicorn()
        self._end_with_children()  # for a child that calls `init` itself
        begin_anew_with(self._end_with_children)

    def handle_signals(self) -> None:
        """Handle SIGTERM and SIGABRT, where that takes nothing from anybody.

        An application or server that handles SIGTERM keeps the signal: it finishes its requests. gunicorn sends SIGABRT
        to a worker that takes too long. The handler of SIGABRT ends the process at once, so `end` is called before it.
        """
        self._handle_signal(signal.SIGTERM)
        handler = signal.getsignal(signal.SIGABRT)
        if callable(handler) and not isinstance(handler, _SignalHandler):
            self._handle_signal(signal.SIGABRT, handler)
        elif not _has_faulthandler():  # it shows where every thread was; `getsignal` does not know its handler
            self._handle_signal(signal.SIGABRT)

    def _handle_signal(self, number: signal.Signals, then: Handler | None = None) -> None:
        if then is not None or signal.getsignal(number) is signal.SIG_DFL:
            with suppress(ValueError):  # only the main thread of the main interpreter may
                signal.signal(number, _SignalHandler(self._end, then))

    def _handle_signals_in_gunicorn(self) -> None:
        """Have the workers that gunicorn forks later handle the signals, once they have set up their own handlers."""
        frame = inspect.currentframe()
        config: Any = None
        while frame is not None and type(config).__module__ != "gunicorn.config":
            config = getattr(frame.f_locals.get("self"), "cfg", None)
            frame = frame.f_back
        if type(config).__module__ != "gunicorn.config":
            return
        hook = config.post_worker_init

        def post_worker_init(worker: object) -> None:
            self.handle_signals()
            hook(worker)

        config.set("post_worker_init", post_worker_init)

    def _end_with_children(self) -> None:
        """Register for the end of children of multiprocessing, billiard and Celery. atexit does nothing in them."""
        self._end_with_multiprocessing()
        self._end_with_celery()

    def _end_with_multiprocessing(self) -> None:
        if "billiard" in sys.modules:  # billiard uses multiprocessing's module, and loads it only in its children
            import_module("multiprocessing.util")
        util = sys.modules.get("multiprocessing.util")
        if util is None:
            return

        def register(endings: Endings) -> None:
            util.Finalize(None, endings._end, exitpriority=-100)  # after everybody else

        register(self)
        util.register_after_fork(self, register)  # a child first forgets what was registered, and then calls this

    def _end_with_celery(self) -> None:
        signals = sys.modules.get("celery.signals")
        if signals is not None:
            # A process of Celery's pool begins without signal handlers, and SIGTERM may stop it.
            signals.worker_process_init.connect(self._on_begin_of_worker, dispatch_uid="tracemw")
            # Celery sends this last, before `os._exit`.
            signals.worker_process_shutdown.connect(self._on_end_of_worker, dispatch_uid="tracemw")

    def _on_begin_of_worker(self, **_: object) -> None:
        self.handle_signals()

    def _on_end_of_worker(self, **_: object) -> None:
        self._end()


class _SignalHandler:
    """The handler of a signal that ends the process.

    Args:
        end: What to call first.
        then: Who handles the signal afterwards; None when the signal ends the process by itself.
    """

    def __init__(self, end: End, then: Handler | None) -> None:
        self._end = end
        self._then = then

    def __call__(self, number: int, frame: FrameType | None) -> None:
        try:
            self._end(signal.Signals(number).name)
        finally:  # a meter provider's exporter may raise, and yet the process ends
            if self._then is not None:
                self._then(number, frame)
            else:
                signal.signal(number, signal.SIG_DFL)
                os.kill(os.getpid(), number)


def _has_faulthandler() -> bool:
    try:
        import faulthandler
    except ImportError:  # subinterpreters cannot load it
        return False
    return faulthandler.is_enabled()

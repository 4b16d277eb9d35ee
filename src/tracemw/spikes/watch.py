"""The thread that reads the control file, off the request's path."""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tracemw._otel.guard import fault
from tracemw._process.forks import begin_anew_with
from tracemw._process.log import escaped
from tracemw._process.native import Thread, make_lock
from tracemw.spikes.control_file import has_folder, read_content
from tracemw.spikes.document import ControlError, parse
from tracemw.spikes.terms import Spike

if TYPE_CHECKING:
    from tracemw._process.native import Lock

_logger = logging.getLogger("tracemw")

_BETWEEN_LOOKS: Final = 0.5


class ControlFileWatch:
    """A thread that reads a control file when it has changed, in this process and in each that forks from it.

    A file that cannot be used changes nothing, and the log says so once. The watch reads such a file again: once
    somebody sets the clock right, `until` may be acceptable. The thread ends before a fork and begins again after it,
    since the child of a process with threads may lock up.

    Args:
        file: The control file, which need not exist.
        take: Called from the thread with the spikes that have not ended, whenever the file has changed.
        poll: Seconds between two looks at the file.
    """

    def __init__(
        self, file: Path, take: Callable[[tuple[Spike, ...]], object], *, poll: float = _BETWEEN_LOOKS
    ) -> None:
        self._file = file
        self._take = take
        self._poll = poll
        self._seen: object = None
        self._reported: object = None
        self._active = True
        self._running: list[tuple[Thread, Lock]] = []
        """The thread, and the lock whose release ends it."""
        self._unclaimed = [True]
        """Whoever takes the item starts the thread. Several threads may fork at once, and one of them does."""
        if not has_folder(file):
            _logger.warning(
                "no spike can come from %s, whose folder does not exist: make the folder, or correct "
                "TRACEMW_CONTROL_FILE",
                escaped(str(file)),
            )
        this = weakref.ref(self)

        def before() -> None:
            if (watch := this()) is not None:
                watch._pause()  # noqa: SLF001  its own class

        def after_in_parent() -> None:
            if (watch := this()) is not None:
                watch._start()  # noqa: SLF001

        os.register_at_fork(before=before, after_in_parent=after_in_parent)
        begin_anew_with(self._start_in_child)
        self._start()

    def stop(self, timeout: float = 1.0) -> None:
        """End the thread, and wait for that, at most `timeout` seconds. Active spikes go on to their ends."""
        self._active = False
        self._pause(timeout)

    def _start(self) -> None:
        if not self._active:
            return
        try:
            self._unclaimed.pop()
        except IndexError:  # the thread runs already
            return
        # A lock, not an event: a signal handler may interrupt code that is just setting the event.
        ending = make_lock()
        ending.acquire()
        try:
            thread = Thread(self._run, ending)
        except RuntimeError:  # the interpreter is shutting down and takes no new threads
            self._unclaimed.append(True)
            return
        self._running.append((thread, ending))

    def _start_in_child(self) -> None:
        self._running, self._unclaimed = [], [True]  # the parent's thread is not in this process
        self._start()

    def _pause(self, timeout: float = 1.0) -> None:
        while self._running:
            try:
                thread, ending = self._running.pop()
            except IndexError:  # another thread was faster
                return
            ending.release()
            thread.join(timeout)  # this takes long only when the file system hangs
            self._unclaimed.append(True)

    def _run(self, ending: Lock) -> None:
        while True:
            try:
                self._look()
            except Exception as error:
                fault("ControlFileWatch", error)
            if ending.acquire(timeout=self._poll):
                return

    def _look(self) -> None:
        content = b""
        try:
            found = self._file.stat()
            seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            if seen == self._seen:
                return
            content = read_content(self._file)
            spikes = parse(content, time.time())
            self._seen = seen  # not before: the file may be acceptable once the clock is set right
        except FileNotFoundError:
            if self._seen is None:
                return
            self._seen, spikes = None, ()
        except (OSError, ControlError) as error:
            reason = f"the file cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            if self._reported != (reason, content):
                self._reported = (reason, content)
                _logger.warning(
                    "the control file %s is ignored, and sampling goes on as before: %s. "
                    "`tracemw spike` writes such files, `tracemw spike --status` checks one",
                    escaped(str(self._file)),
                    escaped(reason),
                )
            return
        self._reported = None
        self._take(spikes)

"""The control file: spikes that every process which reads it shares.

The file is JSON: `{"version": 1, "spikes": [{"ratio": 1.0, "path": "POST /checkout/*", "until": 1763720000.0}]}`,
where `until` is in seconds since the epoch, by the clock of the machine that reads it, and `path` may be left out.
`tracemw spike` writes it, by renaming a complete file into place, and a `Watch` in each process reads it, off the
request's path. Writers take turns by a lock on the folder, since the file itself is replaced. A link is followed within
its folder, as a mounted ConfigMap needs it, and not out of it: who may write there should reach no other file.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import math
import os
import stat
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tracemw._otel.guard import fault
from tracemw._process.forks import begin_anew_with
from tracemw._process.native import Thread, make_lock
from tracemw.config.parsers import to_ratio
from tracemw.config.patterns import RequestPattern

if TYPE_CHECKING:
    from tracemw._process.native import Lock

_logger = logging.getLogger("tracemw")

VERSION: Final = 1
LONGEST: Final = 24 * 3600.0
"""Seconds that a spike lasts at most."""

MOST_SPIKES: Final = 20
"""Spikes that may be active at once: each of them is looked at when a trace begins."""

POLL: Final = 0.5
"""Seconds between two looks at the file."""

_MOST_BYTES: Final = 65_536
_SKEW: Final = 60.0
"""Seconds that the clocks of the machine that writes and of the one that reads may differ."""

_LONGEST_TURN: Final = 10.0
"""Seconds that a writer waits for the others; each takes milliseconds."""

_LOOK_FOR_TURN: Final = 0.01


class ControlError(Exception):
    """The control file cannot be what it is, or cannot be written."""


@dataclass(frozen=True, kw_only=True)
class Spike:
    """More sampling, for a while.

    Raises:
        ValueError: for a value that is not accepted; it names the value and what is.
        TypeError: for one of the wrong type.
    """

    ratio: float
    """The share of new traces to sample, above 0 and at most 1."""

    path: str | None = None
    """Which requests it applies to, as `RequestPattern` says; None is every new trace."""

    until: float
    """The end, in seconds since the epoch."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "ratio", to_ratio("ratio", self.ratio))
        if self.ratio == 0.0:
            raise ValueError("ratio=0 is not accepted: a spike only raises sampling, so above 0 and at most 1")
        if self.path is not None:
            RequestPattern(self.path)
        if not _is_number(self.until):
            raise ValueError(f"until={self.until!r} is not accepted: a number of seconds since the epoch")


def printable(text: str) -> str:
    """Return a text as a terminal or a log can bear it: what is not printable is escaped, as in a string of Python."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def require_duration(seconds: float, said: str | None = None) -> float:
    """Return the seconds that a spike is to last, when it may; `said` is how the user has put it.

    Raises:
        ValueError: when it may not.
    """
    if not _is_number(seconds) or not 0 < seconds <= LONGEST:
        said = said or f"{seconds!r} seconds"
        raise ValueError(f"a spike lasts more than 0 seconds and at most 24 hours, not {said}")
    return float(seconds)


def read(file: Path) -> tuple[Spike, ...]:
    """Return the spikes in a control file that have not ended; none when there is no file in its folder.

    Raises:
        ControlError: when it is no control file, or cannot be read.
    """
    try:
        content = _content(file)
    except FileNotFoundError:
        if not has_folder(file):
            raise ControlError("its folder must be there, and is not") from None
        return ()
    except OSError as error:
        raise ControlError(f"it cannot be read: {error.strerror}") from None
    try:
        return parse(content, time.time())
    except ControlError as error:
        raise ControlError(f"{error}; delete it if it is to be a control file, else name another") from None


def has_folder(file: Path) -> bool:
    """Tell whether the folder of a control file is there: there need not be a file yet."""
    return file.parent.is_dir()


def parse(content: bytes, now: float) -> tuple[Spike, ...]:
    """Return the spikes in the content of a control file that have not ended at `now`; none in an empty one.

    Raises:
        ControlError: when it is no such content; it says why.
    """
    if len(content) > _MOST_BYTES:
        raise ControlError(f"it is larger than {_MOST_BYTES} bytes")
    if not content.strip():
        return ()
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"it is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ControlError(f'it does not say "version": {VERSION}')
    _require_keys(document, {"version", "spikes"}, {"version", "spikes"})
    entries = document["spikes"]
    if not isinstance(entries, list):
        raise ControlError('"spikes" is not a list')
    spikes = tuple(spike for spike in map(_spike, entries) if spike.until > now)
    for spike in spikes:
        if spike.until > now + LONGEST + _SKEW:
            raise ControlError(f'"until": {spike.until} is more than 24 hours away, and no spike lasts longer')
    if len(spikes) > MOST_SPIKES:
        raise ControlError(f"it has more than {MOST_SPIKES} spikes")
    return spikes


def _spike(entry: Any) -> Spike:
    if not isinstance(entry, dict):
        raise ControlError(f"{entry!r} is not a spike")
    _require_keys(entry, {"ratio", "path", "until"}, {"ratio", "until"})
    if isinstance(entry["ratio"], str):
        raise ControlError(f'"ratio": {json.dumps(entry["ratio"])} is not a number')
    try:
        return Spike(**entry)
    except (ValueError, TypeError, OverflowError) as error:
        raise ControlError(str(error)) from None


def _require_keys(entry: dict[str, Any], known: set[str], needed: set[str]) -> None:
    # A key that is misspelt must not make a spike of one path a spike of all.
    if unknown := sorted(entry.keys() - known):
        raise ControlError(f'it has an unknown key, "{unknown[0]}"')
    if missing := sorted(needed - entry.keys()):
        raise ControlError(f'it lacks "{missing[0]}"')


def _content(file: Path) -> bytes:
    found = _within_folder(file)
    try:
        return _content_of(found)
    except FileNotFoundError:
        if found == (found := _within_folder(file)):
            raise
        return _content_of(found)  # the links lead elsewhere by now, as when a ConfigMap is replaced


def _content_of(found: Path) -> bytes:
    if not stat.S_ISREG(found.stat().st_mode):  # to open a pipe would wait for its writer
        raise ControlError("it is not a file")
    with os.fdopen(os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as opened:
        return opened.read(_MOST_BYTES + 1)


def _within_folder(file: Path) -> Path:
    """Return where the links of a control file lead.

    Raises:
        ControlError: when that is out of its folder.
    """
    folder, found = Path(os.path.realpath(file.parent)), Path(os.path.realpath(file))
    if not found.is_relative_to(folder):
        raise ControlError("it is a link out of its folder, which is not followed: name the file that it leads to")
    return found


def add(file: Path, spike: Spike) -> None:
    """Put a spike in a control file; it takes the place of one with the same path.

    Raises:
        ControlError: when the file is no control file, or cannot be written.
    """
    with _turn_at(file):
        _write(file, (*(other for other in read(file) if other.path != spike.path), spike))


def remove(file: Path, path: str | None = None) -> tuple[Spike, ...]:
    """Take the spike of a path, or all without one, out of a control file, and return what was taken.

    Raises:
        ControlError: when the file is no control file, or cannot be written.
    """
    with _turn_at(file):
        spikes = read(file)
        ended = tuple(spike for spike in spikes if path in (None, spike.path))
        if ended:
            _write(file, (spike for spike in spikes if spike not in ended))
        return ended


@contextmanager
def _turn_at(file: Path) -> Iterator[None]:
    """Keep other writers of a control file out for the length of the block.

    Raises:
        ControlError: when one of them does not come to its end.
    """
    if not has_folder(file):
        raise ControlError("its folder must be there, and is not")
    handle = _lock(_within_folder(file))
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)  # and with it goes the lock


def _lock(file: Path) -> int | None:
    """Return the open file that holds the lock; None where the file system knows no locks."""
    # The folder of a network file system cannot be locked, for which it would have to be open for writing.
    beside = file.with_name(f".{file.name}.lock")
    for path, flags in ((file.parent, os.O_RDONLY | os.O_DIRECTORY), (beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)):
        try:
            handle = os.open(path, flags | os.O_CLOEXEC, 0o666)
        except OSError:  # a folder that may not be listed, or takes no new files: what follows says so if it matters
            continue
        try:
            _wait_for_lock(handle)
        except OSError:
            os.close(handle)
        except BaseException:
            os.close(handle)
            raise
        else:
            return handle
    return None


def _wait_for_lock(handle: int) -> None:
    give_up_at = time.monotonic() + _LONGEST_TURN
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        else:
            return
        if time.monotonic() >= give_up_at:
            raise ControlError(
                f"another process has held its lock for {_LONGEST_TURN:g} seconds; `lslocks` or `lsof` names that one"
            )
        time.sleep(_LOOK_FOR_TURN)


def _write(file: Path, spikes: Iterable[Spike]) -> None:
    entries = [{key: value for key, value in asdict(spike).items() if value is not None} for spike in spikes]
    if len(entries) > MOST_SPIKES:
        raise ControlError(f"it has {MOST_SPIKES} spikes already: end them, or wait for an end")
    file = _within_folder(file)  # to rename over a link would part it from what it links to
    try:
        before = file.stat() if file.exists() else None
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                json.dump({"version": VERSION, "spikes": entries}, opened, indent=1)
                opened.write("\n")
                _make_like(opened.fileno(), before)
            Path(temporary).replace(file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ControlError(
            f"it cannot be written: {error.strerror}; its folder must be there and take new files"
        ) from None


def _make_like(handle: int, before: os.stat_result | None) -> None:
    """Give a new file the owner, group and mode of the one whose place it takes, as far as that is allowed."""
    if before is None:
        os.fchmod(handle, 0o644)  # whatever the umask: the services run as other users
        return
    for owner, group in ((-1, before.st_gid), (before.st_uid, -1)):
        try:
            os.fchown(handle, owner, group)
        except PermissionError:  # for root, and for members of the group
            pass
    os.fchmod(handle, stat.S_IMODE(before.st_mode))


class Watch:
    """A thread that reads a control file when it has changed, in this process and in each that forks from it.

    A file that is no control file changes nothing, and is logged once; it is looked at again, since a clock that is set
    right may make one of it. The thread ends before a fork and begins again after it: a process that has a thread at
    its fork is one in which the child may lock up.

    Args:
        file: The control file; there need not be one.
        take: Called from the thread with the spikes that have not ended, whenever the file has changed.
    """

    def __init__(self, file: Path, take: Callable[[tuple[Spike, ...]], object]) -> None:
        self._file = file
        self._take = take
        self._seen: object = None
        self._reported: object = None
        self._active = True
        self._running: list[tuple[Thread, Lock]] = []
        """The thread, and what it ends by when it is released."""
        self._unclaimed = [True]
        """Taken by whoever starts the thread: of several that have forked at once, one."""
        if not has_folder(file):
            _logger.warning(
                "no spike can come from %s, whose folder is not there: make it, or correct TRACEMW_CONTROL_FILE",
                printable(str(file)),
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
        """End the thread, and wait `timeout` seconds for it; spikes that it has handed out go on to their ends."""
        self._active = False
        self._pause(timeout)

    def _start(self) -> None:
        if not self._active:
            return
        try:
            self._unclaimed.pop()
        except IndexError:  # it runs
            return
        # A lock, not an event, which a signal handler might set while the interrupted code does.
        ending = make_lock()
        ending.acquire()
        try:
            thread = Thread(self._run, ending)
        except RuntimeError:  # the interpreter is shutting down and takes no new threads
            self._unclaimed.append(True)
            return
        self._running.append((thread, ending))

    def _start_in_child(self) -> None:
        self._running, self._unclaimed = [], [True]  # another fork's may have been running
        self._start()

    def _pause(self, timeout: float = 1.0) -> None:
        while self._running:
            try:
                thread, ending = self._running.pop()
            except IndexError:  # another thread was faster
                return
            ending.release()
            thread.join(timeout)  # in vain only when the file system hangs
            self._unclaimed.append(True)

    def _run(self, ending: Lock) -> None:
        while True:
            try:
                self._look()
            except Exception as error:
                fault("Watch", error)
            if ending.acquire(timeout=POLL):
                return

    def _look(self) -> None:
        content = b""
        try:
            found = self._file.stat()
            seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            if seen == self._seen:
                return
            content = _content(self._file)
            spikes = parse(content, time.time())
            self._seen = seen  # and not before: to a clock that is set right meanwhile, the file may be
        except FileNotFoundError:
            if self._seen is None:
                return
            self._seen, spikes = None, ()
        except (OSError, ControlError) as error:
            reason = f"it cannot be read: {error.strerror}" if isinstance(error, OSError) else str(error)
            if self._reported != (reason, content):
                self._reported = (reason, content)
                _logger.warning(
                    "the control file %s is left out, and sampling goes on as before: %s. "
                    "`tracemw spike` writes such files, `tracemw spike --status` checks one",
                    printable(str(self._file)),
                    printable(reason),
                )
            return
        self._reported = None
        self._take(spikes)

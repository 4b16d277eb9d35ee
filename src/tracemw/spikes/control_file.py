"""The control file, by which processes share spikes.

`tracemw spike` writes a complete new file and renames it into place. Writers take turns by a lock on the folder, since
the file itself is replaced. A link is followed within its folder, as a mounted ConfigMap needs it. A link out of the
folder is not followed: whoever may write to the folder should not reach other files.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tracemw.spikes.document import MOST_BYTES, ControlError, parse, render
from tracemw.spikes.terms import Spike

_LONGEST_TURN: Final = 10.0
"""Seconds that a writer waits for others. Each of them takes milliseconds."""

_LOOK_FOR_TURN: Final = 0.01
"""Seconds between two attempts to get the lock."""

_NO_FOLDER: Final = "its folder does not exist; make the folder first"


def read_spikes(file: Path) -> tuple[Spike, ...]:
    """Return the spikes in a control file that have not ended. None have, when the folder has no such file.

    Raises:
        ControlError: when the file is no control file, or cannot be read.
    """
    try:
        content = read_content(file)
    except FileNotFoundError:
        if not has_folder(file):
            raise ControlError(_NO_FOLDER) from None
        return ()
    except OSError as error:
        raise ControlError(f"the file cannot be read: {error.strerror}") from None
    try:
        return parse(content, time.time())
    except ControlError as error:
        raise ControlError(f"{error}; delete the file to start a new one, or name another") from None


def has_folder(file: Path) -> bool:
    """Tell whether the folder of a control file exists. The file itself need not exist yet."""
    return file.parent.is_dir()


def add_spike(file: Path, spike: Spike) -> None:
    """Put a spike in a control file, in place of one with the same path.

    Raises:
        ControlError: when the file is no control file, or cannot be written.
    """
    with _take_turn(file):
        _write(file, (*(other for other in read_spikes(file) if other.path != spike.path), spike))


def remove_spikes(file: Path, path: str | None = None) -> tuple[Spike, ...]:
    """Take the spike of a path out of a control file, or all spikes when `path` is None. Return what was taken.

    Raises:
        ControlError: when the file is no control file, or cannot be written.
    """
    with _take_turn(file):
        spikes = read_spikes(file)
        ended = tuple(spike for spike in spikes if path in (None, spike.path))
        if ended:
            _write(file, (spike for spike in spikes if spike not in ended))
        return ended


def read_content(file: Path) -> bytes:
    """Read a control file, up to one byte more than it may have.

    Raises:
        ControlError: when this is not a regular file, or is a link out of its folder.
        OSError: when the file cannot be read.
    """
    found = _follow_links(file)
    try:
        return _read(found)
    except FileNotFoundError:
        if found == (found := _follow_links(file)):
            raise
        return _read(found)  # the links lead elsewhere by now, as when a ConfigMap is replaced


def _read(found: Path) -> bytes:
    if not stat.S_ISREG(found.stat().st_mode):  # to open a pipe would wait for its writer
        raise ControlError("this is not a regular file")
    with os.fdopen(os.open(found, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as opened:
        return opened.read(MOST_BYTES + 1)


def _follow_links(file: Path) -> Path:
    """Return where the links of a control file lead.

    Raises:
        ControlError: when they lead out of its folder.
    """
    folder, found = Path(os.path.realpath(file.parent)), Path(os.path.realpath(file))
    if not found.is_relative_to(folder):
        raise ControlError("a link out of the folder is not followed; name the file that the link leads to")
    return found


@contextmanager
def _take_turn(file: Path) -> Iterator[None]:
    """Keep other writers of a control file out for the length of the block.

    Raises:
        ControlError: when there is no folder, or another writer does not come to its end.
    """
    if not has_folder(file):
        raise ControlError(_NO_FOLDER)
    handle = _lock(_follow_links(file))
    try:
        yield
    finally:
        if handle is not None:
            os.close(handle)  # the lock goes with it


def _lock(file: Path) -> int | None:
    """Return the open file that holds the lock. None where the file system knows no locks."""
    # A network file system locks only what is open for writing. A folder cannot be.
    beside = file.with_name(f".{file.name}.lock")
    for path, flags in ((file.parent, os.O_RDONLY | os.O_DIRECTORY), (beside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW)):
        try:
            handle = os.open(path, flags | os.O_CLOEXEC, 0o666)
        except OSError:  # the folder may not be listed, or takes no new files; if that matters, `_write` says so
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
                f"another process has held the lock for {_LONGEST_TURN:g} seconds; find it with `lslocks` or `lsof`"
            )
        time.sleep(_LOOK_FOR_TURN)


def _write(file: Path, spikes: Iterable[Spike]) -> None:
    text = render(spikes)
    file = _follow_links(file)  # to rename over a link would part it from what it links to
    try:
        before = file.stat() if file.exists() else None
        handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as opened:
                opened.write(text)
                _make_like(opened.fileno(), before)
            Path(temporary).replace(file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ControlError(
            f"the file cannot be written: {error.strerror}; let its folder exist, and take new files"
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

"""The process of a check is started, and its document taken."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tracemw.checking.problems import CheckError
from tracemw.checking.target import Target

_GRACE: Final = 30.0
"""Seconds that the process gets to start and to end, beside its own limit for the check."""


def report_of(target: str, *, app_dir: Path, factory: bool, lifespan: bool, timeout: float) -> dict[str, Any]:
    """Check an application in a process of its own, and return the document: see `problems.CheckReport`.

    What the application prints goes to the standard error.

    Args:
        target: `MODULE:APPLICATION`.
        app_dir: The directory that the module is found in.
        factory: Whether the name is a function that makes the application.
        lifespan: Whether to run the application's startup.
        timeout: Seconds that the check may take.

    Raises:
        CheckError: for an application that cannot be imported, or takes too long.
    """
    Target.parse(target, factory=factory)
    order = {
        "target": target,
        "app_dir": str(app_dir.resolve()),
        "factory": factory,
        "lifespan": lifespan,
        "timeout": timeout,
    }
    began = time.monotonic()
    with TemporaryDirectory(prefix="tracemw-check-") as folder:
        file = Path(folder, "report.json")
        status = status_of(
            [sys.executable, "-P", "-m", "tracemw.checking.check_application", str(file), json.dumps(order)],
            timeout + _GRACE,
        )
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise CheckError(f"{target} {_without_report(status, time.monotonic() - began, timeout)}") from None
    if "error" in found:
        raise CheckError(str(found["error"]))
    return found


def status_of(command: list[str], timeout: float) -> int:
    """Run a command, and return its exit status. Whatever it has started ends with it, and with an interrupt."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=2, process_group=0)  # noqa: S603  our own
    try:
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        status = process.wait()
    return status


def _without_report(status: int, seconds: float, timeout: float) -> str:
    """Say why a process has left no document. Its own limit ends it when the time is over, and not before."""
    if seconds >= timeout:
        return f"was not done within {timeout:g} seconds; the lines above say where, and --timeout gives more time"
    if status < 0:
        return f"was ended by signal {-status} ({signal.strsignal(-status)}); the lines above may say where"
    return f"has ended its process with status {status}; look for os._exit() in what it imports"

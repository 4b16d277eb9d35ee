"""Child processes that never outlive the demo."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import httpx

START_SECONDS = 30.0
STOP_SECONDS = 8.0
LOG_LINES = 20
POLL_SECONDS = 0.05


class ChildFailedError(Exception):
    """A child did not start, or ended by itself; the message holds the end of its log."""


@dataclass(frozen=True)
class Child:
    """A running Python module with a name, its own process group and a log."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def failure(self, what: str) -> ChildFailedError:
        """Return an error that says what happened, and the last lines of the log."""
        lines = self.log.read_text(errors="replace").splitlines()[-LOG_LINES:]
        tail = "\n".join(f"    {line}" for line in lines) or "    (empty)"
        return ChildFailedError(f"{self.name} {what}; the end of its log:\n{tail}")

    def check(self) -> None:
        """Raise ChildFailedError unless the process still runs."""
        status = self.process.poll()
        if status is not None:
            raise self.failure(f"ended by itself with status {status}")

    async def ready(self, client: httpx.AsyncClient, url: str) -> None:
        """Wait until a GET on ``url`` is answered with 200; ChildFailedError after START_SECONDS."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            self.check()
            with suppress(httpx.TransportError):
                if (await client.get(url)).status_code == 200:
                    return
            await asyncio.sleep(POLL_SECONDS)
        raise self.failure(f"did not answer on {url} within {START_SECONDS:g} s")


class Children:
    """Starts Python modules; on leaving the block all of them, and what they started, are gone.

    Starting and stopping do not await: a signal, which cancels the demo's task, cannot come between the start
    of a process and the note that it runs, nor cut the stopping short.
    """

    def __init__(self, folder: Path, import_from: Path) -> None:
        self.folder = folder
        self._import_from = import_from
        self._running: list[Child] = []

    def __enter__(self) -> "Children":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, name: str, *arguments: str, environment: Mapping[str, str]) -> Child:
        """Run ``python -m arguments`` in ``folder``, with these variables set besides the inherited ones."""
        log = self.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=self.folder,
                env={**inherited(), **self._python_path(), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # A group of its own: the terminal's Ctrl-C reaches the demo alone, which then stops the
                # others in order, and a group can be killed with all that is in it.
                start_new_session=True,
            )
        child = Child(name, process, log)
        self._running.append(child)
        return child

    def check(self) -> None:
        """Raise ChildFailedError if one has ended by itself."""
        for child in self._running:
            child.check()

    def stop(self, *names: str) -> list[str]:
        """Stop those of these names, or all, at the same time; return the names of those that had to be killed."""
        killed = []
        stopping = [child for child in self._running if not names or child.name in names]
        for child in stopping:
            child.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for child in stopping:
            try:
                child.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                killed.append(child.name)
            # Workers that outlived their master are in its group; macOS says EPERM when only zombies are.
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
            self._running.remove(child)
        return killed

    def _python_path(self) -> dict[str, str]:
        inherited = os.environ.get("PYTHONPATH")
        return {"PYTHONPATH": os.pathsep.join([str(self._import_from), *([inherited] if inherited else [])])}


def free_ports(count: int) -> list[int]:
    """Return ports of 127.0.0.1 that nobody listens on; all held at once, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def inherited() -> dict[str, str]:
    """Return our environment without what would change the traces: the demo shows tracemw as it comes."""
    settings = ("OTEL_", "TRACEMW_", "FASTAPI_OTEL_")
    plain = {"TEMPO_ENDPOINT", "SERVICE_VERSION", "ENVIRONMENT"}
    return {name: value for name, value in os.environ.items() if not name.startswith(settings) and name not in plain}

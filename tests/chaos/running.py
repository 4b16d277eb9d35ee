"""The programs of these tests, run and spoken to: the misbehaving backend, the services, the load."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, Literal, Self

import trustme

from servers import free_port, wait_until

HERE = Path(__file__).parent

Server = Literal["uvicorn", "gunicorn"]
WORKERS: dict[Server, int] = {"uvicorn": 1, "gunicorn": 2}

_COMMANDS: dict[Server, str] = {
    "uvicorn": "uvicorn --workers 1 --log-level warning --no-access-log --timeout-keep-alive 60 "
    "--factory service:asgi --port",
    "gunicorn": "gunicorn --workers 2 --worker-class gthread --threads 4 --log-level warning --no-control-socket "
    "--keep-alive 60 service:wsgi() --bind",
}


class Program:
    """A program that takes lines, and answers with JSON."""

    def __init__(self, name: str, *arguments: str) -> None:
        self._lock = threading.Lock()
        self._running = subprocess.Popen(
            [sys.executable, str(HERE / name), *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def say(self, line: str) -> None:
        stream = _pipe(self._running.stdin)
        stream.write(line + "\n")
        stream.flush()

    def hear(self) -> dict[str, Any]:
        line = _pipe(self._running.stdout).readline()
        if not line:
            raise RuntimeError(f"{self._running.args!r} has ended")
        heard: dict[str, Any] = json.loads(line)
        return heard

    def ask(self, **command: object) -> dict[str, Any]:
        with self._lock:
            self.say(json.dumps(command))
            return self.hear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._running.communicate(timeout=60)  # what nobody has heard is read, so that it can be said
        except subprocess.TimeoutExpired:
            self._running.kill()
            self._running.communicate()
            raise


@dataclass(frozen=True)
class Received:
    """What a port of the backend has received, by trace id, and what it has told of it."""

    accepted: frozenset[str]
    rejected: frozenset[str]
    unanswered: frozenset[str]
    busy: frozenset[str]
    twice: int
    """Spans that were accepted more than once."""
    strange: int
    """Spans of a trace that had one already."""
    first_accepted: float | None


class Port:
    """A port of the misbehaving backend."""

    def __init__(self, backend: Backend, number: int, *, secure: bool) -> None:
        self._backend = backend
        self._number = number
        self.url = f"{'https' if secure else 'http'}://127.0.0.1:{number}"

    def change(self, fault: str) -> None:
        """Misbehave so from now on."""
        self._backend.ask(do="change", port=self._number, fault=fault)

    def received(self, *, forget: bool = False) -> Received:
        """Return what has been received."""
        told = self._backend.ask(do="tell", port=self._number, forget=forget)
        return Received(
            accepted=frozenset(told["accepted"]),
            rejected=frozenset(told["rejected"]),
            unanswered=frozenset(told["unanswered"]),
            busy=frozenset(told["busy"]),
            twice=told["twice"],
            strange=told["strange"],
            first_accepted=told["first_accepted"],
        )


class Backend(Program):
    """The misbehaving backend.

    Args:
        folder: Where its certificates are, as `certificates_in` makes them; without them it has no TLS.
    """

    def __init__(self, folder: Path | None = None) -> None:
        files = (
            ("--certificate", str(folder / "good.pem"), "--expired", str(folder / "expired.pem"))
            if folder is not None
            else ()
        )
        super().__init__("misbehaving.py", *files)

    def open(self, *, secure: bool = False) -> Port:
        """Open another port."""
        return Port(self, int(self.ask(do="open", secure=secure)["port"]), secure=secure)


class Load(Program):
    """Load on a service; what it does in between `start` and `stop` is a round.

    Args:
        rate: Requests in a second; 0 is as many as there can be.
        renew: Requests after which a connection is replaced, so that each worker gets its share; 0 is never.
        orders: Whether `/orders` is asked for, too.
    """

    def __init__(
        self,
        service: Service,
        reference: Service,
        *,
        connections: int = 8,
        rate: float = 0,
        renew: int = 0,
        orders: bool = False,
    ) -> None:
        options = ("--connections", str(connections), "--rate", str(rate), "--renew", str(renew))
        more = ("--orders",) if orders else ()
        super().__init__("load.py", str(service.port), str(reference.port), *options, *more)

    def start(self) -> None:
        """Begin a round."""
        self.say("start")

    def stop(self) -> Round:
        """End the round, when all its answers are there."""
        self.say("stop")
        return Round(**self.hear())

    def round(self, seconds: float) -> Round:
        """Do a round."""
        self.start()
        time.sleep(seconds)
        return self.stop()


@dataclass(frozen=True)
class Round:
    """What came of a round of load."""

    trace_ids: list[str]
    failed: list[tuple[float, str]]
    """When, by the monotonic clock, and how."""
    altered: list[str]
    p50: float
    """Seconds, as are those of the other."""
    p99: float


class Service:
    """A service of `service.py` under a real server."""

    def __init__(self, server: Server, folder: Path, port: Port | None, env: Mapping[str, str]) -> None:
        self.workers = WORKERS[server]
        self.port = free_port()
        self._folder = folder
        self._log = folder / f"{self.port}.log"
        self._books = folder / f"{self.port}"
        self._books.mkdir()
        address = str(self.port) if server == "uvicorn" else f"127.0.0.1:{self.port}"
        endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": port.url} if port is not None else {"CHAOS_UNTRACED": "1"}
        with self._log.open("w") as log:
            self._running = subprocess.Popen(
                [sys.executable, "-m", *_COMMANDS[server].split(), address],
                env={**clean_environment(), **endpoint, **env, "CHAOS_BOOKS": str(self._books)},
                cwd=HERE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def started(self) -> Self:
        """Wait until all its workers answer."""
        try:
            wait_until(lambda: self._running.poll() is not None or self._answers())
            self.stats()
        except Exception:
            raise RuntimeError(self.log) from None
        return self

    def _answers(self) -> bool:
        try:
            return bool(self._ask())
        except OSError:
            return False

    def _ask(self) -> dict[str, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("GET", "/stats", headers={"connection": "close"})
            stats: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return stats

    def stats(self) -> dict[int, dict[str, Any]]:
        """Return the stats of each worker, by process id."""
        found: dict[int, dict[str, Any]] = {}
        deadline = time.monotonic() + 30
        while len(found) < self.workers:
            stats = self._ask()
            found[int(stats["pid"])] = stats
            if time.monotonic() > deadline:
                raise TimeoutError(f"only {len(found)} workers answer")
        return found

    def settled(self, spans: int, timeout: float = 20) -> dict[int, dict[str, Any]]:
        """Return the stats once so many spans have ended, which is after their responses, and none is on its way."""
        deadline = time.monotonic() + timeout
        while True:
            stats = self.stats()
            ended, unsettled = (
                sum(sum(one[name] for name in names) for one in stats.values())
                for names in (("ended",), ("queued", "in_flight"))
            )
            if ended >= spans and unsettled == 0:
                return stats
            if time.monotonic() > deadline:
                raise TimeoutError(f"{spans} spans are not settled: {stats}")
            time.sleep(0.05)

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text()

    def terminate(self) -> float:
        """Send SIGTERM, and return the seconds until it has ended."""
        began = time.monotonic()
        self._running.send_signal(signal.SIGTERM)
        self._running.wait(60)
        return time.monotonic() - began

    def final_stats(self) -> list[dict[str, Any]]:
        """Return what the workers had in their books when they ended."""
        return [json.loads(path.read_text()) for path in self._books.iterdir()]

    def close(self) -> None:
        """End it, if it has not."""
        if self._running.poll() is None:
            try:
                self.terminate()
            except subprocess.TimeoutExpired:
                os.killpg(self._running.pid, signal.SIGKILL)
                self._running.wait()


@contextmanager
def serving(server: Server, folder: Path, port: Port | None = None, **env: str) -> Iterator[Service]:
    """Run a service, untraced without a port to export to, for the length of the block."""
    service = Service(server, folder, port, env)
    try:
        yield service.started()
    except BaseException as error:
        error.add_note(f"the service has said:\n{service.log}")
        raise
    finally:
        service.close()


def clean_environment() -> dict[str, str]:
    """Return the environment without the settings of the machine that the tests run on."""
    ours = ("OTEL_", "TRACEMW_", "CHAOS_", "TEMPO_ENDPOINT", "SERVICE_VERSION", "ENVIRONMENT")
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(ours) and not name.lower().endswith("_proxy")
    }


@dataclass(frozen=True)
class Footprint:
    """What a process takes of the machine."""

    megabytes: float
    threads: int
    descriptors: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        """Look at a process."""
        proc = Path(f"/proc/{pid}")
        threads, descriptors = (sum(1 for _ in (proc / name).iterdir()) for name in ("task", "fd"))
        pages = int((proc / "statm").read_text().split()[1])
        return cls(pages * os.sysconf("SC_PAGESIZE") / 1e6, threads, descriptors)


def certificates_in(folder: Path) -> None:
    """Make the certificates of the backend: `good.pem`, `expired.pem`, and `ca.pem`, which has issued both."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    yesterday = datetime.now(UTC) - timedelta(days=1)
    for name, until in (("good", None), ("expired", yesterday)):
        leaf = authority.issue_cert("127.0.0.1", not_after=until)
        leaf.private_key_and_cert_chain_pem.write_to_path(str(folder / f"{name}.pem"))


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream

"""The suites that there are, and how each is fetched, set up and run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from backend import backend_serving

from .differences import Outcomes

REPOSITORY: Final = Path(__file__).parents[2]
PLACE: Final = REPOSITORY / ".venv-peers"
MINUTES: Final = 30


class CannotRunError(Exception):
    """A suite that cannot be fetched, set up or run; the message says why."""


@dataclass(frozen=True)
class Suite:
    """The test suite of a package, as the package's source distribution carries it."""

    name: str
    plugins: tuple[str, ...]
    """The ways to install a door, modules of `traced`: the suite runs once with each."""
    extras: str = ""
    group: str | None = None
    """The dependency group in the package's own pyproject.toml that its tests need."""
    requirements: tuple[str, ...] = ()
    """What they need beyond that, or in other versions than the newest: those with which the suite passes by itself."""

    @property
    def version(self) -> str:
        """The version that our own tests run with."""
        return metadata.version(self.name)

    @property
    def source(self) -> Path:
        """Where the source distribution lies unpacked."""
        return PLACE / "sources" / f"{self.name}-{self.version}"

    @property
    def python(self) -> Path:
        """The interpreter that has what the suite needs, and tracemw as it is here."""
        return PLACE / self.name / "bin" / "python"


SUITES: Final = (
    # Flask's sdist names its own lock file's versions; newer ones of these fail tests.
    Suite("flask", ("flask_application",), group="tests", requirements=("pytest<9", "werkzeug<3.1.7")),
    Suite("starlette", ("starlette_inside", "starlette_outside"), extras="[full]", group="dev"),
    Suite(
        "httpx",
        ("httpx_client",),
        extras="[brotli,cli,http2,socks,zstd]",
        # Its sdist does not name them; these are the versions of its last release's time.
        requirements=("chardet<6", "click<8.2", "cryptography", "pytest<9", "trio<0.28", "trustme", "uvicorn<0.33"),
    ),
    Suite("requests", ("requests_session",), extras="[socks]", group="test"),
    Suite(
        "fastapi",
        ("fastapi_inside", "fastapi_outside"),
        extras="[all]",
        group="tests",
        requirements=("pytest-sugar",),
    ),
)


@dataclass(frozen=True)
class Run:
    """What came of one run of a suite: each test's outcome and, with tracing on, what became of the spans."""

    outcomes: Outcomes
    spans: int
    """How many SERVER and CLIENT spans have arrived."""
    complaints: tuple[str, ...]
    """What went wrong inside of tracemw."""


def fetch(suite: Suite) -> None:
    """Have the suite's source distribution unpacked in its place, downloaded when it is not there yet."""
    if suite.source.is_dir():
        return
    suite.source.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=suite.source.parent) as folder:
        wanted = f"{suite.name}=={suite.version}"
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
        _command(f"cannot download {wanted}", *pip, "--no-binary", suite.name, "--dest", folder, wanted)
        for archive in Path(folder).glob("*.tar.gz"):
            with tarfile.open(archive) as opened:
                opened.extractall(folder, filter="data")
        unpacked = Path(folder) / suite.source.name
        if not (unpacked / "tests").is_dir():
            raise CannotRunError(f"the source distribution of {wanted} carries no tests")
        unpacked.rename(suite.source)


def set_up(suite: Suite) -> None:
    """Have a virtual environment with the package, what its tests need, and tracemw from this repository."""
    wanted = [f"{suite.name}{suite.extras}=={suite.version}", *suite.requirements, "--editable", str(REPOSITORY)]
    if suite.group is not None:
        wanted += ["--group", f"{suite.source / 'pyproject.toml'}:{suite.group}"]
    stamp = PLACE / suite.name / "installed"
    if stamp.is_file() and stamp.read_text() == repr(wanted):
        return
    print(f"test-peers: setting up {suite.name} {suite.version}", flush=True)
    shutil.rmtree(PLACE / suite.name, ignore_errors=True)
    problem = f"cannot set up the tests of {suite.name}"
    _command(problem, sys.executable, "-m", "venv", str(PLACE / suite.name))
    pip = (str(suite.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    _command(problem, *pip, "pip>=25.1")  # the first that knows dependency groups
    _command(problem, *pip, *wanted)
    stamp.write_text(repr(wanted))


def run(suite: Suite, plugin: str | None, tests: Sequence[str] = ("tests",)) -> Run:
    """Run the suite, or some of its modules: with tracing installed by a plugin, or bare."""
    logs = PLACE / "logs"
    logs.mkdir(exist_ok=True)
    log = logs / f"{suite.name}-{plugin or 'bare'}.txt"
    command = [
        str(suite.python),
        "-m",
        "pytest",
        "-q",
        "-o",
        "verbosity_assertions=2",
        "-p",
        "no:cacheprovider",
        "-p",
        "no:sugar",
    ]
    command += ["-p", "peers.outcomes", *(("-p", f"peers.traced.{plugin}") if plugin else ()), *tests]
    with tempfile.TemporaryDirectory() as folder, backend_serving() as backend, log.open("w") as output:
        written, books = Path(folder) / "outcomes.json", Path(folder) / "books.json"
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OTEL_", "TRACEMW_", "PYTEST_")) and name != "TEMPO_ENDPOINT"
        }
        environment |= {
            "PYTHONPATH": str(REPOSITORY / "tests"),
            "PEERS_OUTCOMES": str(written),
            "PEERS_BOOKS": str(books),
            "PEERS_ENDPOINT": backend.url,
            "PYTEST_TIMEOUT": "300",  # a suite's own limit for a test is none for a busy machine
        }
        try:
            subprocess.run(
                command,
                cwd=suite.source,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=MINUTES * 60,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise CannotRunError(f"{' '.join(command)} has not ended in {MINUTES} minutes; see {log}") from None
        if not written.is_file() or (plugin and not books.is_file()):
            raise CannotRunError(f"{' '.join(command)} has not come to its end; see {log}")
        outcomes = {test: (outcome, report) for test, (outcome, report) in json.loads(written.read_text()).items()}
        complaints = _complaints(json.loads(books.read_text()), len(backend.spans)) if plugin else []
        spans = sum(span.kind in (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT) for span in backend.spans)
    return Run(outcomes, spans, tuple(complaints))


def _complaints(books: dict[str, Any], arrived: int) -> list[str]:
    stats = books["stats"]
    found = [f"{count} times: {fault}" for fault, count in books["faults"].items()]
    lost = {cause: count for cause, count in stats["dropped"].items() if count}
    if lost or stats["exported"] != arrived:
        found.append(f"{arrived} spans have arrived, {stats['exported']} were sent, and lost are {lost or 'none'}")
    return found


def _command(problem: str, *command: str) -> None:
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode != 0:
        reason = ran.stderr.strip().splitlines() or ["it says nothing"]
        raise CannotRunError(f"{problem}: {reason[-1]}")

"""The whole demo, as a user runs it."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest
from mcp import Client
from mcp.types import CallToolResult, TextContent

from tracemw.analysis.load.query_api import QueryApi
from tracemw.mcp.tools import make_server

REPOSITORY = Path(__file__).parents[2]
LIMIT_SECONDS = 120

needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds child processes in /proc")


class Demo:
    """A running demo; what it prints is collected by a thread."""

    def __init__(self, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo", *options],
            cwd=REPOSITORY,
            env={**os.environ, **(environment or {}), "PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            self.lines.extend(output)

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait(self) -> int:
        status = self.process.wait(LIMIT_SECONDS)
        self._reader.join()
        return status

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + LIMIT_SECONDS
        while text not in self.output:
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline, self.output
            time.sleep(0.02)

    def descendants(self) -> set[int]:
        parents = {}
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = stat.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            parents[int(stat.parent.name)] = int(fields[1])
        found = {self.process.pid}
        while more := {child for child, parent in parents.items() if parent in found} - found:
            found |= more
        return found - {self.process.pid}

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.wait()


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    started: list[Demo] = []
    yield started
    for demo in started:
        demo.close()


def alive(pids: set[int]) -> set[int]:
    return {pid for pid in pids if Path(f"/proc/{pid}").exists()}


def row(output: str, name: str) -> str:
    """Return the one line of the tree that holds ``name``."""
    [line] = [line for line in output.splitlines() if name in line]
    return line


def test_once_shows_a_good_and_a_failing_trace_and_finds_no_fault(demos: list[Demo]) -> None:
    demo = Demo("--once")
    demos.append(demo)
    assert demo.wait() == 0, demo.output
    _, good, failing = re.split(r"^A good checkout|^One that has to fail", demo.output, flags=re.MULTILINE)
    tree, _, _ = good.partition("\n\n")
    for service in ("storefront", "profile", "payments"):
        assert service in tree
    assert re.search(r"^GET /checkout/\{order_id\} +storefront +SERVER +\d+\.\d ms$", tree, re.MULTILINE)
    assert re.search(r"─ SELECT customers +profile +CLIENT", tree)
    assert "ERROR" not in tree

    assert "ERROR" in row(failing, "GET /checkout/{order_id}")
    assert "at its source" not in row(failing, "payment.process")
    assert re.search(
        r"payments +INTERNAL .* ERROR NoRiskModelError at its source, stage fraud_check$",
        row(failing, "fraud.check"),
    )
    assert failing.count("at its source") == 1
    assert "http://" not in demo.output  # all of it has ended by now
    said = r"^Sent (\d+) requests, (\d+) of them health checks, which are not traced\.$"
    sent = re.search(said, demo.output, re.MULTILINE)
    assert sent is not None, demo.output
    assert re.search(rf"^{int(sent[1]) - int(sent[2])} traces, each as it should be$", demo.output, re.MULTILINE)


@pytest.mark.parametrize(
    ("incident", "warned", "where"),
    [
        ("timeout", "pool-wait", r"profile\.py:\d+, export holds"),
        ("n-plus-one", "n-plus-one", r"SELECT products \d+ times .*\(profile\.py:\d+"),
        ("ghost-error", "swallowed-error", r"profile\.py:\d+"),
    ],
)
async def test_the_cause_of_an_incident_is_named_to_a_user_to_whoever_looks_on_and_to_an_agent(
    demos: list[Demo], incident: str, warned: str, where: str
) -> None:
    demo = Demo("--incident", incident)
    demos.append(demo)
    demo.wait_for("Ctrl-C stops all of it.")
    assert "\nThis is the injected cause.\n" in demo.output
    assert len([line for line in demo.lines if line.startswith(f"{warned}: ")]) == 1, demo.output
    (viewer,) = re.findall(r"^All traces:  (http://\S+)$", demo.output, re.MULTILINE)
    said = await _said_to_an_agent(viewer)
    assert re.search(where, said), said


async def _said_to_an_agent(viewer: str) -> str:
    """What an agent is told that knows no more than that the checkout is slow or fails, by three calls at most."""
    async with Client(make_server(QueryApi(viewer)), read_timeout_seconds=60) as agent:
        found = await _called(agent, "findings", service="storefront")
        (trace_id,) = re.findall(r"one of them is (\w+)", found)[:1]
        return f"{found}\n{await _called(agent, 'show_trace', trace_id=trace_id)}"


async def _called(agent: Client, tool: str, **arguments: str) -> str:
    result = await agent.call_tool(tool, arguments)
    assert isinstance(result, CallToolResult)
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert not result.is_error, content.text
    return content.text


def test_an_incident_whose_cause_is_not_named_is_status_1(demos: list[Demo], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import tracemw.sqlalchemy\ntracemw.sqlalchemy.trace_engine = lambda engine: engine\n"
    )
    demo = Demo("--once", "--incident", "timeout", environment={"PYTHONPATH": str(tmp_path)})
    demos.append(demo)
    assert demo.wait() == 1, demo.output
    assert re.fullmatch(
        r"This is not the injected cause: it does not name pool-wait, profile\.py:\d+\n", demo.lines[-1]
    ), demo.output


@needs_proc
def test_ctrl_c_stops_everything_that_the_demo_started(demos: list[Demo]) -> None:
    demo = Demo()
    demos.append(demo)
    demo.wait_for("Ctrl-C stops all of it.")
    pids = demo.descendants()
    assert len(pids) >= 6  # viewer, storefront, payments; gunicorn and its two workers
    assert re.search(r"curl -i http://127\.0\.0\.1:\d+/checkout/\d+", demo.output)
    links = re.findall(r"http://127\.0\.0\.1:\d+/trace/[0-9a-f]{32}", demo.output)
    assert [httpx.get(link, trust_env=False).status_code for link in links] == [200, 200]
    demo.process.send_signal(signal.SIGINT)
    assert demo.wait() == 0, demo.output
    assert alive(pids) == set()
    for port in set(re.findall(r"http://127\.0\.0\.1:(\d+)", demo.output)):
        with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(("127.0.0.1", int(port)))


@needs_proc
def test_sigterm_while_it_starts_leaves_no_child_behind(demos: list[Demo]) -> None:
    demo = Demo("--once")
    demos.append(demo)
    deadline = time.monotonic() + LIMIT_SECONDS
    while len(pids := demo.descendants()) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    demo.process.send_signal(signal.SIGTERM)
    assert demo.wait() == 130, demo.output
    assert alive(pids) == set()


def test_a_service_that_loses_the_trace_is_a_fault(demos: list[Demo], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import tracemw.httpx\ntracemw.httpx.trace_client = lambda client: client\n"
    )
    demo = Demo("--once", environment={"PYTHONPATH": str(tmp_path)})
    demos.append(demo)
    assert demo.wait() == 1, demo.output
    assert re.search(
        r"^trace [0-9a-f]{32}: GET /checkout/1 has no span of payments, profile$", demo.output, re.MULTILINE
    )
    assert re.search(r"^trace [0-9a-f]{32}: no traced request began it: .* of payments", demo.output, re.MULTILINE)


def test_a_service_that_cannot_start_is_an_error_that_shows_its_log(demos: list[Demo], tmp_path: Path) -> None:
    (tmp_path / "gunicorn.py").write_text("raise SystemExit('gunicorn is out of order')\n")
    demo = Demo("--once", environment={"PYTHONPATH": str(tmp_path)})
    demos.append(demo)
    assert demo.wait() == 2, demo.output
    assert "demo: profile ended by itself with status 1; the end of its log:" in demo.output
    assert "gunicorn is out of order" in demo.output

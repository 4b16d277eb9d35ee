"""Commands that README and docs show are there, and those of a story do what the page says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from backend import backend_serving
from docs.pages import ROOT, Block, blocks, story
from servers import answers, free_port, process, wait_until
from settings_reference import variables_read
from tracemw.cli import make_parser

BIN = Path(sys.executable).parent
COMMANDS = [(block, command) for block in blocks() for command in block.commands]
RUN_BY_STORIES = {"docs/tutorial.md", "docs/how-to/deployment.md"}
SERVED = [
    command
    for block in blocks("docs/how-to/deployment.md")
    for command in block.commands
    if not command.startswith(("pip", "export"))
]
OF_OPENTELEMETRY = {"OTEL_PYTHON_DISTRO"}
"""What the command `opentelemetry-instrument` reads, and tracemw does not."""


@pytest.mark.parametrize(("block", "command"), COMMANDS, ids=[f"{block} {command}" for block, command in COMMANDS])
def test_a_command_is_there_with_these_options(block: Block, command: str) -> None:
    words = shlex.split(command)
    match words:
        case ["pip", "install", *requirements]:
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            named = re.findall(r"tracemw\[(.*?)\]", " ".join(requirements))
            assert {extra for each in named for extra in each.split(",")} <= set(extras)
        case ["make", target, *variables]:
            makefile = (ROOT / "Makefile").read_text()
            assert re.search(rf"^{target}:", makefile, re.MULTILINE)
            assert all(f"$({variable.partition('=')[0]})" in makefile for variable in variables)
        case ["export", *assignments]:
            assert {each.partition("=")[0] for each in assignments} <= variables_read() | OF_OPENTELEMETRY
        case ["tracemw", *arguments]:
            make_parser().parse_args(arguments)
        case _:
            assert block.page in RUN_BY_STORIES or block.kind == "story"


class Shell:
    """Runs commands as a reader would, each server in a terminal of its own, on ports that are free."""

    def __init__(self, folder: Path, backend: str | None = None) -> None:
        self._folder = folder
        self._ports = {port: str(free_port()) for port in ("8000", "8001", "4318")}
        self._terminals = ExitStack()
        self._environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": backend or self.moved("http://127.0.0.1:4318"),
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "TRACEMW_CONTROL_FILE": str(folder / "control.json"),
        }

    def __enter__(self) -> Shell:
        return self

    def __exit__(self, *error: object) -> None:
        self._terminals.close()

    def moved(self, text: str) -> str:
        """Return a text with the ports that are taken in place of those that a page names."""
        return re.sub(r"\b(8000|8001|4318)\b", lambda port: self._ports[port[0]], text)

    def write(self, name: str, text: str) -> None:
        (self._folder / name).write_text(self.moved(text))

    def run(self, command: str) -> str:
        """Run a command to its end, which has to be a good one, and return its output."""
        ended = subprocess.run(
            ["bash", "-c", self.moved(command)],
            env={**os.environ, **self._environment},
            cwd=self._folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    def start(self, command: str) -> None:
        """Start a server, which ends with the shell, and wait until it listens."""
        if command == "tracemw view":
            command = f"{command} --port 4318"
        port = int(self._ports[next(iter(re.findall(r"\b(8000|8001|4318)\b", command)))])
        words = [
            "-c",
            "import os, sys; os.execvp('bash', ['bash', '-c', 'exec env ' + sys.argv[1]])",
            self.moved(command),
        ]
        running = self._terminals.enter_context(process(*words, env=self._environment, cwd=self._folder))
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/health") or running.poll() is not None)
        assert running.poll() is None, running.communicate()[0]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    with Shell(tmp_path) as opened:
        yield opened


def spans(trace: dict[str, list[dict[str, list[dict[str, list[dict[str, str]]]]]]]) -> Iterator[str]:
    """The name of each span of a trace."""
    for batch in trace["batches"]:
        for scope in batch["scopeSpans"]:
            yield from (span["name"] for span in scope["spans"])


def test_the_tutorial_ends_with_traces_of_both_services(shell: Shell) -> None:
    answered: list[str] = []
    for block in blocks("docs/tutorial.md"):
        if block.kind == "file" and block.name:
            shell.write(block.name, block.text)
        for command in block.commands:
            if command.startswith("curl"):
                answered.append(shell.run(command))
            elif not command.startswith("pip"):
                shell.start(command)
    good, failing = answered
    assert good.startswith("HTTP/1.1 200")
    assert failing.startswith("HTTP/1.1 500")
    for answer in answered:
        (trace_id,) = re.findall(r"x-trace-id: (\w+)", answer)
        url = shell.moved(f"http://127.0.0.1:4318/api/traces/{trace_id}")
        wait_until(lambda url=url: httpx.get(url).is_success and len(list(spans(httpx.get(url).json()))) == 4)
        names = ["GET /articles/{name}", "GET /articles/{name}", "POST /orders/{name}", "shelf.look_up"]
        assert sorted(spans(httpx.get(url).json())) == names


@pytest.mark.parametrize("command", SERVED)
def test_a_server_that_the_page_on_deployment_starts_delivers_its_spans(command: str, tmp_path: Path) -> None:
    with backend_serving() as backend, Shell(tmp_path, backend.url) as shell:
        for block in blocks("docs/how-to/deployment.md"):
            if block.kind == "file" and block.name:
                shell.write(block.name, block.text)
        shell.start(command)
        assert shell.run("curl -sf http://127.0.0.1:8000/products/7") in ('{"product":7}', '{"product":7}\n')
        wait_until(lambda: any(name.startswith("GET /products/") for name in backend.names))


def test_the_spikes_of_the_page_begin_and_end(shell: Shell) -> None:
    commands = [command for command in story("spikes") if not command.startswith("export")]
    *begun, status, off_one, off_all = commands
    for command in begun:
        shell.run(command)
    assert shell.run(status).count("from now") == 2
    assert "POST /checkout/*" in shell.run(off_one)
    assert "all new traces" in shell.run(off_all)


def test_the_tests_of_the_page_on_testing_pass(shell: Shell) -> None:
    for block in blocks("docs/how-to/testing.md"):
        if block.kind == "file" and block.name:
            shell.write(block.name, block.text)
    (command,) = story("plugin")
    assert "2 passed" in shell.run(command)


def test_the_tests_of_the_page_on_testing_fail_for_a_query_per_order(shell: Shell, tmp_path: Path) -> None:
    (block,) = (block for block in blocks("docs/how-to/testing.md") if block.name == "test_orders.py")
    shell.write("test_orders.py", block.text.replace('"/orders/2"', '"/orders/50"'))
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "test_orders.py"],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "assert queries: 50 <= 3" in ended.stdout
    assert "50 x SELECT orders" in ended.stdout
    assert "1 failed, 1 passed" in ended.stdout


def test_a_control_file_for_a_cluster_is_made(shell: Shell, tmp_path: Path) -> None:
    (command,) = story("control file")
    shell.run(command)
    assert (tmp_path / "control.json").exists()


def test_the_viewers_of_the_pages_start_and_answer(tmp_path: Path) -> None:
    started: list[str] = []
    asked: list[str] = []
    for command in story("viewer"):
        (asked if command.startswith("curl") else started).append(command)
    for command in started:
        with Shell(tmp_path) as shell:
            shell.start(command)
            assert [shell.run(question) for question in asked]

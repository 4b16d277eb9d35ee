"""`make test-tempo` itself: which Tempo it takes, what it says when there is none, and that it leaves none behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, PlainTextResponse, Response

from servers import free_port, process, uvicorn_serving, wait_until
from tracemw.viewer.app import create_app
from tracemw.viewer.storing.store import Store

pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")

REPOSITORY = Path(__file__).parents[2]
COMPOSE_FILE = Path(__file__).parent / "tempo" / "compose.yaml"
LIMIT_SECONDS = 120

FAKE_DOCKER = """
import json, os, signal, subprocess, sys
from pathlib import Path

here = Path(__file__).parent
arguments = sys.argv[1:]
with (here / "calls").open("a") as calls:
    print(json.dumps(arguments), file=calls)
if set(arguments) & set(os.environ.get("FAILING", "").split()):
    sys.exit("Cannot connect to the Docker daemon")
if "up" in arguments:
    command = [sys.executable, "-m", "tracemw", "view", "--port", "0"]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    viewer = subprocess.Popen(command, **pipes, text=True, start_new_session=True)
    port = viewer.stdout.readline().split("127.0.0.1:")[1].split()[0]
    (here / "viewer").write_text(f"{viewer.pid} {port}")
if "logs" in arguments:
    print("no such field in the configuration")
if "port" in arguments:
    print("127.0.0.1:" + (here / "viewer").read_text().split()[1])
if "down" in arguments and (here / "viewer").exists():
    os.kill(int((here / "viewer").read_text().split()[0]), signal.SIGTERM)
    (here / "viewer").unlink()
"""


class Docker:
    """A docker command that notes what it is asked to do, and starts the viewer in place of a container."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        command = folder / "docker"
        command.write_text(f"#!{sys.executable}{FAKE_DOCKER}")
        command.chmod(0o755)

    @property
    def calls(self) -> list[list[str]]:
        """What compose was asked to do, without the file and the project."""
        calls = [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]
        assert calls.pop(0) == ["compose", "version"]
        leading = {tuple(call[:5]) for call in calls}
        assert len(leading) <= 1
        for compose, file, path, name, project in leading:
            assert (compose, file, path, name) == ("compose", "--file", str(COMPOSE_FILE), "--project-name")
            assert re.fullmatch(r"tracemw-test-[0-9a-f]{8}", project)
        return [call[5:] for call in calls]

    @property
    def is_running(self) -> bool:
        return (self.folder / "viewer").exists()


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Docker]:
    folder = tmp_path / "bin"
    folder.mkdir()
    fake = Docker(folder)
    yield fake
    if fake.is_running:
        subprocess.run([folder / "docker", "down"], check=True)


UP = ["up", "--detach", "--quiet-pull"]
PORTS = [["port", "tempo", "3200"], ["port", "tempo", "4318"]]
DOWN = ["down", "--volumes", "--timeout", "5"]


def environment(path: Path, **variables: str) -> dict[str, str]:
    """The variables of a run that finds its commands in this folder first."""
    none = {"TEMPO_URL": "", "TEMPO_ENDPOINT": "", "TEMPO_TENANT": "", "PYTEST_ADDOPTS": ""}
    return {**none, "PATH": f"{path}{os.pathsep}{os.environ['PATH']}", **variables}


def ran(variables: Mapping[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command or [sys.executable, "-m", "tests.integration"],
        cwd=REPOSITORY,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )


def test_without_a_tempo_and_without_docker_it_says_what_is_missing_and_exits_2(tmp_path: Path) -> None:
    run = ran({**environment(tmp_path), "PATH": str(tmp_path)})
    assert (run.returncode, run.stdout) == (2, "")
    assert "set TEMPO_URL (its query API" in run.stderr
    assert "TEMPO_ENDPOINT (its OTLP over HTTP" in run.stderr
    assert "there is no docker command here" in run.stderr


def test_docker_without_compose_is_named_as_what_is_missing(docker: Docker) -> None:
    run = ran(environment(docker.folder, FAILING="version"))
    assert (run.returncode, run.stdout) == (2, "")
    assert "set TEMPO_URL" in run.stderr
    assert "`docker compose version` fails here: Cannot connect to the Docker daemon" in run.stderr
    assert docker.calls == []


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_fails_with_2_too_and_shows_why(docker: Docker) -> None:
    make = ("make", "--old-file=install", "test-tempo", f"BIN={Path(sys.executable).parent}")
    run = ran(environment(docker.folder, FAILING="version"), *make)
    assert run.returncode == 2
    assert "test-tempo: no Tempo to test against" in run.stderr


@pytest.mark.parametrize(
    ("name", "missing"), [("TEMPO_URL", "TEMPO_ENDPOINT (OTLP over HTTP)"), ("TEMPO_ENDPOINT", "TEMPO_URL")]
)
def test_half_a_tempo_is_not_made_whole_by_docker(docker: Docker, name: str, missing: str) -> None:
    run = ran(environment(docker.folder, **{name: "http://tempo.example"}))
    assert (run.returncode, run.stdout) == (2, "")
    assert f"{missing} " in run.stderr
    assert not (docker.folder / "calls").exists()


@pytest.mark.parametrize("name", ["TEMPO_URL", "TEMPO_ENDPOINT"])
def test_an_address_without_a_scheme_is_named_with_what_is_missing(tmp_path: Path, name: str) -> None:
    named = {"TEMPO_URL": "http://tempo:3200", "TEMPO_ENDPOINT": "http://tempo:4318", name: "127.0.0.1:4318"}
    run = ran(environment(tmp_path, **named))
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"test-tempo: {name}='127.0.0.1:4318' lacks its scheme: http://")


def test_a_tempo_that_does_not_answer_is_named(tmp_path: Path) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    run = ran(environment(tmp_path, TEMPO_URL=nobody, TEMPO_ENDPOINT=nobody))
    assert (run.returncode, run.stdout) == (2, "")
    assert f"test-tempo: {nobody}/v1/traces does not answer: ConnectError" in run.stderr


class SlowTempo:
    """The viewer as a Tempo with tenants, which at first does not have what it has been sent."""

    TENANT = "team a"

    def __init__(self, viewer: Any) -> None:
        self._viewer = viewer
        self.tenants: set[str | None] = set()
        partial = JSONResponse({"status": "PARTIAL", "message": "a block is missing", "trace": {}})
        self._first: dict[str, list[Response]] = {
            "/api/v2/traces/": [PlainTextResponse("trace not found", 404), JSONResponse({"trace": {}}), partial],
            "/api/search": [PlainTextResponse("busy", 503), JSONResponse({"traces": []}), JSONResponse({})],
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        answer = self._viewer
        if scope["type"] == "http":
            tenant = dict(scope["headers"]).get(b"x-scope-orgid", b"").decode() or None
            self.tenants.add(tenant)
            first = next((these for path, these in self._first.items() if scope["path"].startswith(path)), [])
            if tenant != self.TENANT:
                answer = PlainTextResponse("no org id", 401)
            elif first:
                answer = first.pop(0)
        await answer(scope, receive, send)

    @property
    def has_been_slow(self) -> bool:
        return not any(self._first.values())


@pytest.fixture
def slow_tempo() -> Iterator[tuple[SlowTempo, str]]:
    store = Store(None, max_spans=10_000)
    tempo = SlowTempo(create_app(store))
    with uvicorn_serving(tempo, lifespan="off") as url:
        yield tempo, url
    store.close()


def test_a_named_tempo_is_tested_as_its_tenant_and_given_time(
    slow_tempo: tuple[SlowTempo, str], tmp_path: Path
) -> None:
    tempo, url = slow_tempo
    run = ran(environment(tmp_path, TEMPO_URL=f"{url}/", TEMPO_ENDPOINT=url, TEMPO_TENANT=tempo.TENANT))
    assert run.returncode == 0, run.stdout + run.stderr
    assert f"spans go to {url} and are looked for at {url}\n" in run.stdout
    assert re.search(r"\b[0-9]+ passed in ", run.stdout)
    assert tempo.tenants == {tempo.TENANT}
    assert tempo.has_been_slow


def test_a_tenant_that_is_not_let_in_is_an_error_that_shows_the_answer(
    slow_tempo: tuple[SlowTempo, str], tmp_path: Path
) -> None:
    _, url = slow_tempo
    run = ran(environment(tmp_path, TEMPO_URL=url, TEMPO_ENDPOINT=url))
    assert (run.returncode, run.stdout) == (2, "")
    assert f"test-tempo: POST {url}/v1/traces answers 401: no org id" in run.stderr


def test_compose_starts_a_tempo_and_takes_it_down(docker: Docker) -> None:
    run = ran(environment(docker.folder))
    assert run.returncode == 0, run.stdout + run.stderr
    assert re.search(r"\b[0-9]+ passed in ", run.stdout)
    assert docker.calls == [UP, *PORTS, DOWN]
    assert not docker.is_running


def test_a_compose_that_cannot_start_it_is_an_error_that_shows_why_and_is_taken_down(docker: Docker) -> None:
    run = ran(environment(docker.folder, FAILING="up"))
    assert (run.returncode, run.stdout) == (2, "")
    assert re.search(
        r"^test-tempo: `docker compose .* up .*` fails: Cannot connect to the Docker", run.stderr, re.MULTILINE
    )
    assert docker.calls == [UP, DOWN]


def test_a_tempo_that_ends_at_once_is_an_error_that_shows_its_log_and_is_taken_down(docker: Docker) -> None:
    run = ran(environment(docker.folder, FAILING="port"))
    assert (run.returncode, run.stdout) == (2, "")
    assert "the end of its log:\nno such field in the configuration\n" in run.stderr
    assert docker.calls == [UP, PORTS[0], ["logs", "--tail", "20", "tempo"], DOWN]
    assert not docker.is_running


def test_what_fails_in_the_test_is_status_1_and_the_tempo_is_taken_down(docker: Docker, tmp_path: Path) -> None:
    (tmp_path / "gunicorn.py").write_text("raise SystemExit('gunicorn is out of order')\n")
    run = ran(environment(docker.folder, PYTHONPATH=str(tmp_path)))
    assert run.returncode == 1, run.stdout + run.stderr
    assert "gunicorn is out of order" in run.stdout
    assert docker.calls == [UP, *PORTS, DOWN]
    assert not docker.is_running


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interruption_takes_the_tempo_down(docker: Docker, number: signal.Signals) -> None:
    with process("-m", "tests.integration", env=environment(docker.folder), cwd=REPOSITORY) as running:
        wait_until(lambda: docker.is_running, timeout=LIMIT_SECONDS)
        assert running.stdout is not None
        printed = ""
        while not printed.endswith("test_multi_service.py::"):  # its services start then
            character = running.stdout.read(1)
            assert character, printed
            printed += character
        running.send_signal(number)
        output, _ = running.communicate(timeout=LIMIT_SECONDS)
    assert running.returncode == 2, printed + output
    assert docker.calls[-1] == DOWN
    assert not docker.is_running


def test_the_ports_of_the_container_are_bound_to_this_machine_only() -> None:
    published = re.findall(r'^ {6}- "([^"]*)"$', COMPOSE_FILE.read_text(), re.MULTILINE)
    assert published == ["127.0.0.1::3200", "127.0.0.1::4318"]

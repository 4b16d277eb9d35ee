"""``tracemw view`` as a command: how it starts, what it says when it cannot, and how it ends."""

from __future__ import annotations

import signal
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tracemw._version import __version__

from .running import viewer
from .samples import Spans, hex_id, one, span


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tracemw", *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def refused(*arguments: str) -> str:
    """The one line on stderr of a viewer that does not start."""
    result = run("view", "--port", "0", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1
    return result.stderr


def test_help_has_an_example_and_version_says_the_version() -> None:
    assert "example:\n  tracemw view" in run("view", "--help").stdout
    assert "example:\n  tracemw view" in run("--help").stdout
    assert run("--version").stdout == f"tracemw {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("unknown",),
        ("view", "--port", "70000"),
        ("view", "--port", "-1"),
        ("view", "--max-spans", "0"),
        ("view", "--max-bytes", "0"),
    ],
)
def test_a_usage_error_of_the_command_ends_with_status_2(arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.returncode == 2
    assert "usage:" in result.stderr


def test_the_first_line_tells_where_the_viewer_is_and_what_it_keeps(tmp_path: Path) -> None:
    with viewer("--max-spans", "5") as running:
        port = running.url.rpartition(":")[2]
        assert running.first_line == (f"tracemw viewer: http://127.0.0.1:{port}  (traces in memory, at most 5 spans)\n")
    with viewer("--db", str(tmp_path / "t.db")) as running:
        assert f"(traces in {tmp_path / 't.db'}, at most 200000 spans)" in running.first_line


def test_a_port_in_use_is_named_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        says = refused("--port", port)
    assert f"port {port}: the port is in use" in says
    assert "--port" in says


def test_a_host_that_this_machine_does_not_have_is_named() -> None:
    assert "cannot listen on 192.0.2.1" in refused("--host", "192.0.2.1")
    assert "cannot listen on no.such.host.invalid" in refused("--host", "no.such.host.invalid")


def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database at all, but long enough to have a header " * 40)
    before = path.read_bytes()
    says = refused("--db", str(path))
    assert str(path) in says
    assert "--db" in says
    assert path.read_bytes() == before


def test_a_database_of_another_program_is_named_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE spans (id)")
    other.close()
    before = path.read_bytes()
    assert f"cannot use {path}: it is a database of another program" in refused("--db", str(path))
    assert path.read_bytes() == before
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA application_id = 0x746D7776")
        other.execute("PRAGMA user_version = 99")
    other.close()
    assert "another version of tracemw" in refused("--db", str(path))


def test_a_directory_that_is_not_there_or_a_directory_for_a_file_is_named(tmp_path: Path) -> None:
    assert f"there is no directory {tmp_path / 'no'}" in refused("--db", str(tmp_path / "no" / "t.db"))
    assert "it is a directory" in refused("--db", str(tmp_path))
    assert "cannot open /proc/t.db" in refused("--db", "/proc/t.db")


def test_without_the_viewer_extra_the_remedy_is_a_pip_command(tmp_path: Path) -> None:
    hide = "import sys; sys.modules['{}'] = None; from tracemw.cli import main; sys.exit(main(['view', '--port', '0']))"
    for module in ("starlette", "uvicorn", "re2"):
        result = subprocess.run(
            [sys.executable, "-c", hide.format(module)], capture_output=True, text=True, timeout=60, check=False
        )
        assert result.returncode == 2
        assert "pip install 'tracemw[viewer]'" in result.stderr
        assert "Traceback" not in result.stderr


def test_the_command_loads_no_door_and_no_server_before_it_runs_and_never_the_sdk() -> None:
    code = "import sys, tracemw.{}; print(*sys.modules)"
    loaded = {
        name: set(
            subprocess.run(
                [sys.executable, "-c", code.format(name)], capture_output=True, text=True, timeout=60, check=True
            ).stdout.split()
        )
        for name in ("cli", "viewer.serve")
    }
    assert not loaded["cli"] & {"starlette", "uvicorn", "sqlite3", "tracemw.asgi", "opentelemetry.sdk"}
    assert not loaded["viewer.serve"] & {"tracemw.asgi", "tracemw.starlette", "opentelemetry.sdk"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_viewer_quickly_with_status_0_while_connections_are_open(number: signal.Signals) -> None:
    with viewer() as running:
        running.send(one()).raise_for_status()  # the connection stays open
        before = time.monotonic()
        running.process.send_signal(number)
        assert running.process.wait(60) == 0
        assert time.monotonic() - before < 4.5  # an idle connection may stay open for five


def test_a_database_file_keeps_its_traces_over_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "traces.db"
    for number in (1, 2):
        with viewer("--db", str(path)) as running:
            running.send(one(number)).raise_for_status()
            assert set(running.found()) == {hex_id(earlier) for earlier in range(1, number + 1)}
            assert running.stop() == 0
    assert sorted(tmp_path.iterdir()) == [path]  # the write-ahead log went into the file


def test_acknowledged_spans_in_a_file_survive_a_kill(tmp_path: Path) -> None:
    with viewer("--db", str(tmp_path / "traces.db")) as running:
        running.send(one(1)).raise_for_status()
        running.process.kill()
    with viewer("--db", str(tmp_path / "traces.db")) as running:
        assert running.found() == [hex_id(1)]


def test_beyond_max_spans_the_traces_heard_of_longest_ago_go_whole() -> None:
    def pair(trace: int) -> Spans:
        return Spans("shop", (span(trace, 1), span(trace, 2, 1)))

    with viewer("--max-spans", "6") as running:
        for number in (1, 2, 3):
            running.send(pair(number))
        running.send(Spans("shop", (span(1, 2, 1, name="again"),)))
        running.send(pair(4))
        assert set(running.found()) == {hex_id(1), hex_id(3), hex_id(4)}
        assert running.get(f"/api/v2/traces/{hex_id(2)}")["trace"] == {}
        assert running.get("/viewer/status")["spans"] == 6


def test_a_single_trace_beyond_max_spans_is_kept_as_far_as_it_goes() -> None:
    with viewer("--max-spans", "5") as running:
        response = running.send(Spans("shop", tuple(span(1, number) for number in range(1, 9))))
        assert b"3 spans were not kept" in response.content
        assert running.get("/viewer/status")["spans"] == 5


def test_a_smaller_max_spans_applies_to_the_file_of_a_larger_one(tmp_path: Path) -> None:
    path = str(tmp_path / "traces.db")
    with viewer("--db", path) as running:
        running.send(*(one(number) for number in range(1, 11)))
    with viewer("--db", path, "--max-spans", "3") as running:
        running.send(one(11))
        assert running.get("/viewer/status")["spans"] == 3
        assert hex_id(11) in running.found()

"""The command line as a whole: its help, and what it loads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tracemw.cli import COMMANDS

CAPTURES = Path(__file__).parent / "analysis" / "captures"


@pytest.mark.parametrize(
    ("command", "example"),
    [
        ((), "tracemw view "),
        (("view",), "tracemw view --db traces.db "),
        (("analyze",), "tracemw analyze trace.json "),
        (("compare",), "tracemw compare --before 1.0 --after 1.1 "),
        (("forget",), "tracemw forget - < users.txt "),
        (("mcp",), "tracemw mcp --http 8765 "),
        (("spike",), "tracemw spike 1.0 --for 10m "),
    ],
)
def test_the_help_of_each_command_has_an_example(command: tuple[str, ...], example: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tracemw", *command, "--help"], capture_output=True, text=True, check=True
    )
    assert "\nexample:\n" in ended.stdout
    assert example in ended.stdout


@pytest.mark.parametrize(
    "arguments", [("vew",), ("view", "--port", "a"), ("spike", "--no-such-option"), ("mcp", "--skil")]
)
def test_a_usage_error_ends_with_status_2_and_nothing_on_the_output(arguments: tuple[str, ...]) -> None:
    ended = subprocess.run([sys.executable, "-m", "tracemw", *arguments], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "error:" in ended.stderr


def test_the_bare_command_shows_what_there_is_as_an_error() -> None:
    ended = subprocess.run([sys.executable, "-m", "tracemw"], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert all(f"\n    {command.name} " in ended.stderr for command in COMMANDS)


def test_the_commands_load_no_sdk_and_no_door() -> None:
    code = (
        "import sys, tracemw.cli, tracemw.spikes; tracemw.cli.main(['spike', '--status', '--file', 'none.json']); "
        "doors = ('_http', '_httpx', 'asgi', 'fastapi', 'flask', 'requests', 'starlette', 'wsgi'); "
        "unwanted = ('opentelemetry.sdk', *(f'tracemw.{door}' for door in doors)); "
        "print([name for name in sys.modules if name.startswith(unwanted)])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "arguments",
    [
        ("analyze", str(CAPTURES / "zipkin.json")),
        ("analyze", str(CAPTURES / "zipkin.json"), "--json"),
        ("compare", "--before", str(CAPTURES / "zipkin.json"), "--after", str(CAPTURES / "jaeger.json")),
        ("mcp", "--skill"),
    ],
    ids=["analyze", "analyze --json", "compare", "mcp --skill"],
)
def test_a_reader_that_has_gone_ends_a_command_with_status_2_and_no_traceback(arguments: tuple[str, ...]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as pipe:
        ended = subprocess.run(
            [sys.executable, "-m", "tracemw", *arguments], stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (ended.returncode, ended.stderr) == (2, "")

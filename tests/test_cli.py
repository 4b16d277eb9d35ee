"""The command line as a whole: its help, and what it loads."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tracemw.cli import COMMANDS


@pytest.mark.parametrize(
    ("command", "example"),
    [
        ((), "tracemw view "),
        (("view",), "tracemw view --db traces.db "),
        (("analyze",), "tracemw analyze trace.json "),
        (("compare",), "tracemw compare --before 1.0 --after 1.1 "),
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


@pytest.mark.parametrize("arguments", [("vew",), ("view", "--port", "a"), ("spike", "--no-such-option")])
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

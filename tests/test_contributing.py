"""What CONTRIBUTING.md shows is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import touched

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
DOOR = (ROOT / "src/tracemw/litestar.py").read_text()
STACK = sorted(f"tests/deploy/{each.name}" for each in (ROOT / "tests/deploy").glob("test_*.py"))


@pytest.mark.parametrize("shown", re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
def test_each_part_of_the_worked_example_stands_in_the_door(shown: str) -> None:
    assert shown in DOOR


def test_the_worked_example_is_short() -> None:
    assert len(DOOR.splitlines()) < 120


def test_every_target_and_file_that_is_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z-]+)", PAGE)) - targets == set()
    named = set(re.findall(r"\]\(((?!https)[^)]+)\)|`((?:src|tests|docs)/[\w./-]+\.\w+)`", PAGE))
    assert [path for pair in named for path in pair if path and not (ROOT / path).exists()] == []


@pytest.mark.parametrize(
    ("path", "tests"),
    [
        ("src/tracemw/flask.py", ["tests/test_flask.py"]),
        ("src/tracemw/_export/queue.py", ["tests/export/test_queue.py"]),
        ("src/tracemw/asgi/_scope.py", ["tests/test_asgi.py"]),
        ("src/tracemw/_otel/clock.py", ["tests/test_clock.py"]),
        ("tests/test_asgi.py", ["tests/test_asgi.py"]),
        ("README.md", []),
        ("deploy/tempo/tempo.yaml", STACK),
    ],
)
def test_a_module_stands_for_the_tests_that_are_named_like_it_or_like_its_room(path: str, tests: list[str]) -> None:
    there = sorted(str(each.relative_to(ROOT)) for each in (ROOT / "tests").rglob("test_*.py"))
    assert touched.tests_of(path, there) == tests


def test_the_fast_set_is_there() -> None:
    assert [path for path in touched.FAST if not (ROOT / path).exists()] == []

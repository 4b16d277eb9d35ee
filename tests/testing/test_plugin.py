"""The pytest plugin, in a project of its own that has a service with its own `init`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent / "project"

SLOW = ("anyio", "faker", "hypothesispytest", "logfire", "pytest_logfire")
"""Plugins that come with packages under test, and take a second to import in each process of pytest."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, outside of this repository."""
    return Path(shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns("__pycache__")))


def run(project: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
    left_out = [f"-pno:{plugin}" for plugin in (*SLOW, "cacheprovider")]
    command = [sys.executable, "-m", "pytest", "-q", *left_out, *arguments]
    return subprocess.run(command, cwd=project, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize("way", [(), ("-n", "2"), ("-p", "no:randomly")], ids=["alone", "xdist", "in order"])
def test_the_assertions_hold_where_the_service_is_right(project: Path, way: tuple[str, ...]) -> None:
    ended = run(project, *way, "test_passing.py")
    assert ended.returncode == 0, ended.stdout
    assert "12 passed" in ended.stdout


@pytest.fixture(scope="module")
def failures(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What pytest prints for each failing test."""
    copy = Path(shutil.copytree(PROJECT, tmp_path_factory.mktemp("failing") / "project"))
    ended = run(copy, "failing.py", "--no-header")
    assert ended.returncode == 1
    titles = re.split(r"^_{3,} (\w+) _{3,}$", ended.stdout, flags=re.MULTILINE)
    return dict(zip(titles[1::2], titles[2::2], strict=True))


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ("test_too_many_queries", ["assert queries: 4 <= 3", "4 x SELECT sqlite_master", "GET /orders/{count} [shop]"]),
        (
            "test_a_repetition",
            ["n-plus-one: shop runs SELECT sqlite_master 7 times in one GET /orders/{count} (shop.py:", "in one query"],
        ),
        ("test_a_failing_request", ["error-source: ", "ValueError", "GET /broken [shop]"]),
        ("test_a_value_that_leaves", ["'url.path' of the span 'GET /orders/{count}' holds '4711'", "[shop]"]),
        ("test_no_trace", ["expected one trace, found 0", "is the middleware added, and the request not skipped?"]),
        ("test_two_traces", ["expected one trace, found 2", "GET /orders/{count} [shop]", "GET /quiet [shop]"]),
        ("test_no_such_name", ["expected one trace named 'GET /loud', found 0", "GET /quiet [shop]", "charge"]),
        ("test_no_such_span", ["expected one span 'refund', found 0 in", "charge"]),
    ],
)
def test_a_failing_assertion_shows_what_was_expected_and_the_tree(
    failures: dict[str, str], test: str, told: list[str]
) -> None:
    assert {text for text in told if text not in failures[test]} == set()
    assert "tracemw/testing" not in failures[test].replace("\\", "/")

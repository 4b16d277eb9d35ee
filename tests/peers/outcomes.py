"""A pytest plugin that writes what became of each test to the file which PEERS_OUTCOMES names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

PATH = Path(os.environ["PEERS_OUTCOMES"])  # read at once: suites empty the environment for their tests

_found: dict[str, tuple[str, str]] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Note the outcome of one phase of one test."""
    if report.when == "call" or report.outcome != "passed":
        outcome = (
            {"skipped": "xfailed", "passed": "xpassed"}.get(report.outcome) if hasattr(report, "wasxfail") else None
        )
        _note(report.nodeid, outcome or report.outcome, report.longreprtext)


def pytest_collectreport(report: pytest.CollectReport) -> None:
    """Note a module that cannot be collected."""
    if report.failed:
        _note(report.nodeid, "failed", report.longreprtext)


def pytest_sessionfinish() -> None:
    """Write down all outcomes, each with its report when it is a failure."""
    PATH.write_text(json.dumps(_found))


def _note(test: str, outcome: str, report: str) -> None:
    if _found.get(test, ("passed", ""))[0] != "failed":  # a test may fail, and its teardown be fine
        _found[test] = (outcome, report if outcome == "failed" else "")

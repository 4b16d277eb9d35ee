"""Applications that are written by a test, and what the command says of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from tracemw.cli import main

Check = Callable[..., dict[str, Any]]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Check:
    """Writes a module `service`, checks it, and returns the document, with the exit status in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)

    def run(source: str, *options: str, target: str = "service:app") -> dict[str, Any]:
        (tmp_path / "service.py").write_text(dedent(source))
        # a machine that is busy takes long to import a framework
        status = main(["check", target, "--json", "--timeout", "10m", *options])
        printed = capfd.readouterr()
        document: dict[str, Any] = json.loads(printed.out)
        return {**document, "status": status, "stderr": printed.err}

    return run


def codes(document: dict[str, Any]) -> list[str]:
    """The codes of all problems."""
    return [problem["code"] for problem in document["problems"]]

"""What a type checker says of code that uses tracemw: nothing of good code, and each mistake in bad code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """
import tracemw
from fastapi import FastAPI
from tracemw.fastapi import TraceMiddleware
from tracemw.sampling import Rule, Sampling

tracing: tracemw.Tracing = tracemw.init("shop", sampling=Sampling(ratio=0.5, rules=[Rule("GET /", 1.0)]))


def name(facts: tracemw.RequestFacts, route: str | None) -> str:
    return f"{facts.method} {route or facts.path}"


options: tracemw.ServerOptions = {"trust_inbound": False, "span_name": name}
app = FastAPI()
app.add_middleware(TraceMiddleware, **options)
app.add_middleware(tracemw.fastapi.TraceMiddleware, skip=["/healthz"])
app.add_middleware(TraceMiddleware)
with tracemw.span("payment.process", amount=42):
    tracemw.annotate(currency="EUR")
dropped: int = sum(tracing.stats().dropped.values())
stats: tracemw.Stats = tracing.stats()
tracemw.shutdown(timeout=1.0)
"""

BAD = """
import tracemw

tracemw.inti("shop")
tracemw.fastapi.TraceMiddlewear
tracemw.httpx.trace_cleint
tracemw.init("shop", enviroment="production")
tracemw.init("shop", version=2)
tracemw.Trasing
"""
MISTAKES = {4: "inti", 5: "TraceMiddlewear", 6: "trace_cleint", 7: "enviroment", 8: "version", 9: "Trasing"}
"""The lines of `BAD` that hold a mistake, and what the error has to name."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a good file and a bad one, away from the settings of this repository."""
    pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    (tmp_path / "good.py").write_text(GOOD)
    (tmp_path / "bad.py").write_text(BAD)
    return tmp_path


def require_each_mistake(errors: list[tuple[str, int, str]]) -> None:
    assert [error for error in errors if error[0] != "bad.py"] == []
    assert sorted(line for _, line, _ in errors) == sorted(MISTAKES)
    for _, line, message in errors:
        assert f'"{MISTAKES[line]}"' in message


def test_mypy_finds_each_mistake_in_the_use_of_tracemw_and_nothing_else(folder: Path) -> None:
    pytest.importorskip("mypy", reason="mypy is not among the packages under test")
    (folder / "mypy.ini").write_text("[mypy]\nstrict = true\n")
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "good.py", "bad.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    found = re.findall(r"^(.+?):(\d+): error: (.*)$", ran.stdout, re.MULTILINE)
    require_each_mistake([(file, int(line), message) for file, line, message in found])


def test_pyright_finds_each_mistake_in_the_use_of_tracemw_and_nothing_else(folder: Path) -> None:
    pytest.importorskip("basedpyright", reason="basedpyright is not among the packages under test")
    settings = {"typeCheckingMode": "strict", "reportUnusedExpression": False, "reportUnknownMemberType": False}
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    ran = subprocess.run(
        [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "good.py", "bad.py"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    found = [each for each in json.loads(ran.stdout)["generalDiagnostics"] if each["severity"] == "error"]
    require_each_mistake(
        [(Path(each["file"]).name, each["range"]["start"]["line"] + 1, each["message"]) for each in found]
    )

"""`tracemw check` passes for every example, and fails for one of each framework without its middleware."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from checking.conftest import Check, codes

ROOT = Path(__file__).parents[2]
SERVICES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in (ROOT / "examples").rglob("*.py")
    if "demo" not in path.parts and re.search(r"^app = |^from .* import .*\bapp\b", path.read_text(), re.MULTILINE)
)
LINES = {
    "app.add_middleware(TraceMiddleware)\n": "app.add_middleware(tracemw.fastapi.TraceMiddleware)",
    "TraceMiddleware(app)\n": "tracemw.flask.TraceMiddleware(app)",
}

OF_EACH_FRAMEWORK = ("examples.fastapi_app.payments", "examples.flask_app.app")


@pytest.fixture(scope="module")
def without_middleware(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the examples in which no application has its middleware."""
    copy = tmp_path_factory.mktemp("without")
    shutil.copytree(ROOT / "examples", copy / "examples", ignore=shutil.ignore_patterns("__pycache__", "demo"))
    for path in (copy / "examples").rglob("*.py"):
        text = path.read_text()
        for line in LINES:
            text = text.replace(f"\n{line}", "\n")
        path.write_text(text)
    return copy


def test_every_kind_of_example_is_there() -> None:
    assert {name.split(".")[1] for name in SERVICES} == {"fastapi_app", "flask_app", "incidents"}


@pytest.mark.parametrize("service", SERVICES)
def test_an_example_passes(check: Check, service: str) -> None:
    found = check("", "--app-dir", str(ROOT), "--lifespan", target=f"{service}:app")
    assert (found["problems"], found["notes"], found["status"]) == ([], [], 0)
    assert all(client["traced"] for client in found["clients"])
    assert len(found["clients"]) >= ("payments" not in service or "ghost" in service)


@pytest.mark.parametrize("service", OF_EACH_FRAMEWORK)
def test_an_example_without_its_middleware_fails_with_the_missing_line(
    check: Check, without_middleware: Path, service: str
) -> None:
    found = check("", "--app-dir", str(without_middleware), target=f"{service}:app")
    assert (codes(found), found["status"]) == (["no-door"], 1)
    (problem,) = found["problems"]
    assert problem["remedy"].removeprefix("add: ") in LINES.values()
    assert Path(problem["path"]).read_text().splitlines()[problem["line"] - 1].startswith("app = ")

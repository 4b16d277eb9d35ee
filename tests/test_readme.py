"""What the README shows runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import tracemw
from servers import process
from tracemw._http.skip import DEFAULT_PATHS

README = (Path(__file__).parent.parent / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("snippet", SNIPPETS, ids=lambda snippet: snippet.splitlines()[-1][:40])
def test_each_snippet_runs(snippet: str) -> None:
    if "fastapi" in snippet:
        pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    with process("-W", "error", "-c", snippet, env={"OTEL_TRACES_EXPORTER": "none"}) as running:
        output, _ = running.communicate(timeout=30)
    assert running.returncode == 0, output


def test_there_are_snippets() -> None:
    assert len(SNIPPETS) == 5


def test_the_readme_lists_every_path_that_is_skipped_by_default() -> None:
    assert {path for path in DEFAULT_PATHS if f"`{path}`" not in README} == set()


def test_every_public_function_is_mentioned() -> None:
    names = [name for name in tracemw.__all__ if name not in ("Stats", "__version__")]
    assert [name for name in names if name not in README] == []

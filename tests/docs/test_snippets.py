"""Each snippet of Python that README and docs show runs as it stands, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import backend_serving
from docs.pages import Block, blocks

PYTHON = [block for block in blocks() if block.language == "python" and block.kind != "file"]


@pytest.fixture(scope="module")
def forking() -> Iterator[subprocess.Popen[str]]:
    """The process that runs snippets; their spans go to a real backend."""
    command = [sys.executable, str(Path(__file__).with_name("forking.py"))]
    with backend_serving() as backend:
        environment = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}
        with subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as running:
            yield running


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_a_snippet_of_python_runs_as_it_stands(block: Block, forking: subprocess.Popen[str], tmp_path: Path) -> None:
    output = tmp_path / "output"
    assert forking.stdin is not None
    assert forking.stdout is not None
    print(json.dumps([str(block), block.text, str(output)]), file=forking.stdin, flush=True)
    assert forking.stdout.readline() == "0\n", output.read_text()


def test_there_are_snippets_in_the_readme_and_on_the_pages() -> None:
    found = {block.page for block in PYTHON}
    assert {"README.md", "docs/how-to/requests.md", "docs/how-to/testing.md", "docs/how-to/migrating.md"} <= found

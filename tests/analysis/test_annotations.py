"""What a pipeline of GitHub shows of `tracemw analyze` and `tracemw compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from analysis.commands import run
from analysis.traffic import Traffic

CAPTURE = Path(__file__).parent / "captures" / "byid-v2-json.json"


@pytest.fixture
def slow(tmp_path: Path) -> tuple[str, str]:
    before = Traffic(seed=1, count=60).write(tmp_path / "before.json")
    return str(before), str(Traffic(seed=2, count=60, addresses=41).write(tmp_path / "after.json"))


def errors(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("::error ")]


def test_nothing_is_annotated_elsewhere() -> None:
    assert not errors(run("analyze", str(CAPTURE)).stdout)


@pytest.mark.parametrize("asked", [(), ("--annotate",)])
def test_what_makes_the_status_1_is_annotated(asked: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    if not asked:
        monkeypatch.setenv("GITHUB_ACTIONS", "true")
    (line,) = errors(run("analyze", str(CAPTURE), "--fail-on", "error-source", *asked).stdout)
    assert line.startswith("::error title=error-source::GET /orders/{number} of web failed with ValueError: entry 13")
    assert not errors(run("analyze", str(CAPTURE), "--fail-on", "n-plus-one", *asked).stdout)


def test_the_line_of_code_is_found_in_the_repository(
    slow: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place, function in (("orders", "list_orders"), ("profile, new", "addresses_of"), (".venv/lib", "addresses_of")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "app.py").write_text(f"def {function}(): ...\n")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    said = run("compare", "--before", slow[0], "--after", slow[1], "--fail-on", "regression", "--annotate").stdout
    assert "::error file=profile%2C new/app.py,line=57,title=regression::`SELECT addresses` in profile grew" in said
    (route, *_) = errors(said)
    assert route.startswith("::error title=regression::GET /orders got slower: p95 ")


def test_with_json_the_output_stays_json(slow: tuple[str, str]) -> None:
    ended = run("compare", "--before", slow[0], "--after", slow[1], "--json", "--annotate")
    assert json.loads(ended.stdout)["regression"]
    assert [line.partition("title=")[2].partition("::")[0] for line in errors(ended.stderr)] == [
        *["regression"] * 3,
        "n-plus-one",
    ]


def test_the_summary_of_the_job_is_added_to(
    slow: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run("compare", "--before", slow[0], "--after", slow[1], "--fail-on", "n-plus-one")
    written = summary.read_text()
    assert written.startswith("before\n**GET /orders got slower: p95 ")
    assert "\n- n-plus-one: profile runs SELECT addresses 41 times" in written


def test_what_github_reads_is_escaped(tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    for seed, file in ((1, before), (2, after)):
        Traffic(seed=seed, count=60, addresses=1 if seed == 1 else 41).write(file)
        file.write_text(file.read_text().replace('"/orders"', '"/50%\\n::warning::x"'))
    said = run("compare", "--before", str(before), "--after", str(after), "--annotate").stdout
    assert "::error title=regression::GET /50%25%0A::warning::x got slower" in said
    assert not any(line.startswith("::warning") for line in said.splitlines())

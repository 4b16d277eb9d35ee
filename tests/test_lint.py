"""`tracemw lint`, on a corpus whose lines say what is expected of them, and as its users run it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tracemw.cli import main
from tracemw.lint.codes import CODES
from tracemw.lint.lint_settings import LintSettings
from tracemw.lint.linting import lint

CORPUS = Path(__file__).parent / "lint_corpus"
ROOT = CORPUS.parents[1]

Place = tuple[str, int, str]


def expected() -> set[Place]:
    """Path, line and code of each mark in the corpus."""
    return {
        (path.relative_to(CORPUS).as_posix(), number, code)
        for path in CORPUS.rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for code in re.findall(r"TMW\d+", line.partition("# expect:")[2])
    }


def told() -> set[Place]:
    problems = lint([CORPUS], LintSettings(root=CORPUS))
    return {(problem.path.relative_to(CORPUS).as_posix(), problem.line, problem.code) for problem in problems}


def test_every_marked_line_of_the_corpus_is_found_and_no_other() -> None:
    assert told() ^ expected() == set()


def test_a_folder_above_the_project_is_no_package_of_the_service(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    for name, code in (
        ("shop", "from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor\n"),
        ("stock", "import httpx\nclient = httpx.Client()\n"),
    ):
        (tmp_path / "project" / name).mkdir(parents=True)
        (tmp_path / "project" / name / "calls.py").write_text(code)
    problems = lint([tmp_path / "project"], LintSettings(root=tmp_path / "project"))
    assert [(problem.path.parent.name, problem.code) for problem in problems] == [("stock", "TMW302")]


def test_every_code_is_in_the_corpus() -> None:
    assert {code for _, _, code in expected()} == set(CODES)


def test_the_examples_are_clean(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    status = main(["lint", "examples"])
    assert (status, capsys.readouterr().out) == (0, "")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with one client that hands no trace on, and one key that is not allowed."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "mail.py").write_text(
        "import requests\nimport tracemw\n\nrequests.get('http://x', timeout=1)\ntracemw.annotate(order=1)\n"
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("settings", "codes"),
    [
        ("", ["TMW302", "TMW104"]),
        ('[tool.tracemw]\nallow = ["order"]', ["TMW302"]),
        ('[tool.tracemw.lint]\nignore = ["TMW302"]', ["TMW104"]),
        ('[tool.tracemw.lint]\nper-path-ignores = {"jobs/*" = ["TMW302", "TMW104"]}', []),
        ('[tool.tracemw.lint]\nper-path-ignores = {"other/*" = ["TMW302", "TMW104"]}', ["TMW302", "TMW104"]),
    ],
)
def test_the_project_s_own_file_says_what_is_told(
    project: Path, capsys: pytest.CaptureFixture[str], settings: str, codes: list[str]
) -> None:
    (project / "pyproject.toml").write_text(settings)
    assert main(["lint", ".", "--json"]) == (1 if codes else 0)
    document = json.loads(capsys.readouterr().out)
    assert [problem["code"] for problem in document["problems"]] == codes


def test_tests_may_have_clients_and_applications_that_nobody_traces(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "jobs").rename(project / "tests")
    assert main(["lint", "."]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("settings", "arguments", "said"),
    [
        ("", ["nowhere"], "nowhere does not exist; name files and directories that do"),
        ("", ["jobs", "--ignore", "TMW999"], "'TMW999' is not accepted; use some of TMW001, "),
        ("[tool.tracemw.lint]\nignored = []", ["jobs"], "'ignored' is not accepted; use some of exclude, ignore, "),
        ("[tool.tracemw.lint]\nignore = 'TMW302'", ["jobs"], "ignore is not accepted; use a list of strings"),
        ("[tool.tracemw.lint]\nper-path-ignores = []", ["jobs"], "per-path-ignores takes a table, such as"),
        ("[tool", ["jobs"], "cannot be read"),
        ("[tool.tracemw.lint]\nexclude = ['jobs/*']", ["jobs"], "there are no Python files; name files"),
    ],
)
def test_what_is_not_accepted_is_an_error_with_its_remedy(
    project: Path, capsys: pytest.CaptureFixture[str], settings: str, arguments: list[str], said: str
) -> None:
    (project / "pyproject.toml").write_text(settings)
    assert main(["lint", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_line_of_text_has_place_code_sentence_and_remedy(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.is_dir()
    assert main(["lint", "jobs"]) == 1
    assert capsys.readouterr().out.splitlines()[0] == (
        "jobs/mail.py:4:1: TMW302 the client requests.get() hands no trace on; "
        "wrap it: tracemw.requests.trace_session(requests.Session()) once, and call by it"
    )


def test_annotations_of_github_are_escaped(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "jobs" / "a,b:c.py").write_text("import requests\nrequests.get('x')\n")
    main(["lint", "jobs", "--format", "github"])
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("::error file=jobs/a%2Cb%3Ac.py,line=2,col=1,title=TMW302::the client requests.get() ")


def test_sarif_names_rules_and_places(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.is_dir()
    main(["lint", "jobs", "--format", "sarif"])
    document = json.loads(capsys.readouterr().out)
    (run,) = document["runs"]
    assert document["version"] == "2.1.0"
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} == set(CODES)
    place = run["results"][0]["locations"][0]["physicalLocation"]
    assert place == {"artifactLocation": {"uri": "jobs/mail.py"}, "region": {"startLine": 4, "startColumn": 1}}


def test_sarif_has_places_as_uris(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "50% of é.py").write_text("import requests\nrequests.get('x')\n", encoding="utf-8")
    main(["lint", "50% of é.py", "--format", "sarif"])
    (result,) = json.loads(capsys.readouterr().out)["runs"][0]["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "50%25%20of%20%C3%A9.py"


def test_what_cannot_be_read_is_told_and_keeps_no_other_file_from_being_read(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "jobs" / ".#mail.py").symlink_to("joe@host.1234")
    (project / "work.ipynb").write_text('{"cells": []}')
    assert main(["lint", "jobs", "work.ipynb"]) == 1
    told = capsys.readouterr().out
    assert "work.ipynb:1:1: TMW001 the file cannot be read: it is a notebook, and no Python file" in told
    assert told.count("jobs/mail.py:") == 2
    assert ".#mail.py" not in told


def test_a_comment_silences_its_line_after_a_form_feed(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "jobs" / "mail.py").write_text("import requests\n\x0c\nrequests.get('x')  # noqa: TMW302\n")
    assert (main(["lint", "jobs"]), capsys.readouterr().out) == (0, "")


def test_flake8_runs_the_rules(project: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "flake8", "--isolated", "--select", "TMW", "jobs"],
        capture_output=True,
        text=True,
        cwd=project,
        check=False,
    )
    assert [line.split()[1] for line in ended.stdout.splitlines()] == ["TMW302"]
    assert ended.stderr == ""


def test_flake8_leaves_alone_what_a_comment_ignores(project: Path) -> None:
    (project / "jobs" / "mail.py").write_text("import requests\nrequests.get('x')  # tracemw: ignore[TMW302]\n")
    command = [sys.executable, "-m", "flake8", "--isolated", "--select", "TMW", "jobs"]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=project, check=False)
    assert (ended.stdout, ended.stderr) == ("", "")


def test_a_reader_that_goes_away_is_no_traceback(project: Path) -> None:
    (project / "jobs" / "many.py").write_text("import requests\n" + "requests.get('x')\n" * 5000)
    with subprocess.Popen(
        [sys.executable, "-m", "tracemw", "lint", "jobs"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=project
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.stderr.read() == b""


def test_a_hundred_thousand_lines_take_less_than_ten_seconds_of_cpu(tmp_path: Path) -> None:
    text = "".join(path.read_text() for path in sorted(CORPUS.glob("*.py")) if path.name != "not_python.py")
    copies = 100_000 // text.count("\n") + 1
    for number in range(copies):
        (tmp_path / f"module_{number}.py").write_text(text)
    began = time.process_time()
    assert lint([tmp_path], LintSettings(root=tmp_path))
    assert time.process_time() - began < 10


def test_nothing_is_imported_or_run(tmp_path: Path) -> None:
    (tmp_path / "evil.py").write_text(f"import os\nos.mkdir({os.fspath(tmp_path / 'made')!r})\n")
    assert lint([tmp_path], LintSettings(root=tmp_path)) == []
    assert not (tmp_path / "made").exists()

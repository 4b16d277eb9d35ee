"""`init(instrument=...)`: the official instrumentations are found, turned on, or missed by name."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from importlib.metadata import PackageNotFoundError, entry_points
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

import tracemw
from backend import Backend, backend_serving
from conftest import Recorded
from servers import process
from settings.resolving import resolve
from tracemw._setup import instrumentations
from tracemw._setup.instrumentations import find
from tracemw.sqlalchemy import trace_engine


def run(code: str, backend: Backend) -> subprocess.CompletedProcess[str]:
    """Run `code` in a fresh interpreter that exports to the backend, and return how it ended."""
    with process("-c", code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
        output, _ = running.communicate(timeout=60)
    return subprocess.CompletedProcess(args=code, returncode=running.returncode, stdout=output)


@pytest.mark.parametrize("wanted", ['("sqlite3",)', '"auto"'])
def test_the_spans_of_an_instrumentation_that_init_turns_on_leave_by_the_conventions(wanted: str) -> None:
    with backend_serving() as backend:
        ended = run(
            f"import tracemw\ntracemw.init('shop', instrument={wanted})\n"
            "import sqlite3\ncursor = sqlite3.connect(':memory:').cursor()\n"
            "cursor.execute('CREATE TABLE items (id int, name text)')\n"
            "cursor.execute(\"SELECT * FROM items WHERE name = 'secret' AND id = ?\", (7,))\n",
            backend,
        )
        assert (ended.returncode, ended.stdout) == (0, "")
        assert backend.names == ["CREATE TABLE items", "SELECT items"]
        found = {pair.key: pair.value.string_value for pair in backend.spans[1].attributes}
    assert found["db.system.name"] == "sqlite"
    assert found["db.query.text"] == "SELECT * FROM items WHERE name = ? AND id = ?"
    assert not {"db.system", "db.statement", "db.name", "db.user"} & set(found)


OF_OTHERS = """
import sqlite3, tracemw
tracing = tracemw.init("shop", instrument=("sqlite3",))
connection = sqlite3.connect(":memory:", isolation_level=None)
cursor = connection.cursor()
with tracemw.span("request"):
    cursor.execute("BEGIN")
    for number in range(500):
        cursor.execute(f"SELECT {number} + 1")  # the loop
    cursor.execute("COMMIT")
    try:
        cursor.execute("COMMIT")
    except sqlite3.OperationalError:
        pass
assert tracing.stats().trivial == 2
"""


def test_of_others_spans_trivial_ones_stay_out_and_repeats_are_folded_and_tell_their_line() -> None:
    with backend_serving() as backend:
        ended = run(OF_OTHERS, backend)
        assert (ended.returncode, ended.stdout) == (0, "")
        assert Counter(backend.names) == {"SELECT": 21, "COMMIT": 1, "request": 1}
        spans = {each.span_id: each for each in backend.spans}
    lines, counts = [], []
    for span in spans.values():
        found = {pair.key: pair.value.string_value or pair.value.int_value for pair in span.attributes}
        if span.name == "SELECT":
            assert found["db.query.text"] == "SELECT ? + ?"
            lines.append(found.get("code.line.number"))
            counts.append(found.get("tracemw.folded.count"))
    (line,) = [number for number, each in enumerate(OF_OTHERS.splitlines(), 1) if each.endswith("# the loop")]
    assert Counter(lines) == {None: 4, line: 17}
    assert Counter(counts) == {None: 20, 480: 1}


def test_one_that_is_missing_is_an_error_that_names_the_package() -> None:
    with pytest.raises(ValueError, match=r"instrument='nosuch'.*pip install opentelemetry-instrumentation-nosuch"):
        find(["nosuch"])
    with pytest.raises(ValueError, match="pip install opentelemetry-instrumentation-aio-pika"):
        find(["aio_pika"])


def test_one_whose_library_is_missing_is_an_error_that_names_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    from opentelemetry.instrumentation import dependencies

    def version(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(dependencies, "version", version)
    with pytest.raises(ValueError, match=r"'psycopg': its instrumentation takes psycopg.*that is not installed"):
        find(["psycopg"])


def test_sqlalchemy_of_a_version_that_is_too_new_is_an_error_that_names_trace_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = tmp_path / "sqlalchemy-2.1.9.dist-info"
    newer.mkdir()
    (newer / "METADATA").write_text("Metadata-Version: 2.1\nName: SQLAlchemy\nVersion: 2.1.9\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    with pytest.raises(ValueError, match=r"sqlalchemy.*2\.1\.9.*tracemw\.sqlalchemy\.trace_engine\(engine\)"):
        find(["sqlalchemy"])


def test_auto_leaves_out_what_tracemw_has_a_door_for() -> None:
    names = {each.name for each in find(["auto"])}
    assert "sqlite3" in names
    assert "sqlalchemy" in {each.name for each in entry_points(group="opentelemetry_instrumentor")}
    assert "sqlalchemy" not in names


@pytest.mark.parametrize("value", ["psycopg, sqlite3", "sqlite3", "*"])
def test_auto_leaves_out_what_the_environment_disables(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", value)
    config = resolve(instrument="auto")
    names = {each.name for each in find(config.instrument, config.not_by_auto)}
    assert "sqlite3" not in names
    assert ("psycopg" in names) == (value == "sqlite3")
    named = resolve(instrument=("sqlite3",))
    assert [each.name for each in find(named.instrument, named.not_by_auto)] == ["sqlite3"]


def test_auto_leaves_out_each_library_that_has_a_door() -> None:
    assert set(tracemw._DOORS) == instrumentations.WITH_DOOR


def test_one_name_is_no_list_of_names() -> None:
    with pytest.raises(TypeError, match=r"""instrument takes several names, such as \('redis',\), or "auto\""""):
        resolve(instrument="redis")
    assert resolve(instrument="auto").instrument == ("auto",)
    assert resolve(instrument=["redis"]).instrument == ("redis",)


def test_a_statement_has_one_span_beside_the_instrumentation_of_its_driver(recorded: Recorded) -> None:
    from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor

    SQLite3Instrumentor().instrument()
    try:
        engine = trace_engine(create_engine("sqlite://"), pool_wait=5.0, slow=5.0)
        with engine.connect() as connection:
            recorded.clear()  # SQLAlchemy asks a new connection for this and that
            connection.execute(text("SELECT 1, 2"))
    finally:
        SQLite3Instrumentor().uninstrument()
    (span,) = recorded.all
    assert span.instrumentation_scope is not None
    assert span.instrumentation_scope.name == "tracemw"

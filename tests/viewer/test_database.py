"""The database file of ``tracemw view --db``: it is for its owner alone, and no span gets lost in it unnoticed."""

from __future__ import annotations

import os
import resource
import sqlite3
import stat
import subprocess
from pathlib import Path

import httpx
import pytest

from .running import COMMAND, Viewer, viewer
from .samples import Spans, hex_id, one, span


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def refused(path: Path) -> str:
    result = subprocess.run(
        [*COMMAND, "--port", "0", "--db", str(path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (result.returncode, result.stdout) == (2, "")
    assert "Traceback" not in result.stderr
    assert result.stderr.count("\n") == 1
    return result.stderr


@pytest.fixture(name="path")
def path_of_a_database(tmp_path: Path) -> Path:
    return tmp_path / "traces.db"


@pytest.fixture(name="database")
def database_with_traces(path: Path) -> Path:
    with viewer("--db", str(path)) as running:
        for part in range(10):
            running.send(*(one(part * 100 + number, text="x" * 500) for number in range(1, 101))).raise_for_status()
    return path


def test_a_new_database_file_and_those_beside_it_are_for_their_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with viewer("--db", str(path)) as running:
            running.send(one()).raise_for_status()
            running.found()
            assert modes(path.parent) == {"traces.db": 0o600, "traces.db-wal": 0o600, "traces.db-shm": 0o600}
    finally:
        os.umask(before)


def test_database_files_that_others_could_read_become_the_owners_alone(path: Path) -> None:
    with viewer("--db", str(path)) as running:
        running.send(one()).raise_for_status()
        running.process.kill()
    for name in path.parent.iterdir():  # the database, and what a killed viewer leaves beside it
        name.chmod(0o644)
    with viewer("--db", str(path)) as running:
        assert running.found() == [hex_id(1)]
        assert set(modes(path.parent).values()) == {0o600}


def test_a_database_of_another_program_keeps_its_mode(path: Path) -> None:
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (id)")
    other.close()
    path.chmod(0o644)
    assert "another program" in refused(path)
    assert modes(path.parent) == {"traces.db": 0o644}


@pytest.mark.parametrize(
    ("start", "end"),
    [(100, 4096), (4096, 8192), (8192, 60_000), (20_000, 200_000)],
    ids=["head", "page", "pages", "data"],
)
def test_a_damaged_database_file_is_refused_with_its_name_and_a_remedy(database: Path, start: int, end: int) -> None:
    content = bytearray(database.read_bytes())
    content[start:end] = os.urandom(end - start)
    database.write_bytes(content)
    says = refused(database)
    assert str(database) in says
    assert "damaged" in says or "not a database" in says
    assert "--db" in says


def test_a_database_file_that_was_cut_short_is_refused_with_a_remedy(database: Path) -> None:
    os.truncate(database, database.stat().st_size // 2)
    assert "damaged" in refused(database)


def test_a_database_without_its_tables_is_refused_with_a_remedy(database: Path) -> None:
    with sqlite3.connect(database) as other:
        other.execute("DROP TABLE traces")
    other.close()
    assert "damaged" in refused(database)


def test_a_second_viewer_refuses_the_file_that_the_first_has_open(path: Path) -> None:
    with viewer("--db", str(path)) as running:
        assert "another tracemw view has it open" in refused(path)
        running.send(one()).raise_for_status()
        assert running.found() == [hex_id(1)]


def test_a_pipe_in_place_of_a_database_file_is_refused(path: Path) -> None:
    os.mkfifo(path)
    assert "no regular file" in refused(path)


def sent(running: Viewer, trace: int) -> int:
    return httpx.Response.raise_for_status(running.send(one(trace))).status_code


def test_a_database_file_that_is_deleted_under_the_viewer_is_created_anew_and_the_log_says_so(path: Path) -> None:
    with viewer("--db", str(path), stderr=subprocess.PIPE) as running:
        sent(running, 1)
        assert running.found() == [hex_id(1)]
        for _ in range(2):
            path.unlink()
            assert sent(running, 2) == 200
            assert running.found() == [hex_id(2)]
            assert running.get("/viewer/status")["spans"] == 1
            assert set(modes(path.parent).values()) == {0o600}
        running.process.kill()
        running.process.wait()
        assert running.process.stderr is not None
        assert running.process.stderr.read().count("was deleted, with all traces in it") == 2
    with viewer("--db", str(path)) as running:
        assert running.found() == [hex_id(2)]


def test_asking_for_traces_of_a_deleted_file_creates_none(path: Path) -> None:
    with viewer("--db", str(path)) as running:
        path.unlink()
        response = running.http.get("/api/search")  # the first to read
        assert (response.status_code, "it has been deleted" in response.text) == (503, True)
        assert not path.exists()
        assert sent(running, 1) == 200
        assert running.found() == [hex_id(1)]


def test_a_folder_that_is_deleted_under_the_viewer_refuses_spans_until_it_is_back(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with viewer("--db", str(folder / "t.db"), stderr=subprocess.PIPE) as running:
        sent(running, 1)
        for name in folder.iterdir():
            name.unlink()
        folder.rmdir()
        for _ in range(3):
            response = running.send(one(2))
            assert response.status_code == 503
            assert response.headers["retry-after"]
            assert b"there is no directory" in response.content
        folder.mkdir()
        assert sent(running, 3) == 200
        assert running.found() == [hex_id(3)]
        running.stop()
        assert running.process.stderr is not None
        log = running.process.stderr.read()
        assert (log.count("there is no directory"), log.count("spans are taken again")) == (1, 1)


def test_while_another_file_stands_in_place_of_the_database_spans_are_refused(database: Path) -> None:
    with viewer("--db", str(database)) as running:
        aside = database.with_name("aside.db")
        database.rename(aside)
        database.write_bytes(b"something else")
        response = running.send(one(5000))
        assert response.status_code == 503
        assert b"another file stands in its place" in response.content
        assert database.read_bytes() == b"something else"
        aside.replace(database)
        assert sent(running, 5001) == 200
        assert running.found(limit=1, tags="name=work") != []


def test_on_a_full_disk_spans_are_refused_and_taken_when_there_is_room(path: Path) -> None:
    with viewer("--db", str(path)) as running:
        sent(running, 1)
        limit = path.stat().st_size + path.with_name("traces.db-wal").stat().st_size + 100_000
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        response = running.send(Spans("shop", tuple(span(2, number, text="x" * 1000) for number in range(1, 2000))))
        assert response.status_code == 503
        assert b"make room on the disk" in response.content
        assert running.found() == [hex_id(1)]
        resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert sent(running, 3) == 200
        assert set(running.found()) == {hex_id(1), hex_id(3)}


def test_while_another_program_holds_the_database_spans_are_refused(path: Path) -> None:
    with viewer("--db", str(path)) as running:
        sent(running, 1)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        response = running.send(one(2))
        assert response.status_code == 503
        assert b"another program holds it" in response.content
        assert running.found() == [hex_id(1)]
        other.execute("ROLLBACK")
        other.close()
        assert sent(running, 2) == 200


def test_a_database_that_is_damaged_under_the_viewer_is_an_error_with_a_remedy(database: Path) -> None:
    with viewer("--db", str(database)) as running, database.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(database.stat().st_size - 4096))
        file.flush()
        responses = [running.http.get("/api/search?q={span.text=`y`}"), running.http.get("/api/search/tags")]
        responses += [running.http.get(f"/api/v2/traces/{number:x}") for number in range(1, 30)]
        assert {response.status_code for response in responses} <= {200, 503}
        (says,) = {response.text for response in responses if response.status_code == 503}
        assert "the file is damaged" in says
        assert running.send(one(1)).status_code in (200, 503)


def test_searches_in_a_database_file_leave_no_descriptors_behind(database: Path) -> None:
    with viewer("--db", str(database)) as running:
        folder = Path(f"/proc/{running.process.pid}/fd")
        if not folder.exists():
            pytest.skip("descriptors are counted by Linux's /proc")
        for _ in range(200):
            running.found(tags="text=y")
        assert len(list(folder.iterdir())) < 60

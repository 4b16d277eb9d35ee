"""`tracemw forget` empties the viewer of a user's traces, and leaves the others."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

import tracemw
from analysis.commands import Ended, answering, run
from servers import answers, free_port, process, wait_until
from viewer.running import Viewer, viewer
from viewer.samples import Spans, hex_id, one, span

from .users import ALICE, BOB, KEYS, VARIABLE, pseudonym, shows

SERVICE = """
import sys, fastapi, uvicorn, tracemw
tracemw.init("shop", endpoint=sys.argv[1], environment="production", sampling=1.0)
app = fastapi.FastAPI()
app.add_middleware(tracemw.fastapi.TraceMiddleware)
@app.get("/orders/{name}")
def orders(name: str):
    if name != "nobody":
        tracemw.user(f"{name}@example.com")
    with tracemw.span("load"):
        return {}
uvicorn.run(app, port=int(sys.argv[2]), log_level="warning")
"""


@pytest.fixture(name="db", scope="module")
def a_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("viewer") / "traces.db"


@pytest.fixture(name="started", scope="module")
def started_viewer(db: Path) -> Iterator[Viewer]:
    with viewer("--db", str(db)) as started:
        yield started


@pytest.fixture(name="running")
def emptied_viewer(started: Viewer) -> Viewer:
    """The one viewer of these tests, with nothing in it."""
    ids = left(started)
    if ids:
        started.http.post("/viewer/erase", json={"traceIds": ids}).raise_for_status()
    return started


def stock(running: Viewer) -> None:
    """Traces of alice under both keys, of which one has a service that does not name her, of bob, and of nobody."""
    running.send(
        one(1, user__hash=pseudonym(ALICE)),
        Spans("billing", (span(1, 2, 1, name="charge"), span(1, 3, 1, name="receipt"))),
        one(2, user__hash=pseudonym(ALICE, "2026a")),
        one(3, user__hash=pseudonym(BOB)),
        one(4),
    ).raise_for_status()


def forget(running: Viewer, *arguments: str, stdin: str = ALICE) -> Ended:
    ended = run("forget", "-", "--url", running.url, *arguments, stdin=stdin.encode())
    assert not shows(ended.stdout + ended.stderr)
    return ended


def left(running: Viewer) -> list[str]:
    return sorted(running.found(q="{ }", limit=100))


def test_the_traces_of_a_user_go_under_every_key_with_all_their_spans_and_the_others_stay(
    running: Viewer, db: Path
) -> None:
    stock(running)
    ended = forget(running)
    assert ended.returncode == 0
    assert left(running) == [hex_id(3), hex_id(4)]
    assert running.get("/viewer/status")["spans"] == 2
    lines = ended.stdout.splitlines()
    assert lines[0] == f"2 traces of 1 user in the viewer at {running.url}, under the keys 2026b, 2026a"
    assert lines[1] == "2 traces erased, 0 still there"
    content = b"".join(file.read_bytes() for file in db.parent.iterdir())
    assert pseudonym(ALICE)[-64:].encode() not in content
    assert b"receipt" not in content
    assert pseudonym(BOB).encode() in content
    again = forget(running)
    assert again.returncode == 0
    assert again.stdout.splitlines()[1:] == [
        "nothing was found under the keys 2026b, 2026a: is TRACEMW_PSEUDONYM_KEY that of the services, and is the "
        "identifier written as the application writes it, one a line?"
    ]


def test_nothing_found_is_told_apart_from_erased(running: Viewer) -> None:
    running.send(one(4)).raise_for_status()
    nobody = forget(running, "--json")
    told = json.loads(nobody.stdout)
    assert (nobody.returncode, told["tracesFound"], told["gone"]) == (0, 0, True)
    assert "nothing was found under the keys 2026b, 2026a, and no span there has a pseudonym" in told["notice"]
    stock(running)
    row = forget(running, "--json", stdin=f"{ALICE},{BOB}\n")
    told = json.loads(row.stdout)
    assert (row.returncode, told["users"], told["tracesFound"]) == (0, 1, 0)
    assert "is the identifier written as the application writes it, one a line?" in told["notice"]
    found = forget(running, "--json")
    assert "notice" not in json.loads(found.stdout)
    several = forget(running, "--dry-run", stdin=f"x{ALICE}\nx{BOB}\n")
    assert several.returncode == 0
    assert "are the identifiers written as the application writes it, one a line?" in several.stdout


@pytest.mark.parametrize("mode", [(), ("--dry-run",)])
def test_nothing_found_while_others_are_under_another_key_says_which_and_is_no_success(
    running: Viewer, monkeypatch: pytest.MonkeyPatch, mode: tuple[str, ...]
) -> None:
    stock(running)
    monkeypatch.setenv("TRACEMW_PSEUDONYM_KEY", f"2027a:{'z' * 32}")
    ended = forget(running, *mode)
    assert ended.returncode == 1
    assert re.search(
        r"nothing was found under the key 2027a, and the traces there are under the key 2026[ab]: "
        "set TRACEMW_PSEUDONYM_KEY to the keys of the services, and run this again",
        ended.stdout,
    )
    assert "run this again until" not in ended.stdout
    assert (json.loads(ended.stderr)["gone"], len(left(running))) == (False, 4)


def test_real_requests_of_a_user_are_forgotten_and_those_of_others_are_not(running: Viewer) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with process("-c", SERVICE, running.url, str(port), env={"TRACEMW_PSEUDONYM_KEY": VARIABLE}):
        wait_until(lambda: answers(f"{url}/"))
        for name in ("alice", "bob", "nobody", "alice"):
            httpx.get(f"{url}/orders/{name}", trust_env=False, timeout=60).raise_for_status()
        wait_until(lambda: len(running.found(q='{ name = "load" }')) == 4)
        wait_until(lambda: len(running.found(q='{ name = "GET /orders/{name}" }')) == 4)
    assert forget(running).returncode == 0
    assert len(running.found(q='{ name = "load" }')) == 2
    assert forget(running, "--dry-run", stdin=BOB).returncode == 1


def test_traces_of_a_service_whose_clock_is_wrong_by_years_are_erased(running: Viewer) -> None:
    ages = (0, 1, 10**18 * 9)
    running.send(
        *(
            Spans("shop", (span(trace, 1, start=start, user__hash=pseudonym(ALICE)),))
            for trace, start in enumerate(ages, 1)
        )
    ).raise_for_status()
    ended = forget(running)
    assert (ended.returncode, ended.stdout.splitlines()[1]) == (0, "3 traces erased, 0 still there")
    assert left(running) == []


def test_what_a_run_that_failed_has_left_in_the_file_goes_although_no_search_finds_it(
    running: Viewer, db: Path
) -> None:
    running.send(one(4)).raise_for_status()
    with closing(sqlite3.connect(db)) as connection, connection:  # rows that are deleted, and still in the file
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE earlier (row TEXT)")
        connection.execute("INSERT INTO earlier VALUES (?)", (pseudonym(ALICE),))
        connection.execute("DROP TABLE earlier")
    digits = pseudonym(ALICE)[-64:].encode()

    def is_in_a_file() -> bool:
        return any(digits in file.read_bytes() for file in db.parent.iterdir())

    assert is_in_a_file()
    assert forget(running, "--dry-run").returncode == 0
    assert is_in_a_file()
    assert forget(running).returncode == 0
    assert not is_in_a_file()


def test_marks_of_the_byte_order_are_no_part_of_an_identifier_whatever_the_locale(running: Viewer) -> None:
    stock(running)
    ended = subprocess.run(
        [sys.executable, "-m", "tracemw", "forget", "-", "--url", running.url],
        input=f"\ufeff{ALICE}\r\n\ufeff{BOB}\r\n".encode(),
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0, ended
    assert left(running) == [hex_id(4)]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "latin-1"])
def test_standard_input_that_is_not_utf_8_is_refused_with_the_way_to_convert_it(encoding: str) -> None:
    ended = run("forget", "-", stdin="zoë@example.com\n".encode(encoding))
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "standard input is not UTF-8; convert it first, such as with iconv -f UTF-16 -t UTF-8" in ended.stderr


def test_identifiers_may_stand_on_both_sides_of_an_option(running: Viewer) -> None:
    stock(running)
    ended = run("forget", ALICE, "--url", running.url, BOB)
    assert ended.returncode == 0
    assert left(running) == [hex_id(4)]
    assert not shows(ended.stdout + ended.stderr)


def test_a_server_that_repeats_the_query_has_no_pseudonym_told(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"

    def answer(target: str, _: Any) -> tuple[int, bytes]:
        return (404, b"") if "buildinfo" in target else (400, target.encode())

    with answering(answer) as url:
        ended = run("forget", ALICE, "--url", url, "--audit", str(log))
    assert ended.returncode == 2
    assert pseudonym(ALICE)[-64:][:8] in ended.stderr
    assert not shows(ended.stderr + log.read_text())


def test_a_dry_run_says_what_is_there_and_erases_nothing(running: Viewer) -> None:
    stock(running)
    ended = forget(running, "--dry-run", "--json")
    assert ended.returncode == 1
    told = json.loads(ended.stdout)
    assert sorted(told["traceIds"]) == [hex_id(1), hex_id(2)]
    assert told["outOfReach"] == []
    assert (told["tracesFound"], told["tracesErased"], told["dryRun"], told["gone"]) == (2, 0, True, False)
    assert len(left(running)) == 4
    assert forget(running, "--dry-run", stdin="carol@example.com").returncode == 0


def test_a_window_leaves_what_began_outside_of_it(running: Viewer) -> None:
    stock(running)  # in September 2026
    assert forget(running, "--to", "2026-09-01").returncode == 0
    assert len(left(running)) == 4
    assert forget(running, "--from", "2026-09-01", "--to", "2026-10-01").returncode == 0
    assert left(running) == [hex_id(3), hex_id(4)]


def test_with_wait_spans_that_come_meanwhile_are_erased_too(running: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    stock(running)
    searches = 0
    search = tracemw.analysis.load.query_api.QueryApi.search  # type: ignore[attr-defined]

    def one_more_span_before_the_second_look(*arguments: Any, **more: Any) -> Any:
        nonlocal searches
        searches += 1
        if searches == 2:
            running.send(one(5, user__hash=pseudonym(ALICE))).raise_for_status()
        return search(*arguments, **more)

    monkeypatch.setattr("tracemw.analysis.load.query_api.QueryApi.search", one_more_span_before_the_second_look)
    without = forget(running)
    assert without.returncode == 1
    assert "out of reach: spans have come in meanwhile" in without.stdout
    searches = 0
    assert forget(running, "--wait", "30s", "--every", "0.01s").returncode == 0
    assert left(running) == [hex_id(3), hex_id(4)]


def test_an_audit_line_tells_of_the_run_and_not_of_the_user(running: Viewer, tmp_path: Path) -> None:
    stock(running)
    log = tmp_path / "audit.jsonl"
    for _ in range(2):
        assert forget(running, "--audit", str(log)).stderr == ""
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    first, second = map(json.loads, log.read_text().splitlines())
    assert not shows(log.read_text())
    time = first.pop("time")
    assert time.endswith("Z")
    assert first == {
        "command": "forget",
        "backend": "viewer",
        "server": f"the viewer at {running.url}",
        "users": 1,
        "keys": ["2026b", "2026a"],
        "hashes": [pseudonym(ALICE)[:14], pseudonym(ALICE, "2026a")[:14]],
        "window": None,
        "dryRun": False,
        "tracesFound": 2,
        "tracesErased": 2,
        "tracesLeft": 0,
        "batches": [],
        "gone": True,
        "status": 0,
    }
    assert (second["tracesFound"], second["status"]) == (0, 0)


def test_an_audit_file_that_cannot_be_written_ends_the_run_before_anything_is_erased(
    running: Viewer, tmp_path: Path
) -> None:
    stock(running)
    log = tmp_path / "none" / "audit.jsonl"
    ended = forget(running, "--audit", str(log))
    assert ended.returncode == 2
    assert f"the audit file {log} cannot be written (No such file or directory), so nothing was erased" in ended.stderr
    assert "in a directory that is there" in ended.stderr
    assert len(left(running)) == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no device that is always full")
def test_an_audit_line_that_the_disk_has_no_space_for_is_told_with_the_error(running: Viewer) -> None:
    stock(running)
    ended = forget(running, "--audit", "/dev/full")
    assert ended.returncode == 2
    assert "the audit file /dev/full cannot be written (No space left on device); keep this line: {" in ended.stderr
    assert json.loads(ended.stderr[ended.stderr.index("{") :])["tracesErased"] == 2


def test_identifiers_are_read_from_a_pipe_one_a_line(running: Viewer) -> None:
    stock(running)
    command = [sys.executable, "-m", "tracemw", "forget", "-", "--url", running.url]
    ended = subprocess.run(
        command,
        input=f"{ALICE}\n{BOB}\n",
        env={**os.environ, "TRACEMW_PSEUDONYM_KEY": VARIABLE},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended
    assert left(running) == [hex_id(4)]
    assert not shows(ended.stdout + ended.stderr)


def test_a_former_key_that_is_not_named_any_more_finds_nothing_of_its_time(
    running: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock(running)
    monkeypatch.setenv("TRACEMW_PSEUDONYM_KEY", f"2027a:{'z' * 32},2026b:{KEYS['2026b']}")
    assert forget(running).returncode == 0
    assert left(running) == [hex_id(2), hex_id(3), hex_id(4)]


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (("-",), "\n \n", "0 identifiers are not accepted"),
        (("-",), "x\n" * 21, "21 identifiers are not accepted"),
        (("-",), "\n" * 99_995 + ALICE, "use at most 100000 bytes"),
        (("-",), "x" * 1001, "use at most 1000 characters"),
        ((" ",), "", "an empty identifier is not accepted"),
        (("-", ALICE), "", "- stands alone"),
        ((ALICE, "--since", "1h", "--from", "2h"), "", "use one of them"),
        ((ALICE, "--since", "0s"), "", "use a time above 0"),
        ((ALICE, "--from", "soon"), "", "'soon' is not accepted; use a time such as 2h, 3d or 2026-05-01T10:00"),
        ((ALICE, "--from", "1h", "--to", "2h"), "", "the window ends before it begins"),
        ((ALICE, "--url", "tempo:3200"), "", "use an http:// or https:// URL"),
        ((ALICE, "--url", "http://127.0.0.1:1"), "", "cannot be reached"),
        ((), "", "the following arguments are required"),
        ((ALICE, "--dry-run", "--dry", BOB), "", "an option is not known"),
        (("--wait", ALICE, "-"), "", "use a time above 0"),
        (("\udce9" + ALICE,), "", "an identifier with unreadable characters is not accepted"),
        (("-",), f"{ALICE}\t{BOB}", "an identifier with unreadable characters is not accepted"),
        (("-",), f"{ALICE}\r{BOB}", "an identifier with unreadable characters is not accepted"),
        (("-",), f"{ALICE}\0", "standard input is not UTF-8"),
    ],
)
def test_what_is_not_accepted_ends_with_status_2_and_shows_no_identifier(
    arguments: tuple[str, ...], stdin: str, said: str
) -> None:
    ended = run("forget", *arguments, stdin=stdin.encode())
    assert (ended.returncode, ended.stdout) == (2, "")
    assert said in ended.stderr
    assert not shows(ended.stderr)


def test_without_a_key_nothing_can_be_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRACEMW_PSEUDONYM_KEY")
    ended = run("forget", ALICE)
    assert ended.returncode == 2
    assert "set TRACEMW_PSEUDONYM_KEY to that of the services, with their former keys" in ended.stderr
    monkeypatch.setenv("TRACEMW_PSEUDONYM_KEY", "2026b:short")
    ended = run("forget", ALICE)
    assert (ended.returncode, "at least 32 characters" in ended.stderr) == (2, True)


def test_the_help_says_how_to_keep_an_identifier_out_of_the_history() -> None:
    ended = run("forget", "--help")
    assert ended.returncode == 0
    assert "Use - to keep it out of both" in ended.stdout

"""The viewer erases traces: no byte of them stays in its files, and all others stay as they are."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tracemw.viewer.erasing import _is_this_machine

from .running import Viewer
from .running import viewer as start_viewer
from .samples import NOON, Spans, hex_id, one, span

HERS, HIS = "2026a:" + "a" * 64, "2026a:" + "b" * 64
MARK = "erase-me-"
"""What only spans of her traces have, in all places that the store knows."""
STRETCHES = 5_000
"""Enough spans for two stretches of words, and some in none."""


def traffic(first: int, count: int) -> Iterator[Spans]:
    """Traces of ten spans; every tenth trace is hers, the others are his."""
    for trace in range(first, first + count):
        is_hers = trace % 10 == 0
        values: dict[str, Any] = {"user__hash": HIS, "note": f"keep-{trace}"}
        if is_hers:
            values = {"user__hash": HERS, "note": f"{MARK}{trace}-{'x' * 300}", "order": f"{MARK}{trace}"}
        name = f"{MARK}step" if is_hers else "step"
        yield Spans(
            f"{MARK}shop" if is_hers else "shop",
            tuple(
                span(trace, trace * 100 + number, name=name, start=NOON + trace, **values) for number in range(1, 11)
            ),
        )


def hers(viewer: Viewer, user: str = HERS) -> list[str]:
    return viewer.found(q=f'{{ span.user.hash = "{user}" }}', limit=10_000)


def erase(viewer: Viewer, ids: list[str]) -> dict[str, int]:
    response = viewer.http.post("/viewer/erase", json={"traceIds": ids})
    response.raise_for_status()
    answer: dict[str, int] = response.json()
    return answer


def left_in(db: Path) -> list[str]:
    """The files of a database that hold something of hers."""
    files = [db, *(Path(f"{db}{suffix}") for suffix in ("-wal", "-shm"))]
    secrets = (MARK.encode(), HERS.encode(), HERS[-64:].encode())
    return [file.name for file in files if file.exists() and any(each in file.read_bytes() for each in secrets)]


def test_erased_traces_leave_no_byte_in_the_files_and_all_others_are_found(tmp_path: Path) -> None:
    db = tmp_path / "traces.db"
    with start_viewer("--db", str(db)) as viewer:
        for first in range(1, STRETCHES // 10, 100):
            viewer.send(*traffic(first, 100)).raise_for_status()
        viewer.send(*traffic(1, 50)).raise_for_status()  # once more: these replace their own, and leave copies
        viewer.get("/viewer/survey")
        his = hers(viewer, HIS)
        assert left_in(db) != []
        ids = hers(viewer)
        assert erase(viewer, ids) == {"traces": STRETCHES // 100, "spans": STRETCHES // 10}
        assert left_in(db) == []
        assert hers(viewer) == []
        assert hers(viewer, HIS) == his
        assert viewer.get(f"/api/v2/traces/{ids[0]}")["trace"] == {}
        assert viewer.get("/viewer/status")["services"] == ["shop"]
        assert MARK not in viewer.http.get("/viewer/survey").text
        assert erase(viewer, ids) == {"traces": 0, "spans": 0}
    with start_viewer("--db", str(db)) as viewer:
        assert hers(viewer, HIS) == his
    assert left_in(db) == []


def test_what_older_traces_have_left_in_the_file_when_they_made_room_goes_as_well(tmp_path: Path) -> None:
    db = tmp_path / "traces.db"
    with start_viewer("--db", str(db), "--max-spans", "500") as viewer:
        for trace in range(10, 1_000, 10):
            viewer.send(*traffic(trace, 1)).raise_for_status()
        viewer.send(*traffic(1_001, 9), *traffic(1_011, 9), *traffic(1_021, 9), *traffic(1_031, 9)).raise_for_status()
        viewer.send(*traffic(1_041, 9), *traffic(1_051, 5)).raise_for_status()
        assert hers(viewer) == []
        assert left_in(db) != []
        erase(viewer, [hex_id(10)])
        assert left_in(db) == []


def test_spans_that_come_after_the_latest_were_erased_are_found(tmp_path: Path) -> None:
    with start_viewer("--db", str(tmp_path / "traces.db")) as viewer:
        for first in range(1, STRETCHES // 10, 100):
            viewer.send(*traffic(first, 100)).raise_for_status()
        latest = [hex_id(trace) for trace in range(151, STRETCHES // 10 + 1)]
        assert erase(viewer, latest) == {"traces": len(latest), "spans": 10 * len(latest)}
        viewer.send(one(7_777, "late", name="late", user__hash=HERS, word="rare")).raise_for_status()
        assert viewer.found(q='{ span.word = "rare" }') == [hex_id(7_777)]
        viewer.send(*traffic(1_000, 250)).raise_for_status()
        assert viewer.found(q='{ span.word = "rare" }') == [hex_id(7_777)]
        assert len(hers(viewer)) == 15 + 1 + 25


def test_the_words_of_erased_traces_are_in_no_stretch(tmp_path: Path) -> None:
    db = tmp_path / "traces.db"
    with start_viewer("--db", str(db)) as viewer:
        viewer.send(*traffic(1, 9), *traffic(10, 1), *traffic(11, 9)).raise_for_status()
        for first in range(1_001, 1_400, 10):  # no trace of hers
            viewer.send(*traffic(first, 9)).raise_for_status()
        erase(viewer, [hex_id(10)])
    with closing(sqlite3.connect(db)) as erased:
        words = erased.execute("SELECT words FROM stretches ORDER BY last").fetchall()
    other = tmp_path / "other.db"
    with start_viewer("--db", str(other)) as viewer:
        viewer.send(*traffic(1, 9), *traffic(11, 9)).raise_for_status()
        for first in range(1_001, 1_400, 10):
            viewer.send(*traffic(first, 9)).raise_for_status()
    with closing(sqlite3.connect(other)) as without:
        known = {row for (row,) in without.execute("SELECT words FROM stretches").fetchall()}
    assert len(words) == 1
    all_known = {known_words[at : at + 4] for known_words in known for at in range(0, len(known_words), 4)}
    assert {words[0][0][at : at + 4] for at in range(0, len(words[0][0]), 4)} <= all_known


def test_a_viewer_in_memory_erases_as_well(viewer: Viewer) -> None:
    viewer.send(*traffic(1, 20)).raise_for_status()
    assert erase(viewer, [hex_id(10), hex_id(20), hex_id(999)]) == {"traces": 2, "spans": 20}
    assert hers(viewer) == []
    assert len(hers(viewer, HIS)) == 18
    viewer.send(*traffic(10, 1)).raise_for_status()
    assert hers(viewer) == [hex_id(10)]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        ("[]", {}, 400),
        ("{", {}, 400),
        ("[" * 100_000, {}, 400),
        ('{"traceIds": "1"}', {}, 400),
        ('{"traceIds": [1]}', {}, 400),
        ('{"traceIds": ["x"]}', {}, 400),
        ('{"traceIds": [' + ",".join(['"1"'] * 10_001) + "]}", {}, 400),
        ('{"traceIds": ["1"]}', {"content-type": "text/plain"}, 415),
        ('{"traceIds": ["1"]}', {"origin": "http://evil.example"}, 403),
        ('{"traceIds": ["1"]}', {"sec-fetch-site": "cross-site"}, 403),
        ('{"traceIds": ["1"]}', {"host": "evil.example"}, 403),
        ('{"traceIds": ["1"]}', {"x-forwarded-for": "10.0.0.1"}, 403),
        ('{"traceIds": ["1"]}', {"forwarded": "for=10.0.0.1"}, 403),
        ('{"traceIds": ["1"]}', {"via": "1.1 proxy"}, 403),
    ],
)
def test_what_is_no_request_to_erase_is_refused_and_erases_nothing(
    attacked: Viewer, body: str, headers: dict[str, str], status: int
) -> None:
    response = attacked.http.post(
        "/viewer/erase", content=body, headers={"content-type": "application/json", **headers}
    )
    assert response.status_code == status
    assert attacked.get("/viewer/status")["traces"] == 1
    assert attacked.http.get("/viewer/erase").status_code == 405


def test_another_machine_erases_nothing() -> None:
    own = ("127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1")
    others = ("10.0.0.1", "192.168.1.7", "::ffff:10.0.0.1", "fe80::1%eth0", "2001:db8::1")
    assert [each for each in (*own, *others) if _is_this_machine(each)] == list(own)

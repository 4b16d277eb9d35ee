"""Where the sides of `tracemw compare` come from: files, the viewer, Tempo with its metrics; and what is refused."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from analysis.commands import Ended, answering, run
from analysis.traffic import Traffic
from servers import free_port
from viewer.running import JSON, viewer

CAPTURES = Path(__file__).parent / "captures"
THRESHOLD = "ot=th:c"  # one of four requests is sampled


def compare(before: object, after: object, *more: str) -> Ended:
    return run("compare", "--before", str(before), "--after", str(after), *more)


def told(ended: Ended) -> dict[str, Any]:
    assert ended.stdout, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


def count_of(document: dict[str, Any], side: str, route: str = "GET /orders") -> float:
    (found,) = [each[side]["count"] for each in document["routes"] if each["route"] == route]
    assert isinstance(found, float)
    return found


def test_a_directory_may_have_one_trace_in_several_files(tmp_path: Path) -> None:
    place = tmp_path / "before"
    place.mkdir()
    halves: tuple[list[str], list[str]] = ([], [])
    for document in Traffic(seed=1, count=60).documents():
        for half, group in zip(halves, document["resourceSpans"], strict=True):
            half.append(json.dumps({"resourceSpans": [group]}))
    for name, lines in zip(("shop.json", "profile.json"), halves, strict=True):
        (place / name).write_text("\n".join(lines))
    (place / ".hidden").write_text("no traces")
    after = Traffic(seed=2, count=60).write(tmp_path / "after.json")
    document = told(compare(place, after, "--json"))
    assert document["before"]["traces"] == 60
    assert len(document["groups"]) == 5
    assert all(group["before"]["count"] == group["after"]["count"] == 1 for group in document["groups"])


def test_requests_count_by_the_weight_of_their_sampling(tmp_path: Path) -> None:
    # Of the slow requests each fourth is sampled, of the others all: they are most of the traffic, not a half of it.
    before = Traffic(seed=1, count=200).write(tmp_path / "before.json")
    mixed = Traffic(seed=2, count=200, threshold=lambda number: THRESHOLD if number % 2 else "").write(
        tmp_path / "after.json"
    )
    document = told(compare(before, mixed, "--json"))
    assert document["after"]["requests"] == pytest.approx(100 + 4 * 100)
    assert count_of(document, "after") == pytest.approx(500)
    widths = [
        each["high"] - each["low"] for each in (document["routes"][0][side]["p50_ms"] for side in ("before", "after"))
    ]
    assert widths[1] > widths[0]  # unequal weights tell less


def test_kept_traces_are_not_traffic(tmp_path: Path) -> None:
    before = Traffic(seed=1).write(tmp_path / "before.json")
    after = Traffic(seed=2, count=400, failing=100, kept=lambda number: number >= 300).write(tmp_path / "after.json")
    document = told(compare(before, after, "--json"))
    assert (document["after"]["traces"], document["after"]["kept"]) == (300, 100)
    assert any("100 traces of" in note and "do not count as traffic" in note for note in document["notes"])
    only = Traffic(seed=3, count=20, kept=lambda number: True).write(tmp_path / "kept.json")
    ended = compare(before, only)
    assert ended.returncode == 2
    assert "has no sample of the traffic" in ended.stderr


def test_a_service_narrows_to_its_requests_and_what_is_beneath(tmp_path: Path) -> None:
    before = Traffic(seed=1, count=100).write(tmp_path / "before.json")
    after = Traffic(seed=2, count=100, addresses=41).write(tmp_path / "after.json")
    document = told(compare(before, after, "--json", "--service", "profile"))
    assert [(each["route"], each["entry"]) for each in document["routes"]] == [("GET /profiles/{id}", True)]
    assert document["groups"][0]["position"] == ["profile: GET /profiles/{id}", "profile: SELECT addresses"]
    by_route = told(compare(before, after, "--json", "--route", "/orders"))
    assert [each["route"] for each in by_route["routes"]] == ["GET /orders"]


def test_an_attribute_value_that_sets_the_sides_apart_is_named(tmp_path: Path) -> None:
    before = Traffic(seed=1, count=100).write(tmp_path / "before.json")
    after = Traffic(seed=2, count=100).write(tmp_path / "after.json")
    after.write_text(after.read_text().replace('"postgresql"', '"sqlite"'))
    found = told(compare(before, after, "--json"))["attributes"]
    assert [(each["attribute"], each["value"], each["before"], each["after"]) for each in found] == [
        ("span.db.system.name", "postgresql", 1.0, 0.0),
        ("span.db.system.name", "sqlite", 0.0, 1.0),
    ]


def test_versions_and_times_are_asked_of_the_viewer(tmp_path: Path) -> None:
    del tmp_path
    now = time.time()
    with viewer() as running:
        for seed, version, addresses, ago in ((1, "1.0", 1, 7000), (2, "1.1", 41, 1000)):
            for document in Traffic(seed=seed, count=40, version=version, addresses=addresses).documents():
                moved = _moved(document, now - ago)
                assert running.http.post("/v1/traces", json=moved, headers=JSON).is_success
        url = ("--url", running.url, "--json")
        by_version = told(compare("1.0", "service.version=1.1", "--since", "3h", *url))
        by_time = told(compare("2h..1h", "1h..now", *url))
        both = told(run("compare", "--before", "1.0", "2h..1h", "--after", "1.1", *url))
        assert "41 calls a request" in by_version["verdict"]
        for document in (by_version, by_time, both):
            assert document["verdict"] == by_version["verdict"]
            assert (document["before"]["traces"], document["after"]["traces"]) == (40, 40)
        cut = told(compare("1.0", "1.1", "--since", "3h", "--limit", "20", *url))
        assert any("gave no more than 20 traces; see --limit" in note for note in cut["notes"])
        orders = next(each for each in cut["routes"] if each["route"] == "GET /orders")
        assert (orders["after"]["measured_by"], orders["after"]["count"]) == ("metrics", 40)
        assert orders["after"]["p50_ms"]["value"] > 5 * orders["before"]["p50_ms"]["value"]
        missing = compare("1.0", "7.7", "--since", "3h", "--url", running.url)
        assert missing.returncode == 2
        assert "after: no trace matches { resource.service.version" in missing.stderr


def _moved(document: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The same trace at another time."""
    spans = [span for group in document["resourceSpans"] for span in group["scopeSpans"][0]["spans"]]
    by = round(seconds * 1e9) - min(int(span["startTimeUnixNano"]) for span in spans)
    for span in spans:
        for name in ("startTimeUnixNano", "endTimeUnixNano"):
            span[name] = str(int(span[name]) + by)
    return document


class Tempo:
    """A Tempo with the traces of two versions, and metrics over more than a search gives."""

    def __init__(self, instant: bool = True, failing: tuple[int, int] = (100, 100)) -> None:
        self.asked: list[str] = []
        self._instant = instant
        self._failing = failing
        self._traces: dict[str, dict[str, Any]] = {}
        self._ids: dict[str, list[str]] = {}
        for seed, version in ((1, "1.0"), (2, "1.1")):
            for document in Traffic(seed=seed, count=50, version=version).documents():
                trace_id = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["traceId"]
                self._traces[trace_id] = document
                self._ids.setdefault(version, []).append(trace_id)

    def answer(self, target: str, headers: Any) -> tuple[int, bytes]:
        del headers
        parts = urlsplit(target)
        query = parse_qs(parts.query).get("q", [""])[0]
        version = 1 if '"1.1"' in query else 0
        if parts.path == "/api/search":
            return 200, json.dumps({"traces": [{"traceID": each} for each in self._ids[f"1.{version}"]]}).encode()
        if parts.path.startswith("/api/v2/traces/"):
            return 200, json.dumps({"trace": self._traces[parts.path.rpartition("/")[2]]}).encode()
        if parts.path == f"/api/metrics/{'query' if self._instant else 'query_range'}":
            self.asked.append(query)
            return 200, json.dumps({"series": list(self._series(query, version))}).encode()
        return 404, b"404 page not found\n"

    def _series(self, query: str, version: int) -> Iterator[dict[str, Any]]:
        if "quantile_over_time" in query:
            for level in query.partition("(duration, ")[2].rstrip(")").split(", "):
                yield self._one([("p", {"doubleValue": float(level)})], 0.01 * (1 + float(level)))
        else:
            labels = [("resource.service.name", {"stringValue": "shop"}), ("name", {"stringValue": "GET /orders"})]
            yield self._one(labels, self._failing[version] if "status = error" in query else 10_000)

    def _one(self, labels: list[tuple[str, Any]], value: float) -> dict[str, Any]:
        named = {"labels": [{"key": key, "value": each} for key, each in labels]}
        if self._instant:
            return {**named, "value": value}
        return {
            **named,
            "samples": [{"timestampMs": "1795630860000"}, {"timestampMs": "1795634460000", "value": value}],
        }


@pytest.mark.parametrize("instant", [True, False], ids=["instant", "range"])
def test_numbers_of_all_traffic_are_those_of_tempos_metrics(instant: bool) -> None:
    tempo = Tempo(instant=instant, failing=(100, 200))
    with answering(tempo.answer) as url:
        document = told(compare("1.0", "1.1", "--url", url, "--json", "--limit", "50"))
    orders = next(each for each in document["routes"] if each["route"] == "GET /orders")
    assert (orders["before"]["measured_by"], orders["before"]["count"]) == ("metrics", 10_000)
    assert orders["before"]["p95_ms"]["value"] == pytest.approx(19.5)
    assert orders["before"]["p95_ms"]["low"] < 19.5 < orders["before"]["p95_ms"]["high"]
    assert orders["worse"] == ["error_rate"]  # 1 % of 10,000 and 2 %; no request that was fetched has failed
    assert document["verdict"].startswith("GET /orders fails more: 1 -> 2 % of the requests")
    profiles = next(each for each in document["routes"] if each["route"] == "GET /profiles/{id}")
    assert (profiles["before"]["measured_by"], profiles["before"]["count"]) == ("traces", 50)
    assert any("their quantiles are approximate" in note for note in document["notes"])
    assert tempo.asked[0] == (
        "{ kind = server && span.tracemw.kept = nil && span.tracemw.spike = nil "
        '&& resource.service.version = "1.0" } | count_over_time() by (resource.service.name, name)'
    )


def test_without_metrics_the_traces_that_were_fetched_count() -> None:
    tempo = Tempo()

    def answer(target: str, headers: Any) -> tuple[int, bytes]:
        return (500, b"no") if target.startswith("/api/metrics") else tempo.answer(target, headers)

    with answering(answer) as url:
        document = told(compare("1.0", "1.1", "--url", url, "--json", "--limit", "50"))
    assert {each["before"]["measured_by"] for each in document["routes"]} == {"traces"}
    assert any("traces that were fetched (" in note and "answers 500: no" in note for note in document["notes"])


@contextmanager
def _server(status: int, body: bytes) -> Iterator[str]:
    with answering(lambda _path, _headers: (status, body)) as url:
        yield url


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (500, b"boom", "answers 500: boom; look into its log"),
        (401, b"no org id\n", "use --tenant or TRACEMW_TENANT"),
        (400, (CAPTURES / "search-syntax2.txt").read_bytes(), "parse error at line 1, col 12"),
        (200, b'{"traces": []}', "before: no trace matches"),
        (200, b"<html>", "use the URL of Tempo's query API"),
    ],
)
def test_a_server_that_does_not_answer_is_told_plainly(status: int, body: bytes, remedy: str) -> None:
    with _server(status, body) as url:
        ended = compare("1.0", "1.1", "--url", url)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("tracemw compare: ")
    assert remedy in ended.stderr


def test_a_server_that_is_not_there_is_told_plainly() -> None:
    ended = compare("1.0", "1.1", "--url", f"http://127.0.0.1:{free_port()}")
    assert ended.returncode == 2
    assert "cannot be reached (" in ended.stderr


Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_file_that_has_no_traces_is_told_plainly(write: Write, tmp_path: Path) -> None:
    good = Traffic(seed=1, count=5).write(tmp_path / "good.json")
    for text, remedy in (
        ('{"error": "denied"}', "this JSON is none of traces"),
        ('{"resourceSpans": [', "broken or cut off"),
        ('{"resourceSpans": []}', "has no traces"),
        ("", "has no traces"),
    ):
        bad = write("bad.json", text)
        ended = compare(good, bad)
        assert ended.returncode == 2, text
        assert "bad.json" in ended.stderr
        assert remedy in ended.stderr, text


def test_both_sides_the_same_are_told_plainly(tmp_path: Path) -> None:
    one = Traffic(seed=1, count=5).write(tmp_path / "one.json")
    copy = tmp_path / "copy.json"
    copy.write_bytes(one.read_bytes())
    for before, after in ((one, one), (one, copy), ("1.0", "1.0")):
        ended = compare(before, after, "--url", "http://127.0.0.1:9")
        assert ended.returncode == 2
        assert "both sides " in ended.stderr


@pytest.mark.parametrize(
    ("before", "remedy"),
    [
        ("no-such-file.json", "is no file that is there; use files, a directory, a version"),
        ("1h..2h", "ends before it begins"),
        ("yesterday..now", "nor a time"),
        ("30d..1h", "longer than 7 days"),
        ("2199-01-01T00:00..2199-01-01T01:00", "in the future"),
        (str(CAPTURES / "none.json"), "is no file that is there"),
    ],
)
def test_a_side_that_is_not_accepted_is_told_plainly(before: str, remedy: str) -> None:
    ended = compare(before, CAPTURES / "input.otlp.json")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert remedy in ended.stderr


def test_two_traces_are_too_few_to_tell(tmp_path: Path) -> None:
    before = Traffic(seed=1, count=1).write(tmp_path / "before.json")
    after = Traffic(seed=2, count=1, addresses=41).write(tmp_path / "after.json")
    ended = compare(before, after)
    assert ended.returncode == 0
    assert ended.stdout.startswith("1 trace before and 1 after are too few to tell a difference from chance")

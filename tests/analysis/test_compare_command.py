"""`tracemw compare`, as a user runs it: on files, on the viewer, and on servers that do not answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from analysis.commands import Ended, run
from analysis.traffic import Traffic

NAMES = {
    "verdict",
    "regression",
    "confidence",
    "before",
    "after",
    "routes",
    "groups",
    "findings",
    "attributes",
    "notes",
}


def compare(before: Path | str, after: Path | str, *more: str) -> Ended:
    return run("compare", "--before", str(before), "--after", str(after), *more)


def told(before: Path | str, after: Path | str, *more: str) -> dict[str, Any]:
    ended = compare(before, after, "--json", *more)
    assert ended.stdout, ended.stderr
    document: dict[str, Any] = json.loads(ended.stdout)
    return document


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The traces of a release that brings an N+1, and those of before."""
    place = tmp_path_factory.mktemp("release")
    return (
        Traffic(seed=1).write(place / "before.json"),
        Traffic(seed=2, version="1.1", addresses=41).write(place / "after.json"),
    )


def test_the_verdict_comes_first_and_names_route_span_group_growth_and_line(release: tuple[Path, Path]) -> None:
    ended = compare(*release)
    verdict, _, rest = ended.stdout.partition("\n")
    assert ended.returncode == 1, ended.stderr
    assert verdict.startswith(
        "GET /orders got slower: p95 19.7 -> 206 ms (18.3..21.7 -> 203..215); `SELECT addresses` "
    )
    assert "in profile grew from 1 to 41 calls a request (app.py:57, addresses_of), all of the growth" in verdict
    assert verdict.endswith("; new: n-plus-one")
    assert "GET /profiles/{id} of profile  slower\n" in rest
    assert "shop: GET /orders > shop: GET profile > profile: GET /profiles/{id} > profile: SELECT addresses\n" in rest


def test_json_has_the_fields_that_are_documented(release: tuple[Path, Path]) -> None:
    document = told(*release)
    assert document.keys() == NAMES
    assert document["regression"] is True
    assert document["after"] == {
        "name": str(release[1]),
        "traces": 300,
        "kept": 0,
        "requests": 300.0,
        "versions": ["1.1"],
    }
    route = document["routes"][0]
    assert (route["service"], route["route"], route["entry"]) == ("shop", "GET /orders", True)
    assert route["worse"] == ["p50_ms", "p95_ms", "p99_ms"]
    p95 = route["before"]["p95_ms"]
    assert p95["low"] < p95["value"] < p95["high"] < route["after"]["p95_ms"]["low"]
    assert route["before"]["count"] == 300
    assert sum(route["distribution"]["after"]) == pytest.approx(1.0, abs=1e-4)
    group = document["groups"][0]
    assert (group["service"], group["name"], group["grew"]) == ("profile", "SELECT addresses", True)
    assert (group["before"]["count"], group["after"]["count"]) == (1.0, 41.0)
    assert group["share_of_growth"] > 0.9
    assert group["line"] == "app.py:57, addresses_of"
    finding = document["findings"][0]
    assert (finding["code"], finding["new"], finding["after"]["share"]) == ("n-plus-one", True, 1.0)


@pytest.mark.parametrize(
    ("fail_on", "status"),
    [("regression", 1), ("n-plus-one", 1), ("error-source,slow-query", 0), ("n-plus-one,regression", 1)],
)
def test_the_status_is_1_for_what_is_named(release: tuple[Path, Path], fail_on: str, status: int) -> None:
    ended = compare(*release, "--fail-on", fail_on)
    assert ended.returncode == status
    assert ended.stderr.startswith("tracemw compare: --fail-on has found ") == bool(status)
    assert all(code in fail_on for code in ended.stderr.partition("found ")[2].strip().split(", "))


def test_two_samples_of_one_service_are_not_told_apart(tmp_path: Path) -> None:
    before, after = (Traffic(seed=seed).write(tmp_path / f"{seed}.json") for seed in (3, 4))
    ended = compare(before, after)
    assert ended.returncode == 0
    assert ended.stdout.startswith("Nothing got worse: what differs between 300 traces before and 300 after can be")


def test_a_span_that_is_put_around_others_is_no_regression(tmp_path: Path) -> None:
    before = Traffic(seed=5).write(tmp_path / "before.json")
    document = told(before, Traffic(seed=6, wrapped=True).write(tmp_path / "after.json"))
    assert not document["regression"], document["verdict"]


def test_the_page_has_the_verdict_and_pictures_and_asks_nobody_for_anything(
    release: tuple[Path, Path], tmp_path: Path
) -> None:
    page = tmp_path / "comparison.html"
    assert compare(*release, "--html", str(page)).returncode == 1
    written = page.read_text()
    assert "<h1" in written
    assert "GET /orders got slower: p95 19.7 -&gt; 206 ms" in written
    pictures = [ET.fromstring(each) for each in re.findall(r"<svg.*?</svg>", written)]
    assert len(pictures) == 2
    orders, _ = pictures
    (growth,) = re.findall(r'<ul class="growth">.*?</ul>', written)
    assert [bar.attrib["class"] for bar in ET.fromstring(growth).iter("i")] == ["worse"]
    dots = [(dot.attrib["class"], float(dot.attrib["cx"])) for dot in orders.iter("circle")]
    assert len(dots) == 6
    assert all(before[1] < after[1] for before, after in zip(dots[::2], dots[1::2], strict=True))
    assert not re.search(r"https?:|<script|src=|@import|url\(", written)


def test_a_page_that_cannot_be_written_is_told_plainly(release: tuple[Path, Path], tmp_path: Path) -> None:
    ended = compare(*release, "--json", "--html", str(tmp_path / "none" / "page.html"))
    assert ended.returncode == 2
    assert "name another file with --html" in ended.stderr
    assert json.loads(ended.stdout).keys() == NAMES


def test_routes_with_a_handful_of_requests_and_attributes_alike_take_one_line(
    release: tuple[Path, Path], tmp_path: Path
) -> None:
    before, after = (tmp_path / name for name in ("before.json", "after.json"))
    for file, whole in zip((before, after), release, strict=True):
        rare = Traffic(seed=9, count=3).write(tmp_path / "rare.json").read_text()
        rare = rare.replace("GET /orders", "GET /rare").replace('"/orders"', '"/rare"')
        mark = {"key": "release.mark", "value": {"stringValue": file.stem}}
        marks = json.dumps([mark, {**mark, "key": "release.flag"}])[1:-1]
        file.write_text(whole.read_text().replace('"attributes": [{', f'"attributes": [{marks}, {{') + rare)
    said = compare(before, after).stdout
    assert "/rare" not in said
    assert "... and 1 with fewer than 5 requests on either side; --json has all" in said
    assert re.search(r"0\.0% -> +99\.0%  \S+\.release\.flag = after, and \d more attributes alike\n", said), said


def test_names_of_spans_are_text_on_the_page(tmp_path: Path) -> None:
    files = [tmp_path / f"{seed}.json" for seed in (1, 2)]
    for seed, file in enumerate(files, 1):
        Traffic(seed=seed, count=40, version="<script>").write(file)
        file.write_text(file.read_text().replace("GET /orders", "GET /<script>orders"))
    compare(files[0], files[1], "--html", str(tmp_path / "page.html"))
    assert "<script>" not in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("prices", "is_told"), [(20, True), (4, False)])
def test_many_new_queries_are_told_though_they_are_fast(prices: int, is_told: bool, tmp_path: Path) -> None:
    before = Traffic(seed=3, prices=0).write(tmp_path / "before.json")
    after = Traffic(seed=6, prices=prices).write(tmp_path / "after.json")
    ended = compare(before, after)
    assert ended.returncode == int(is_told)
    assert ended.stdout.startswith("GET /orders does more: `SELECT prices` in shop is new, with 20 calls") is is_told


def test_many_queries_that_only_got_another_name_are_not_new(tmp_path: Path) -> None:
    before = Traffic(seed=3, prices=20).write(tmp_path / "before.json")
    after = Traffic(seed=6, prices=20).write(tmp_path / "after.json")
    after.write_text(after.read_text().replace("prices", "tariffs"))
    assert compare(before, after).returncode == 0


def test_sides_without_a_route_in_common_are_told_so(tmp_path: Path) -> None:
    before = Traffic(seed=3, bare=True).write(tmp_path / "before.json")
    after = Traffic(seed=4, bare=True, route="/carts").write(tmp_path / "after.json")
    ended = compare(before, after)
    assert ended.returncode == 0
    assert ended.stdout.startswith(
        "No route is on both sides, of which one has GET /orders, and the other GET /carts; name sides of one service"
    )


def test_findings_that_were_there_before_are_more_often_and_not_new(tmp_path: Path) -> None:
    before = Traffic(seed=3, count=1500, bare=True, failing=15).write(tmp_path / "before.json")
    after = Traffic(seed=4, count=1500, bare=True, failing=60).write(tmp_path / "after.json")
    verdict = compare(before, after).stdout.partition("\n")[0]
    assert "; more often: error-source" in verdict
    assert "new:" not in verdict

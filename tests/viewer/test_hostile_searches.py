"""Searches that are made to cost much: the viewer spends little CPU time and memory on each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from urllib.parse import quote

import httpx
import pytest

from .cost import MEGABYTE, cost, needs_proc
from .running import PATIENCE, Viewer, with_allowance
from .running import viewer as start_viewer
from .samples import HOSTILE_SEARCHES, LONG_SEARCH, many_spans

pytestmark = needs_proc


@pytest.mark.parametrize("query", HOSTILE_SEARCHES.values(), ids=HOSTILE_SEARCHES)
def test_a_hostile_search_is_cheap_and_says_what_is_wrong(attacked: Viewer, query: str) -> None:
    with cost(attacked) as paid:
        response = attacked.http.get(f"/api/search?q={quote(query)}")
    assert response.status_code in (200, 400), response.text
    assert len(response.text) < 1000
    assert paid.seconds < 1
    assert paid.memory < 50 * MEGABYTE


@pytest.fixture(name="full", scope="module")
def viewer_with_many_spans() -> Iterator[Viewer]:
    with start_viewer(command=with_allowance(search_seconds=2.0)) as running:
        for spans in many_spans(2):
            running.send(spans).raise_for_status()
        yield running


def test_a_search_that_takes_too_long_ends_and_says_how_to_narrow_it(full: Viewer) -> None:
    with cost(full) as paid:
        response = full.http.get("/api/search", params={"q": LONG_SEARCH}, timeout=PATIENCE)
    assert (response.status_code, "narrow it" in response.text) == (400, True)
    assert paid.seconds < 4
    assert paid.memory < 50 * MEGABYTE


def test_a_search_ends_when_its_asker_has_gone(full: Viewer) -> None:
    with cost(full) as paid:
        for _ in range(20):
            with contextlib.suppress(httpx.TimeoutException):
                httpx.get(f"{full.url}/api/search", params={"q": LONG_SEARCH}, timeout=0.2, trust_env=False)
        full.get("/api/search", q="{ name = `step 1` }")
    assert paid.seconds < 10  # of the 40 that they would have taken

"""The viewer keeps up with many spans, and finds one among them.

The bounds are those for a million spans, as far as they grow with the number: see ``speed``.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .cost import cost, needs_proc
from .running import Viewer
from .running import viewer as start_viewer
from .speed import LISTS, SEARCHES, bodies, load, viewer_for

pytestmark = [pytest.mark.serial, needs_proc]

SPANS = 40_000
INTAKE = 20_000  # spans a second of CPU time
LIST = 0.1  # seconds of CPU time
SEARCH = (
    0.15  # likewise: of the one second that a million spans may take, their share, and what a request costs at least
)


@pytest.fixture(name="loading", scope="module")
def viewer_that_took_many_spans(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Viewer, float]]:
    requests = list(bodies(SPANS))
    with start_viewer(*viewer_for(SPANS, str(tmp_path_factory.mktemp("viewer")))) as running:
        load(running, requests[:8])  # what is done once is not counted
        with cost(running) as paid:
            load(running, requests[8:])
        yield running, paid.seconds * len(requests) / (len(requests) - 8)


def test_twenty_thousand_spans_a_second_are_taken_by_one_core(loading: tuple[Viewer, float]) -> None:
    viewer, seconds = loading
    assert viewer.get("/viewer/status")["spans"] == SPANS
    assert SPANS / seconds > INTAKE


@pytest.mark.parametrize("parameters", LISTS, ids=str)
def test_a_list_takes_a_tenth_of_a_second_at_most(loading: tuple[Viewer, float], parameters: dict[str, str]) -> None:
    viewer, _ = loading
    assert _seconds(viewer, "/viewer/traces", **parameters) < LIST


@pytest.mark.parametrize("query", SEARCHES)
def test_a_search_for_an_attribute_takes_its_share_of_a_second(loading: tuple[Viewer, float], query: str) -> None:
    viewer, _ = loading
    assert _seconds(viewer, "/api/search", q=query) < SEARCH


def _seconds(viewer: Viewer, path: str, **parameters: str) -> float:
    """CPU time of one question, of five: Linux counts in hundredths of a second."""
    viewer.get(path, **parameters)
    with cost(viewer) as paid:
        for _ in range(5):
            viewer.get(path, **parameters)
    return paid.seconds / 5

"""What a search may ask for, and what it may keep others from."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from .running import PATIENCE, Viewer, with_allowance
from .running import viewer as start_viewer
from .samples import HOSTILE_SEARCHES, LONG_SEARCH, hex_id, many_spans, one


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"minDuration": "1" * 5_000}, "is not accepted; use at most"),
        ({"maxDuration": "1h" * 2_000}, "is not accepted; use at most"),
        ({"tags": " ".join(f"a{number}=b" for number in range(800))}, "more than 100"),
        ({"tags": "a" * 20_000}, "is not accepted; use at most"),
        ({"text": "a" * 20_000}, "is not accepted; use at most"),
        ({"q": HOSTILE_SEARCHES["comparisons"][:8000]}, "more than 100 comparisons"),
        ({"q": HOSTILE_SEARCHES["nested groups"]}, "nested groups"),
        ({"q": '{ name =~ "(?=a)" }'}, "RE2"),
        ({"q": r'{ name =~ "(a)\\1" }'}, "RE2"),
        ({"limit": "262145"}, "exceeds max limit 262144"),
        ({"spss": "101"}, "spans per span set exceeds 100. received 101"),
        ({"start": "9" * 4_000}, "unix seconds"),
    ],
)
def test_a_parameter_beyond_its_bound_is_refused_with_the_reason(
    attacked: Viewer, parameters: dict[str, str], says: str
) -> None:
    for path in ("/api/search", "/viewer/traces"):
        response = attacked.http.get(path, params=parameters)
        assert response.status_code == 400
        assert says in response.text


@pytest.fixture(name="full")
def viewer_with_many_spans() -> Iterator[Viewer]:
    with start_viewer(command=with_allowance(search_seconds=2.0)) as running:
        for spans in many_spans(2):
            running.send(spans).raise_for_status()
        yield running


def test_while_searches_run_others_are_answered(full: Viewer) -> None:
    def long_search(_: int) -> int:
        return httpx.get(
            f"{full.url}/api/search", params={"q": LONG_SEARCH}, timeout=PATIENCE, trust_env=False
        ).status_code

    with ThreadPoolExecutor(2) as threads:
        searches = [threads.submit(long_search, number) for number in range(2)]
        answered = 0
        while not any(search.done() for search in searches):
            assert full.http.get("/ready").status_code == 200
            full.get("/viewer/status")
            full.get(f"/api/v2/traces/{hex_id(99)}")
            full.send(one(99)).raise_for_status()
            answered += 1
        assert {search.result() for search in searches} == {400}
    assert answered >= 3

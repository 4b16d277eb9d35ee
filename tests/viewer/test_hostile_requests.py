"""Requests at random: none is a fault of the viewer, and none costs much."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .cost import cost, needs_proc
from .running import Viewer
from .running import viewer as start_viewer
from .samples import ODD

pytestmark = needs_proc

HOSTILE_TEXT = st.one_of(
    st.text(max_size=30),
    st.binary(max_size=20).map(lambda value: value.decode("latin-1")),
    st.sampled_from(
        ["\0", "-1", "0", "1", "1e9", "99999999999", "-0", "\u0661", "²", "NaN", "inf", "1h", "-5ms", "{", "{}", "a=b"]
    ),
    st.sampled_from(['{ name =~ "', "{ span.a = ", "{ .b != nil", "{ status = error }", "{ duration > "]),
    st.integers(-(2**70), 2**70).map(str),
)
PATHS = [
    "/api/traces/{}",
    "/api/v2/traces/{}",
    "/api/search",
    "/api/search/tags",
    "/api/search/tag/{}/values",
    "/viewer/traces",
    "/viewer/status",
    "/ready",
    "/",
    "/trace/{}",
    "/page/{}",
    "/{}",
]
PARAMETERS = [
    "q",
    "tags",
    "minDuration",
    "maxDuration",
    "start",
    "end",
    "limit",
    "spss",
    "service",
    "errors",
    "text",
    "x",
]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "PUT"]),
    path=st.sampled_from(PATHS),
    part=HOSTILE_TEXT,
    parameters=st.dictionaries(
        st.sampled_from(PARAMETERS), HOSTILE_TEXT | st.text('({|&=~"`.1a})\\ ', max_size=40), max_size=3
    ),
    raw=st.binary(max_size=8),
    accept=st.sampled_from(["*/*", "application/protobuf", "\0".strip("\0")]),
)
def test_no_request_at_random_is_a_fault_of_the_viewer(
    filled: Viewer, method: str, path: str, part: str, parameters: dict[str, str], raw: bytes, accept: str
) -> None:
    url = path.format(quote(part, safe="", errors="replace") + "".join(f"%{byte:02x}" for byte in raw))
    query = "&".join(f"{name}={quote(value, safe='', errors='replace')}" for name, value in parameters.items())
    with cost(filled) as paid:
        response = filled.http.request(method, f"{url}?{query}&text=%ff{raw.hex()}", headers={"accept": accept})
    assert response.status_code < 500, response.text
    assert paid.seconds < 0.5
    if response.status_code == 400:
        assert response.text.strip() or method == "HEAD"


@pytest.fixture(name="filled", scope="module")
def viewer_with_odd_spans() -> Iterator[Viewer]:
    with start_viewer() as running:
        running.send(*ODD).raise_for_status()
        yield running

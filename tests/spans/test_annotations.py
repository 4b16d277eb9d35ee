"""`annotate` and `current_trace_id`, within a request and outside."""

from __future__ import annotations

import asyncio

from conftest import Recorded
from spans.service import ask, attributes
from tracemw import annotate, current_trace_id, span, traced


async def test_annotations_land_on_the_requests_span_from_any_depth(recorded: Recorded) -> None:
    @traced
    def deep() -> None:
        annotate(**{"order.id": 7}, tags=["a"])

    async def app() -> None:
        async with span("outer"):
            await asyncio.to_thread(deep)
        await asyncio.create_task(shallow())

    async def shallow() -> None:
        annotate(shallow=True)

    await ask(app)

    server = attributes(recorded.server)
    assert server["order.id"] == 7
    assert server["tags"] == ("a",)
    assert server["shallow"] is True
    assert "order.id" not in attributes(recorded.named("deep"))
    assert "order.id" not in attributes(recorded.named("outer"))


def test_outside_a_request_annotations_land_on_the_current_span(recorded: Recorded) -> None:
    annotate(nowhere=1)
    with span("outer"), span("inner"):
        annotate(a=1)

    assert attributes(recorded.named("inner")) == {"a": 1}
    assert attributes(recorded.named("outer")) == {}


async def test_in_a_skipped_request_annotations_land_nowhere(recorded: Recorded) -> None:
    async def skipped() -> None:
        assert current_trace_id() is None
        annotate(a=1)
        with span("inner"):
            annotate(a=1)

    assert (await ask(skipped)).text == "done"
    assert recorded.all == []


async def test_annotations_after_the_end_of_the_request_are_let_go_quietly(recorded: Recorded) -> None:
    ended = asyncio.Event()

    async def background() -> None:
        await ended.wait()
        annotate(late=True)

    tasks = []

    async def app() -> None:
        tasks.append(asyncio.create_task(background()))

    await ask(app)
    ended.set()
    await asyncio.gather(*tasks)

    assert "late" not in attributes(recorded.server)


async def test_the_current_trace_id_is_that_of_the_response_header(recorded: Recorded) -> None:
    seen = []

    async def app() -> None:
        seen.append(current_trace_id())
        with span("inner"):
            seen.append(current_trace_id())

    response = await ask(app)

    assert current_trace_id() is None
    assert seen == [response.headers["x-trace-id"]] * 2
    assert len(response.headers["x-trace-id"]) == 32

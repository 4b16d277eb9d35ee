"""What is kept has a bound, and what one more span costs does not grow with its trace."""

from __future__ import annotations

from .cost import MEGABYTE, cost, needs_proc
from .running import PROTOBUF
from .running import viewer as start_viewer
from .samples import Spans, hex_id, one, request, span

pytestmark = needs_proc


def test_beyond_max_bytes_the_oldest_traces_go_and_memory_stays() -> None:
    with start_viewer("--max-bytes", "20000000") as kept, cost(kept) as paid:
        for number in range(1, 41):
            kept.send(one(number, text="x" * 3_000_000)).raise_for_status()
        found = kept.found(limit=100)
        assert hex_id(40) in found
        assert 4 <= len(found) <= 6
        response = kept.send(Spans("shop", tuple(span(50, number, text="x" * 3_000_000) for number in range(1, 6))))
        assert response.status_code == 200
        assert (
            b"more bytes than the viewer's --max-bytes"
            in kept.send(Spans("shop", tuple(span(50, number, text="x" * 3_000_000) for number in range(6, 9)))).content
        )
    assert paid.memory < 150 * MEGABYTE


def test_resources_count_too_and_go_with_their_last_trace() -> None:
    with start_viewer("--max-bytes", "5000000") as kept, cost(kept) as paid:
        for number in range(1, 101):
            message = request(one(number))
            message.resource_spans[0].resource.attributes.add(key="text").value.string_value = (
                f"{number}" + "x" * 1_000_000
            )
            kept.http.post("/v1/traces", content=message.SerializeToString(), headers=PROTOBUF).raise_for_status()
        assert 2 <= len(kept.found(limit=100)) <= 5
    assert paid.memory < 60 * MEGABYTE


def test_one_more_span_costs_the_same_whatever_the_size_of_its_trace() -> None:
    with start_viewer() as running:
        for part in range(6):
            spans = tuple(span(1, part * 20_000 + number, 1 if part else 0, at=number) for number in range(1, 20_001))
            running.send(Spans("shop", spans)).raise_for_status()

        def seconds(trace: int, first: int) -> float:
            with cost(running) as paid:
                for number in range(first, first + 100):
                    running.send(
                        Spans("shop", (span(trace, number, at=number % 7, name=str(number)),))
                    ).raise_for_status()
            return paid.seconds

        seconds(2, 1)
        small, large = seconds(2, 1), seconds(1, 1_000_000)
        again = seconds(1, 1_000_000)  # in the place of the first hundred
        assert large < 2 * small + 0.3
        assert again < 2 * small + 0.3
        assert running.get("/viewer/status")["spans"] == 120_200

"""Traces of healthy services give no finding."""

from __future__ import annotations

from typing import Any

import pytest

from analysis.building import Builder, exception, found


def test_a_fast_request_through_two_services_gives_none() -> None:
    built = Builder()
    front = built.request(0, 80)
    for number in range(3):
        call = built.call(front, 5 + number * 20, 20 + number * 20, path=f"/items/{number}")
        stock = built.request(6 + number * 20, 19 + number * 20, call, service="stock")
        built.query(stock, 7 + number * 20, 12 + number * 20)
    assert not found(built)


def test_a_server_span_that_ends_after_its_caller_gives_none() -> None:
    built = Builder()
    front = built.request(0, 80)
    call = built.call(front, 10, 60)
    stock = built.request(12, 66, call, service="stock")
    built.query(stock, 20, 30)
    built.query(front, 62, 78)
    assert not found(built)


def test_a_response_that_streams_for_six_seconds_gives_none() -> None:
    built = Builder()
    front = built.request(0, 6000)
    built.query(front, 2, 30)
    for number in range(30):
        built.add(
            front,
            "GET /orders/{id} http send",
            40 + number * 198,
            41 + number * 198,
            asgi__event__type="http.response.body",
        )
    assert not found(built)


def test_a_404_that_the_caller_answers_well_gives_none() -> None:
    built = Builder()
    front = built.request(0, 80)
    built.call(front, 10, 20, failed=True, http__response__status_code=404)
    built.query(front, 25, 70)
    assert not found(built)


def test_a_call_that_another_try_made_good_gives_none() -> None:
    built = Builder()
    front = built.request(0, 80)
    first = built.call(front, 10, 30, failed=True, http__response__status_code=503)
    built.request(11, 29, first, service="stock", failed=True, http__response__status_code=503)
    second = built.call(front, 40, 60, http__response__status_code=200)
    built.request(41, 59, second, service="stock", http__response__status_code=200)
    assert not found(built)


def test_polls_are_neither_repetition_nor_retries_nor_a_gap() -> None:
    built = Builder()
    front = built.request(0, 2000)
    for number in range(8):
        built.call(front, number * 250, number * 250 + 10, path="/jobs/7")
    assert not found(built)


def test_calls_side_by_side_give_none() -> None:
    built = Builder()
    front = built.request(0, 130)
    for number in range(20):
        built.call(front, 5 + number * 0.1, 90 + number, path=f"/items/{number}")
    assert not found(built)


def test_one_path_on_seven_hosts_gives_none() -> None:
    built = Builder()
    front = built.request(0, 95)
    for number in range(7):
        built.call(front, number * 12, number * 12 + 11, host=f"shard-{'abcdefg'[number]}", path="/health")
    assert not found(built)


def test_a_batch_of_three_hundred_spans_gives_none() -> None:
    built = Builder()
    batch = built.add(None, "nightly", 0, 3000)
    for number in range(300):
        built.add(batch, "work on an item", number * 10, number * 10 + 9)
    assert not found(built)


def test_a_background_task_that_fails_after_the_response_is_not_swallowed() -> None:
    built = Builder()
    front = built.request(0, 80)
    built.query(front, 5, 70)
    built.add(front, "send mail", 81, 95, failed=True, events=(exception("OSError"),))
    assert not found(built)


def test_a_cancelled_loser_of_a_race_is_not_swallowed() -> None:
    built = Builder()
    front = built.request(0, 80)
    built.call(front, 5, 70, host="a")
    built.call(front, 5, 71, host="b", failed=True, error__type="asyncio.exceptions.CancelledError")
    assert not found(built)


@pytest.mark.parametrize("kind", ["SERVER", "INTERNAL", "CONSUMER"])
def test_queries_that_come_now_and_then_in_a_long_time_do_not_repeat(kind: str) -> None:
    built = Builder()
    told: dict[str, Any] = {"url__scheme": "ws", "url__path": "/ws"} if kind == "SERVER" else {}
    connection = built.add(None, "/ws", 0, 4800, kind=kind, **told)
    for number in range(12):
        built.query(connection, number * 400, number * 400 + 9, "INSERT INTO messages VALUES (1)")
    assert "n-plus-one" not in found(built)


@pytest.mark.parametrize("kind", ["CLIENT", "INTERNAL"])
def test_the_wait_for_news_or_for_a_language_model_makes_no_trace_long(kind: str) -> None:
    built = Builder()
    root = built.add(None, "answer", 0, 9000)
    if kind == "CLIENT":
        built.call(root, 5, 8990, host="api.openai.com", path="/v1/chat/completions")
    else:
        built.add(root, "jobs receive", 5, 8990, messaging__operation__type="receive")
    assert "long-trace" not in found(built)


def test_an_exception_that_becomes_a_404_is_not_swallowed() -> None:
    built = Builder()
    front = built.request(0, 80, http__response__status_code=404)
    built.add(front, "load order", 5, 70, failed=True, events=(exception("HTTPException", "no such order"),))
    assert not found(built)


def test_messages_of_a_batch_do_not_repeat() -> None:
    built = Builder()
    batch = built.add(None, "orders receive", 0, 1500, kind="CONSUMER")
    for number in range(40):
        message = built.add(batch, "orders process", number * 30, number * 30 + 28, kind="CONSUMER")
        built.query(message, number * 30 + 2, number * 30 + 20, "INSERT INTO orders VALUES (1)")
    assert not found(built)


def test_a_request_whose_body_comes_slowly_is_not_long() -> None:
    built = Builder()
    front = built.request(0, 8000)
    built.add(front, "POST /uploads http receive", 1, 7900, asgi__event__type="http.request")
    built.query(front, 7910, 7950)
    assert not found(built)


def test_steps_of_a_query_that_a_driver_of_go_records_are_one_query() -> None:
    built = Builder()
    front = built.request(0, 200)
    for number in range(4):
        for step, name in enumerate(("sql.conn.prepare", "sql.stmt.query", "sql.rows")):
            at = number * 45 + step * 15
            built.query(front, at, at + 14, f"SELECT * FROM orders WHERE id = {number}", name=name)
    assert not found(built)

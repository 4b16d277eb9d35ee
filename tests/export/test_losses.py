"""Losses: what is counted, and which lines the operator gets, by the part alone and by a delivery."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from export.scripted import (
    ACCEPTED,
    NONE_DROPPED,
    REFUSED,
    REJECTED,
    Made,
    Scripted,
    open_the_breaker,
    record,
)
from servers import wait_until
from tracemw._export import Stats
from tracemw._export.exporter import AttemptResult, Outcome
from tracemw._export.losses import Losses

Lines = Callable[[], list[str]]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Lines:
    """Returns the lines of the log so far, and forgets them."""

    def take() -> list[str]:
        taken = [entry.getMessage() for entry in caplog.records]
        caplog.clear()
        return taken

    return take


def losses(**options: float) -> Losses:
    return Losses("http://the.test", limits={"queue_full": 5, "queue_bytes": 100, "too_large": 50}, **options)


def test_what_has_arrived_or_came_after_the_end_is_not_lost() -> None:
    made = losses()
    made.counts.update(exported=5, late=4, rejected=3, queue_full=2)
    assert made.lost() == 5


def test_lost_spans_are_told_of_by_cause_with_the_last_error_and_its_remedy(lines: Lines) -> None:
    made = losses()
    made.hear(REJECTED)
    made.counts.update(rejected=2, queue_full=3)
    made.tell()
    assert lines() == [
        "5 spans are lost (rejected: 2, queue_full: 3) on their way to http://the.test. "
        "Last error: HTTP 401. Who are you?"
    ]


def test_losses_are_told_once_and_not_more_often_than_once_a_minute(lines: Lines) -> None:
    made = losses()
    for _ in range(3):
        made.counts["rejected"] += 1
        made.tell()
    assert lines() == ["1 spans are lost (rejected: 1) on their way to http://the.test"]
    made = losses(quiet=0.0)
    for _ in range(2):
        made.counts["rejected"] += 1
        made.tell()
        made.tell()
    assert lines() == ["1 spans are lost (rejected: 1) on their way to http://the.test"] * 2


@pytest.mark.parametrize(
    ("cause", "remedy"),
    [
        ("queue_full", "OTEL_BSP_MAX_QUEUE_SIZE is 5 here"),
        ("queue_bytes", "TRACEMW_QUEUE_BYTES is 100 here"),
        ("too_large", "TRACEMW_BATCH_BYTES is 50 here"),
    ],
)
def test_a_limit_of_our_own_is_not_put_on_an_error_of_before_and_names_its_variable(
    cause: str, remedy: str, lines: Lines
) -> None:
    made = losses()
    made.hear(REJECTED)
    made.counts[cause] += 3
    made.tell()
    (line,) = lines()
    assert line.startswith(f"3 spans are lost ({cause}: 3) on their way to http://the.test. ")
    assert line.endswith(remedy)
    assert "401" not in line


def test_what_an_outage_has_cost_is_told_when_it_begins_and_not_when_it_ends(lines: Lines) -> None:
    made = losses()
    made.hear(REFUSED)
    made.counts.update(breaker_open=10, retries_exhausted=2)
    made.tell_of_outage()
    made.tell_of_return()
    made.tell()
    assert lines() == [
        "spans do not reach http://the.test, and are dropped until they do; the service itself is not affected. "
        "Last error: ConnectionRefusedError. Is anybody there?",
        "spans reach http://the.test again",
    ]


def test_the_end_is_told_of_in_two_lines_when_some_spans_were_lost_before(lines: Lines) -> None:
    made = losses()
    made.counts.update(unknown=1, shutdown=2, rejected=4)
    made.tell_of_end()
    assert lines() == [
        "3 spans do not reach http://the.test: the time to send them is over",
        "4 spans are lost (rejected: 4) on their way to http://the.test",
    ]
    losses().tell_of_end()
    assert lines() == []


def test_a_warning_is_no_error_and_told_once(lines: Lines) -> None:
    made = losses()
    for _ in range(2):
        made.hear(Outcome(AttemptResult.ACCEPTED, error="be careful"))
        made.hear(ACCEPTED)
    assert made.last_error is None
    assert lines() == ["http://the.test takes the spans, and says: be careful"]


def test_only_the_first_fault_and_one_restart_a_minute_are_told(lines: Lines) -> None:
    made = losses()
    for _ in range(3):
        made.tell_of_fault(ValueError("a bug"))
        made.tell_of_restart(MemoryError())
    assert lines() == [
        "tracemw has failed to export spans; the next such failures are not logged",
        "the delivery of spans has failed, and starts again: MemoryError()",
    ]
    assert made.last_error == "tracemw's own fault"


# In front of an exporter


def test_partial_success_is_counted_and_told_once(exporter: Scripted, made: Made, lines: Lines) -> None:
    exporter.outcome = Outcome(AttemptResult.ACCEPTED, rejected=2, error="too old")
    to = made()
    for _ in range(3):
        record(to, 5)
        assert to.flush(timeout=5) is False
    assert to.stats() == Stats(exported=9, rejected=6, dropped=NONE_DROPPED, last_error="too old")
    assert lines() == ["2 spans are lost (rejected: 2) on their way to http://the.test. Last error: too old"]


def test_a_warning_of_the_backend_loses_nothing(exporter: Scripted, made: Made, lines: Lines) -> None:
    exporter.outcome = Outcome(AttemptResult.ACCEPTED, error="be careful")
    to = made()
    for _ in range(3):
        record(to, 5)
        assert to.flush(timeout=5) is True
    assert to.stats() == Stats(exported=15, dropped=NONE_DROPPED)
    assert lines() == ["http://the.test takes the spans, and says: be careful"]


def test_spans_that_nothing_has_been_said_of_are_told_of_at_the_end(
    exporter: Scripted, made: Made, lines: Lines
) -> None:
    exporter.outcome = REJECTED
    to = made()
    record(to, 2)
    assert to.flush(timeout=5) is False
    assert lines() == []  # should it happen again, the breaker has a line of its own
    assert to.shutdown(timeout=5) is False
    (line,) = lines()
    assert line.startswith("2 spans are lost (rejected: 2) on their way to http://the.test.")


def test_a_queue_that_is_too_short_is_told_of_at_the_end_with_its_variable(
    exporter: Scripted, made: Made, lines: Lines
) -> None:
    to = made(queue_size=5, batch_size=5)
    exporter.gate.clear()
    record(to, 1)
    wait_until(lambda: exporter.attempts)
    record(to, 8)
    exporter.gate.set()
    to.shutdown(timeout=5)
    assert lines() == [
        "3 spans are lost (queue_full: 3) on their way to http://the.test. More spans end than are sent: lower the "
        "sampling ratio, or make the queue longer for bursts: OTEL_BSP_MAX_QUEUE_SIZE is 5 here"
    ]


def test_what_a_shutdown_could_not_deliver_is_told(exporter: Scripted, made: Made, lines: Lines) -> None:
    exporter.outcome = REFUSED
    to = made()
    record(to, 3)
    assert to.shutdown(timeout=0.5) is False
    assert lines() == [
        "3 spans do not reach http://the.test: the time to send them is over. "
        "Last error: ConnectionRefusedError. Is anybody there?"
    ]


def test_an_outage_is_told_when_it_begins_and_when_it_ends(exporter: Scripted, made: Made, lines: Lines) -> None:
    to = made(interval=0.1)
    open_the_breaker(to, exporter)
    exporter.outcome = ACCEPTED

    def arrived() -> bool:
        record(to, 1)
        return bool(exporter.batches)

    wait_until(arrived)
    assert to.flush(timeout=5) is True
    begins, ends = lines()
    for part in ("do not reach http://the.test", "HTTP 401", "Who are you?"):
        assert part in begins
    assert ends == "spans reach http://the.test again"


@pytest.mark.parametrize("answer", [ACCEPTED._replace(rejected=1), REJECTED])
def test_what_a_backend_says_is_told_in_one_line_short_and_without_control_characters(
    exporter: Scripted, made: Made, lines: Lines, answer: Outcome
) -> None:
    exporter.outcome = answer._replace(error="too old\nCRITICAL: forged \x1b[2J \u202e \ud800 é" + "x" * 60_000)
    to = made()
    record(to, 1)
    assert to.flush(timeout=5) is False
    to.shutdown(timeout=5)
    said = to.stats().last_error
    assert said is not None
    assert said.startswith("too old CRITICAL: forged  [2J     éxxx")
    assert said.isprintable()
    assert len(said) < 400
    (line,) = lines()
    assert said in line


def test_an_exporter_that_raises_is_told_of_once_and_stops_nothing(
    exporter: Scripted, made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    exporter.error = RuntimeError("bad day")
    to = made(timeout=0.5)
    for _ in range(2):
        record(to, 1)
        assert to.flush(timeout=5) is False
    exporter.error = None
    record(to, 1)
    assert to.flush(timeout=5) is True
    assert to.stats() == Stats(exported=1, unknown=2, dropped=NONE_DROPPED, last_error="RuntimeError('bad day')")
    assert caplog.text.count("Traceback") == 1

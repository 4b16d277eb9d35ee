"""The bounded queue and its worker, in front of an exporter that does what the test says."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Sequence

import pytest
from opentelemetry.context import get_current
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON

from servers import wait_until
from tracemw._context import clients_suppressed
from tracemw._export import Delivery, Stats


class Exporter(SpanExporter):
    """Keeps the batches; can be told to fail, raise or block."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.result = SpanExportResult.SUCCESS
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.suppressed: list[bool] = []
        self.shut_down = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.suppressed.append(clients_suppressed(get_current()))
        self.gate.wait(30)
        if self.error is not None:
            raise self.error
        if self.result is SpanExportResult.SUCCESS:
            self.batches.append([span.name for span in spans])
        return self.result

    def shutdown(self) -> None:
        self.shut_down += 1

    @property
    def names(self) -> list[str]:
        return [name for batch in self.batches for name in batch]


def delivery_to(exporter: Exporter, **options: float) -> Delivery:
    settings = {"queue_size": 100, "batch_size": 10, "delay": 0.05, **options}
    return Delivery(
        lambda: exporter,
        destination="the test",
        queue_size=int(settings["queue_size"]),
        batch_size=int(settings["batch_size"]),
        delay=settings["delay"],
    )


def record(delivery: Delivery, count: int, *, sampled: bool = True) -> None:
    provider = TracerProvider(sampler=ALWAYS_ON if sampled else ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(delivery)
    tracer = provider.get_tracer("test")
    for number in range(count):
        tracer.start_span(str(number)).end()


def test_spans_are_delivered_in_order_without_a_flush() -> None:
    exporter = Exporter()
    delivery = delivery_to(exporter)
    record(delivery, 25)
    wait_until(lambda: len(exporter.names) == 25)
    assert exporter.names == [str(number) for number in range(25)]
    assert max(map(len, exporter.batches)) <= 10
    delivery.shutdown()


def test_a_full_batch_does_not_wait_for_the_delay() -> None:
    exporter = Exporter()
    delivery = delivery_to(exporter, delay=60)
    record(delivery, 10)
    wait_until(lambda: len(exporter.names) == 10, timeout=5)
    delivery.shutdown()


def test_a_flush_delivers_at_once_and_says_so() -> None:
    exporter = Exporter()
    delivery = delivery_to(exporter, delay=60)
    record(delivery, 3)
    assert delivery.flush(timeout=5) is True
    assert exporter.names == ["0", "1", "2"]
    assert delivery.flush(timeout=5) is True
    assert delivery.stats() == Stats(exported=3, failed=0, dropped=0, queued=0)
    delivery.shutdown()


def test_unsampled_spans_go_nowhere_and_start_no_thread() -> None:
    exporter = Exporter()
    before = threading.active_count()
    delivery = delivery_to(exporter)
    record(delivery, 3, sampled=False)
    assert threading.active_count() == before
    assert delivery.flush(timeout=1) is True
    delivery.shutdown()
    assert exporter.batches == []


def test_a_full_queue_drops_the_oldest_and_counts_them() -> None:
    exporter = Exporter()
    exporter.gate.clear()
    delivery = delivery_to(exporter, queue_size=5, batch_size=5, delay=60)
    record(delivery, 5)
    wait_until(lambda: exporter.suppressed)  # the first batch is being sent, and stuck
    record(delivery, 8)
    assert delivery.stats() == Stats(exported=0, failed=0, dropped=3, queued=10)
    exporter.gate.set()
    delivery.shutdown()
    assert exporter.names == ["0", "1", "2", "3", "4", "3", "4", "5", "6", "7"]


def test_flush_and_shutdown_keep_their_timeouts_while_the_backend_hangs() -> None:
    exporter = Exporter()
    exporter.gate.clear()
    delivery = delivery_to(exporter)
    record(delivery, 1)
    started = time.monotonic()
    assert delivery.flush(timeout=0.2) is False
    delivery.shutdown(timeout=0.2)
    assert 0.4 <= time.monotonic() - started < 2
    assert exporter.shut_down == 1
    exporter.gate.set()


def test_after_shutdown_spans_are_dropped_and_counted() -> None:
    exporter = Exporter()
    delivery = delivery_to(exporter)
    record(delivery, 2)
    delivery.shutdown()
    delivery.shutdown()
    record(delivery, 3)
    assert delivery.stats() == Stats(exported=2, failed=0, dropped=3, queued=0)
    assert exporter.shut_down == 1


def test_an_outage_is_logged_once_when_it_begins_and_once_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter()
    delivery = delivery_to(exporter)
    with caplog.at_level(logging.INFO, logger="tracemw"):
        exporter.result = SpanExportResult.FAILURE
        for _ in range(3):
            record(delivery, 1)
            assert delivery.flush(timeout=5) is False
        exporter.result = SpanExportResult.SUCCESS
        for _ in range(3):
            record(delivery, 1)
            assert delivery.flush(timeout=5) is True
    begins, ends = [entry.getMessage() for entry in caplog.records]
    assert "do not reach the test" in begins
    assert "`tracemw view`" in begins
    assert ends == "spans reach the test again"
    assert delivery.stats() == Stats(exported=3, failed=3, dropped=0, queued=0)
    delivery.shutdown()


def test_an_exporter_that_raises_does_not_stop_the_worker(caplog: pytest.LogCaptureFixture) -> None:
    exporter = Exporter()
    exporter.error = RuntimeError("bad day")
    delivery = delivery_to(exporter)
    record(delivery, 1)
    assert delivery.flush(timeout=5) is False
    exporter.error = None
    record(delivery, 1)
    assert delivery.flush(timeout=5) is True
    assert "bad day" in caplog.text
    delivery.shutdown()


def test_the_exporters_own_traffic_is_never_traced() -> None:
    exporter = Exporter()
    delivery = delivery_to(exporter)
    record(delivery, 1)
    delivery.flush(timeout=5)
    assert exporter.suppressed == [True]
    assert not clients_suppressed(get_current())
    delivery.shutdown()


def test_spans_from_many_threads_all_arrive() -> None:
    exporter = Exporter()
    delivery = delivery_to(exporter, queue_size=100_000)
    threads = [threading.Thread(target=record, args=(delivery, 500)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert delivery.flush(timeout=10) is True
    assert len(exporter.names) == 4000
    assert delivery.stats() == Stats(exported=4000, failed=0, dropped=0, queued=0)
    delivery.shutdown()


def test_a_forked_child_delivers_its_own_spans_and_none_of_its_parents() -> None:
    read, write = os.pipe()

    class Telling(Exporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            if os.getpid() != parent:
                os.write(write, f"{[span.name for span in spans]}\n".encode())
            return super().export(spans)

    parent = os.getpid()
    exporter = Telling()
    delivery = delivery_to(exporter, delay=60)
    record(delivery, 2)
    child = os.fork()
    if child == 0:
        record(delivery, 1)
        os._exit(0 if delivery.flush(timeout=5) else 1)
    _, status = os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as pipe:
        told = pipe.read()
    delivery.shutdown()
    assert status == 0
    assert told == "['0']\n"
    assert exporter.names == ["0", "1"]

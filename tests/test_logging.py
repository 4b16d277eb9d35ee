"""Log records lead to traces, and what a request has logged leaves with a trace that is kept."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import logging
import pickle
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import calls
import tracemw.asgi
import tracemw.logging
from recording.conftest import backend as backend
from recording.conftest import init as init
from recording.local_traces import Init, answer, kept_for, value_of


@pytest.fixture(autouse=True)
def leave_logging_alone() -> Iterator[None]:
    yield
    tracemw.logging.uninstall()


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger("shop.test")
    made.propagate = False
    made.setLevel(logging.INFO)
    yield made
    made.handlers.clear()
    made.filters.clear()
    made.setLevel(logging.NOTSET)


def written_by(logger: logging.Logger, formatter: logging.Formatter) -> io.StringIO:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    return stream


def current_ids() -> tuple[str, str]:
    context = trace.get_current_span().get_span_context()
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


@pytest.mark.parametrize("style", ["%", "{", "$"])
def test_every_record_has_the_ids_of_the_current_span(init: Init, logger: logging.Logger, style: Any) -> None:
    init(1.0)
    tracemw.logging.install()
    form = {"%": "%(trace_id)s %(span_id)s", "{": "{trace_id} {span_id}", "$": "$trace_id $span_id"}[style]
    stream = written_by(logger, logging.Formatter(form, style=style))
    logger.info("outside")
    with tracemw.span("work"):
        logger.info("within")
        ids = current_ids()
    assert stream.getvalue() == " \n" + " ".join(ids) + "\n"


def test_a_handler_finds_the_ids_on_the_record(init: Init, logger: logging.Logger) -> None:
    init(1.0)
    tracemw.logging.install()
    found: list[Any] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            found.append(record)

    logger.addHandler(Handler())
    with tracemw.span("work"):
        logger.info("within %s", "it")
        ids = current_ids()
    (record,) = found
    assert (record.trace_id, record.span_id, record.trace_flags) == (*ids, "03")
    for again in (pickle.loads(pickle.dumps(record)), copy.copy(record)):
        assert (again.trace_id, again.span_id, again.getMessage()) == (*ids, "within it")


def test_what_the_application_calls_trace_id_stays(init: Init, logger: logging.Logger) -> None:
    init(1.0)
    tracemw.logging.install()
    stream = written_by(logger, logging.Formatter("%(trace_id)s"))
    with tracemw.span("work"):
        logger.info("within", extra={"trace_id": "mine"})
    assert stream.getvalue() == "mine\n"


def test_a_record_tells_the_line_that_logs(init: Init, logger: logging.Logger) -> None:
    init(1.0)
    tracemw.logging.install(kept_logs="DEBUG")
    stream = written_by(logger, logging.Formatter("%(funcName)s"))

    def helper() -> None:
        logger.info("of the caller", stacklevel=2)

    logger.info("here")
    helper()
    name = "test_a_record_tells_the_line_that_logs"
    assert stream.getvalue() == f"{name}\n{name}\n"


def test_another_factory_of_records_keeps_its_class(init: Init, logger: logging.Logger) -> None:
    class Own(logging.LogRecord):
        def shout(self) -> str:
            return self.getMessage().upper()

    init(1.0)
    former = logging.getLogRecordFactory()
    logging.setLogRecordFactory(Own)
    try:
        tracemw.logging.install()
        tracemw.logging.install()
        record: Any = logger.makeRecord("shop", logging.INFO, "file", 1, "text", (), None)
        assert isinstance(record, Own)
        assert record.shout() == "TEXT"
        tracemw.logging.uninstall()
        assert logging.getLogRecordFactory() is Own
    finally:
        logging.setLogRecordFactory(former)


def test_the_json_formatter_writes_one_line_a_record(init: Init, logger: logging.Logger) -> None:
    init(1.0)
    tracemw.logging.install()
    stream = written_by(logger, tracemw.logging.JSONFormatter())
    loop: list[Any] = []
    loop.append(loop)
    with tracemw.span("work"):
        try:
            raise ValueError("no\nluck")
        except ValueError:
            logger.exception("failed %d times", 3, extra={"order": 7, "customer": object})
        ids = current_ids()
    logger.info("outside", extra={"loop": loop, "nan": float("nan"), "lone": "\ud800"})
    first, second = map(json.loads, stream.getvalue().splitlines())
    assert first["message"] == "failed 3 times"
    assert (first["level"], first["logger"], first["order"]) == ("ERROR", "shop.test", 7)
    assert (first["trace_id"], first["span_id"]) == ids
    assert first["exception"].endswith("ValueError: no\nluck")
    assert first["customer"] == "<class 'object'>"
    assert first["timestamp"].endswith("+00:00")
    assert "trace_id" not in second
    assert second["message"] == "outside"


def test_structlog_gets_the_ids_by_a_processor(init: Init) -> None:
    structlog = pytest.importorskip("structlog")
    init(1.0)
    told: list[Any] = []

    def end(logger: object, method: str, event: Any) -> Any:
        told.append(dict(event))
        raise structlog.DropEvent

    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[tracemw.logging.add_trace_ids, end])
    with tracemw.span("work"):
        log.info("within", span_id="mine")
        ids = current_ids()
    log.info("outside")
    assert told[0] == {"event": "within", "trace_id": ids[0], "span_id": "mine", "trace_flags": "03"}
    assert told[1] == {"event": "outside"}


class Logging:
    """An application that logs, in a span of its own and around it, and answers."""

    def __init__(self, logger: logging.Logger, status: int = 200, count: int = 1) -> None:
        self._logger = logger
        self._status = status
        self._count = count

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        for number in range(self._count):
            self._logger.debug("looking for %s at //me:secret@shop/", number)
        with tracemw.span("work"):
            self._logger.debug("working")
        self._logger.info("answering")
        await answer(send, self._status)


def logs(span: Any) -> list[str]:
    return [
        value_of(pair.value)
        for event in span.events
        if event.name == "log"
        for pair in event.attributes
        if pair.key == "log.message"
    ]


def test_what_a_logger_emits_and_leaves_out_is_on_the_spans_of_a_sampled_trace(
    init: Init, logger: logging.Logger
) -> None:
    running = init(1.0)
    tracemw.logging.install(kept_logs="DEBUG")
    stream = written_by(logger, logging.Formatter("%(message)s"))
    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(Logging(logger))))
    spans = {span.name: span for span in running.spans}
    assert logs(spans["GET"]) == ["looking for 0 at //REDACTED:REDACTED@shop/", "answering"]
    assert logs(spans["work"]) == ["working"]
    assert stream.getvalue() == "answering\n"


@pytest.mark.parametrize("status", [200, 500])
def test_work_after_the_response_keeps_nothing(init: Init, logger: logging.Logger, status: int) -> None:
    running = init(1.0)
    tracemw.logging.install(kept_logs="DEBUG")
    stream = written_by(logger, logging.Formatter("%(message)s"))

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answer(send, status)
        logger.debug("tidying up")
        logger.info("tidied up")

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    (span,) = running.spans
    assert logs(span) == []
    assert stream.getvalue() == "tidied up\n"


@pytest.mark.parametrize("status", [200, 500])
def test_what_a_logger_leaves_out_leaves_with_a_trace_that_is_kept_and_with_no_other(
    init: Init, logger: logging.Logger, status: int
) -> None:
    running = init(0.0)
    tracemw.logging.install(kept_logs=logging.DEBUG)
    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(Logging(logger, status))))
    spans = {span.name: span for span in running.spans}
    if status == 200:
        assert not spans
    else:
        assert kept_for(spans["GET"]) == "error"
        assert logs(spans["work"]) == ["working"]


def test_a_request_keeps_its_first_hundred_records_and_cuts_long_ones(init: Init, logger: logging.Logger) -> None:
    running = init(1.0)
    tracemw.logging.install(kept_logs="DEBUG")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        logger.debug("x" * 5000)
        for number in range(200):
            logger.debug(number)
        assert not logger.isEnabledFor(logging.DEBUG)
        with tracemw.span("failing"):
            for number in range(200):
                logger.error(number)
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    spans = {span.name: span for span in running.spans}
    assert logs(spans["GET"])[1:] == [str(number) for number in range(99)]
    assert len(logs(spans["GET"])[0]) <= 1000
    assert logs(spans["failing"]) == [str(number) for number in range(100)]


def test_a_message_shows_its_arguments_as_they_were_when_it_was_logged(init: Init, logger: logging.Logger) -> None:
    running = init(1.0)
    tracemw.logging.install(kept_logs="DEBUG")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        basket = ["mug"]
        logger.debug("basket: %s, %s", basket, 7)
        logger.debug("%(basket)s", {"basket": basket})
        logger.debug(basket)
        basket.append("cup")
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    (span,) = running.spans
    assert logs(span) == ["basket: ['mug'], 7", "['mug']", "['mug']"]


def test_a_long_message_is_cut_but_no_secret_in_it(init: Init, logger: logging.Logger) -> None:
    running = init(1.0)
    tracemw.logging.install(kept_logs="DEBUG")
    secret = "postgresql://me:" + "s3cret" * 10 + "@shop/"

    async def app(scope: Any, receive: Any, send: Any) -> None:
        logger.debug("%s%s", "x " * 460, secret)
        logger.debug("%2000d %s", 7, secret)
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    (span,) = running.spans
    first, second = logs(span)
    assert "s3cret" not in first + second
    assert first.endswith("@shop/")
    assert "[cut, " in second
    assert len(second) <= 1000


def test_kept_logs_are_on_the_spans_of_another_provider_too(logger: logging.Logger) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracemw.logging.install(kept_logs="DEBUG")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        logger.debug("for %s", "//me:secret@shop/")
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app, tracer_provider=provider)))
    (span,) = exporter.get_finished_spans()
    (event,) = span.events
    assert event.attributes == {
        "log.level": "DEBUG",
        "log.logger": "shop.test",
        "log.message": "for //REDACTED:REDACTED@shop/",
    }


def test_limits_hold_for_kept_logs_too(init: Init, logger: logging.Logger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "1")
    running = init(1.0)
    tracemw.logging.install(kept_logs="DEBUG")
    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(Logging(logger))))
    spans = {span.name: span for span in running.spans}
    (event,) = spans["work"].events
    assert [pair.key for pair in event.attributes] == ["log.message"]
    assert event.dropped_attributes_count == 2


def test_outside_of_a_request_nothing_is_kept_and_levels_are_as_before(init: Init, logger: logging.Logger) -> None:
    running = init(1.0)
    tracemw.logging.install(kept_logs="DEBUG")
    assert not logger.isEnabledFor(logging.DEBUG)
    with tracemw.span("job"):
        assert not logger.isEnabledFor(logging.DEBUG)
        logger.debug("not kept")
    (span,) = running.spans
    assert not span.events


def test_nothing_is_kept_of_a_request_that_is_not_recorded(init: Init, logger: logging.Logger) -> None:
    init(0.0, keep_errors=False)
    tracemw.logging.install(kept_logs="DEBUG")
    enabled: list[bool] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        enabled.append(logger.isEnabledFor(logging.DEBUG))
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    assert enabled == [False]


LIBRARY = compile(
    "def log(logger, text, level=10):\n    if logger.isEnabledFor(level):\n        logger.log(level, text)\n",
    "/srv/lib/site-packages/library.py",
    "exec",
)


def test_of_libraries_only_the_loggers_that_are_named_are_kept(init: Init, logger: logging.Logger) -> None:
    running = init(1.0)
    tracemw.logging.install(kept_logs="DEBUG", loggers=("shop.named",))
    library: dict[str, Any] = {}
    exec(LIBRARY, library)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        library["log"](logging.getLogger("shop.wire"), "cookie")
        library["log"](logging.getLogger("shop.wire"), "emitted", logging.ERROR)
        library["log"](logging.getLogger("shop.named.one"), "named")
        logging.LoggerAdapter(logging.getLogger("shop.wire"), {}).debug("of the application")
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    (span,) = running.spans
    assert logs(span) == ["named", "of the application"]
    assert type(logging.getLogger("httpx.late")) is logging.Logger  # a library's logger costs what it did
    tracemw.logging.install(kept_logs="DEBUG", loggers=("httpx",))
    assert type(logging.getLogger("httpx.late")) is not logging.Logger


def test_loggers_that_are_turned_off_are_left_out(init: Init, logger: logging.Logger) -> None:
    running = init(1.0)
    tracemw.logging.install(kept_logs="DEBUG")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        logger.disabled = True
        logger.debug("disabled")
        logger.disabled = False
        logging.disable(logging.DEBUG)
        logger.debug("disabled, too")
        logging.disable(logging.NOTSET)
        logging.getLogger("shop.new").debug("kept")
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    (span,) = running.spans
    assert logs(span) == ["kept"]


def test_arguments_that_do_not_fit_or_cannot_be_shown_hurt_nobody(init: Init, logger: logging.Logger) -> None:
    class Unprintable:
        def __str__(self) -> str:
            raise RuntimeError("no text")

        __repr__ = __str__

    running = init(1.0)
    tracemw.logging.install(kept_logs="DEBUG")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        logger.debug("%d apples", "no")
        logger.debug("%(fruit)s", {"fruit": "pear"})
        logger.debug(Unprintable())
        logger.debug("%s", Unprintable())
        try:
            raise KeyError("plum")
        except KeyError:
            logger.debug("failed", exc_info=True)
        await answer(send)

    asyncio.run(calls.ask(tracemw.asgi.TraceMiddleware(app)))
    (span,) = running.spans
    assert logs(span)[:2] == ["%d apples ('no',)", "pear"]
    assert len(logs(span)) == 5
    told = {pair.key: value_of(pair.value) for pair in span.events[-1].attributes}
    assert (told["exception.type"], told["exception.message"]) == ("KeyError", "'plum'")
    assert (told["log.level"], told["log.logger"]) == ("DEBUG", "shop.test")


class Keywords(logging.Logger):
    """A class of an application, which takes what `logging` hands over by name."""

    def _log(self, level: int, msg: object, args: Any, **more: Any) -> None:  # type: ignore[override]
        super()._log(level, f"own {msg}", args, **more)


class Older(logging.Logger):
    """One from before `stacklevel`."""

    def _log(self, level: int, msg: object, args: Any, exc_info: Any = None, extra: Any = None) -> None:  # type: ignore[override]
        super()._log(level, f"own {msg}", args, exc_info, extra)


@pytest.mark.parametrize("kind", [Keywords, Older])
def test_a_logger_of_the_applications_own_class_gets_what_logging_hands_it(
    init: Init, kind: type[logging.Logger], monkeypatch: pytest.MonkeyPatch
) -> None:
    init(1.0)
    monkeypatch.setattr(logging.Logger.manager, "loggerDict", {**logging.Logger.manager.loggerDict})
    monkeypatch.setattr(logging.Logger.manager, "loggerClass", kind)
    logger = logging.getLogger(f"shop.{kind.__name__}")
    logger.propagate = False
    logger.setLevel(logging.INFO)
    tracemw.logging.install(kept_logs="DEBUG")
    stream = written_by(logger, logging.Formatter("%(message)s %(request)s"))
    logger.info("of %s", "plums", extra={"request": 7})
    try:
        raise KeyError("pear")
    except KeyError:
        logger.exception("no %s", "pears", extra={"request": 8})
    assert stream.getvalue().startswith("own of plums 7\nown no pears 8\nTraceback")
    assert stream.getvalue().endswith("KeyError: 'pear'\n")


def test_uninstall_leaves_no_class_of_ours_behind(logger: logging.Logger) -> None:
    before = type(logger), logging.getLoggerClass(), logging.getLogRecordFactory()
    tracemw.logging.install(kept_logs="DEBUG")
    assert logging.getLogger("shop.late").name == "shop.late"
    tracemw.logging.uninstall()
    assert (type(logger), logging.getLoggerClass(), logging.getLogRecordFactory()) == before
    assert type(logging.getLogger("shop.late")) is before[1]
    assert type(logging.getLogger()) is logging.RootLogger


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"kept_logs": "LOUD"}, ValueError),
        ({"kept_logs": True}, TypeError),
        ({"kept_logs": 1.5}, TypeError),
        ({"loggers": "shop"}, TypeError),
        ({"loggers": (1,)}, TypeError),
    ],
)
def test_an_argument_that_is_none_is_refused(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        tracemw.logging.install(**arguments)

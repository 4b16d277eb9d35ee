"""Other people's span processors beside the flight recorder."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from opentelemetry import context as otel_context
from opentelemetry.baggage import get_baggage, set_baggage
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import Span as SdkSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

import calls
import tracemw
import tracemw.asgi
from conformance.server_doors import Door
from conformance.service import Service
from recording.local_traces import Init, attributes, failing, kept_for, open_children
from tracemw.sampling import Rule


class Theirs(SpanProcessor):
    """Sees spans, and changes them as some do."""

    def __init__(self, *, replaces: bool = False) -> None:
        self.started: list[tuple[str, dict[str, Any], bool, bool]] = []
        self.ended: list[ReadableSpan] = []
        self.said: list[dict[str, Any]] = []
        self._replaces = replaces

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        recording, sampled = span.is_recording(), span.get_span_context().trace_flags.sampled
        self.started.append((span.name, dict(span.attributes or {}), recording, sampled))
        span.set_attribute("theirs.start", "yes")

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)
        self.said.append(dict(span.attributes or {}))
        if self._replaces:
            span._attributes = {**(span.attributes or {}), "theirs.end": "yes", "url.path": "[Scrubbed]"}


@pytest.mark.parametrize("replaces", [False, True])
def test_other_span_processors_see_unsampled_spans_start_and_end_with_all_their_attributes_when_asked_to(
    door: Door, init: Init, replaces: bool
) -> None:
    running, theirs = init(show_unsampled=True), Theirs(replaces=replaces)
    running.add(theirs)
    traced = door.traced(Service())
    for path in ("/status/200", "/status/500"):
        door.ask(traced, path)
    assert [(recording, sampled) for _, _, recording, sampled in theirs.started] == [(True, False)] * 2
    assert [known["url.path"] for _, known, _, _ in theirs.started] == ["/status/200", "/status/500"]
    assert [said["http.response.status_code"] for said in theirs.said] == [200, 500]
    assert [said["url.path"] for said in theirs.said] == ["/status/200", "/status/500"]
    assert {said["theirs.start"] for said in theirs.said} == {"yes"}
    (kept,) = running.spans
    assert kept_for(kept) == "error"
    assert attributes(kept)["theirs.start"] == "yes"
    assert attributes(kept).get("theirs.end") == ("yes" if replaces else None)
    assert attributes(kept)["url.path"] == ("[Scrubbed]" if replaces else "/status/500")
    # What they hold is theirs: it does not change under their hands.
    assert all("tracemw.kept" not in (span.attributes or {}) for span in theirs.ended)


class Exporting(SpanProcessor):
    """Exports whatever ends, and keeps track of what is open, as Sentry's does."""

    def __init__(self) -> None:
        self.open: dict[int, Any] = {}
        self.log: list[tuple[str, str]] = []
        self.ended: list[ReadableSpan] = []

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        assert span.is_recording()
        self.open[span.get_span_context().span_id] = span
        self.log.append(("start", span.name))
        span.set_attribute("theirs.start", str(get_baggage("tenant", parent_context)))

    def on_end(self, span: ReadableSpan) -> None:
        assert span.context is not None
        del self.open[span.context.span_id]
        self.log.append(("end", span.name))
        self.ended.append(span)


class Enriching(SpanProcessor):
    """Only looks at starts."""

    def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
        span.set_attribute("enriched", span.name)


def request_for(tenant: str, *, fails: bool) -> None:
    token = otel_context.attach(set_baggage("tenant", tenant))
    try:
        with tracemw.span("root"):
            with tracemw.span("child"):
                pass
            with tracemw.span("other") as other:
                if fails:
                    other.set_status(StatusCode.ERROR)
    finally:
        otel_context.detach(token)


def test_an_exporting_processor_of_somebody_else_gets_only_what_is_sampled_or_kept(init: Init) -> None:
    running, theirs = init(), Exporting()
    running.add(theirs)
    running.add(Enriching())
    for _ in range(3):
        request_for("fine", fails=False)
    assert (theirs.log, theirs.open) == ([], {})
    request_for("acme", fails=True)
    starts = [("start", name) for name in ("root", "child", "other")]
    ends = [("end", name) for name in ("child", "other", "root")]
    assert theirs.log == starts + ends
    assert theirs.open == {}
    for span in theirs.ended:
        assert dict(span.attributes or {}).items() >= {"tracemw.kept": "error", "theirs.start": "acme"}.items()
    spans = running.spans
    assert sorted(span.name for span in spans) == ["child", "other", "root"]
    for sent in spans:
        known = attributes(sent)
        assert (known["tracemw.kept"], known["theirs.start"], known["enriched"]) == ("error", "acme", sent.name)
        assert sent.start_time_unix_nano < sent.end_time_unix_nano
    stats = running.tracing.stats()
    assert (stats.exported, stats.unsampled, stats.ended, stats.processor_errors) == (3, 9, 12, 0)


def test_an_exporting_processor_hears_of_a_span_that_ends_after_its_request_too(init: Init) -> None:
    running, theirs = init(), Exporting()
    running.add(theirs)
    root, (child,) = open_children()
    root.set_status(StatusCode.ERROR)
    root.end()
    assert theirs.log == [("start", "root"), ("end", "root")]
    child.end()
    assert theirs.log[2:] == [("start", "child"), ("end", "child")]
    assert running.names == ["child", "root"]


def test_an_exporting_processor_gets_what_is_sampled_as_it_comes(init: Init) -> None:
    running, theirs = init(1.0), Exporting()
    running.add(theirs)
    request_for("acme", fails=False)
    assert theirs.log[:2] == [("start", "root"), ("start", "child")]
    assert len(running.spans) == 3


@pytest.mark.parametrize("hook", ["on_start", "_on_ending", "on_end"])
@pytest.mark.parametrize("ratio", [0.0, 1.0])
@pytest.mark.parametrize("shows", [True, False])
def test_a_processor_that_raises_is_counted_and_costs_no_span(init: Init, hook: str, ratio: float, shows: bool) -> None:
    class Raising(Exporting):
        pass

    def fail(*args: Any, **more: Any) -> None:
        raise RuntimeError("theirs")

    setattr(Raising, hook, fail)
    running, others = init(ratio, show_unsampled=shows), Theirs()
    running.add(Raising())
    running.add(others)
    request_for("acme", fails=True)
    assert running.names == ["child", "other", "root"]
    assert len(others.ended) == 3
    stats = running.tracing.stats()
    assert stats.processor_errors >= 3
    assert (stats.exported, stats.ended) == (3, 3)


@pytest.mark.parametrize("kind", [SimpleSpanProcessor, BatchSpanProcessor])
def test_other_exporters_get_no_unsampled_span(init: Init, kind: Any) -> None:
    running, exporter = init(rules=(Rule("/sampled", 1.0),)), InMemorySpanExporter()
    running.add(kind(exporter))
    app = tracemw.asgi.TraceMiddleware(failing)
    for path in ("/unsampled", "/sampled"):
        asyncio.run(calls.ask(app, path))
    provider: Any = running.tracing.provider
    provider.force_flush()
    theirs = exporter.get_finished_spans()
    assert [(span.attributes or {}).get("url.path") for span in theirs if span.name == "GET"] == ["/sampled"]
    assert len(theirs) == 2
    assert len(running.spans) == 4


def test_a_processor_that_raises_takes_no_span_from_the_recorder(init: Init) -> None:
    class Raising(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            raise RuntimeError("theirs")

    running = init()
    running.add(Raising())
    root, (child,) = open_children()
    child.set_status(StatusCode.ERROR)
    for span in (child, root):
        span.end()
    assert running.names == ["child", "root"]
    stats = running.tracing.stats()
    assert (stats.processor_errors, stats.exported, stats.ended) == (2, 2, 2)


def test_a_root_that_a_processor_makes_unfit_takes_nothing_along(init: Init) -> None:
    class Breaking(SpanProcessor):
        def on_end(self, span: ReadableSpan) -> None:
            if span.name == "root":
                broken: Any = 5
                span._attributes = broken

    running = init()
    running.add(Breaking())
    root, (child,) = open_children()
    child.set_status(StatusCode.ERROR)
    child.end()
    root.end()
    assert running.names == ["child", "root"]
    assert running.holds_nothing()

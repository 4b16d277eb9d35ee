"""The recorder's provider among others: their processors, samplers and instrumentations, threads and forks."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
import sqlalchemy
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.context import Context
from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
from opentelemetry.sdk import trace as sdk_trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import (
    ConcurrentMultiSpanProcessor,
    ReadableSpan,
    SpanLimits,
    SpanProcessor,
    SynchronousMultiSpanProcessor,
    _TracerConfig,
)
from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    Decision,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)
from opentelemetry.sdk.util import BoundedList
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    NoOpTracer,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    TraceState,
)

from conftest import OLDER_SDK, Meters
from servers import wait_until
from test_recorder import RESOURCE, Asked, CountedIds, World, attributes_of, listening, seen, typed
from tracemw._otel.attributes import AttributeValue, LazyAttributes
from tracemw._otel.providers import TracerSource
from tracemw._recording import TracerProvider
from tracemw._recording import provider as our_provider
from tracemw._recording import span as our_span
from tracemw._recording import tracer as our_tracer

BOTH = pytest.mark.parametrize("kind", [TracerProvider, SdkTracerProvider], ids=["ours", "stock"])


class Collecting(SpanProcessor):
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.started: list[Any] = []
        self.ended: list[Any] = []

    def on_start(self, span: sdk_trace.Span, parent_context: Context | None = None) -> None:
        self.started.append(span)

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


class CollectingLive(SpanProcessor):
    """Keeps ended spans, live."""

    is_tracemw = True

    def __init__(self) -> None:
        self.ended: list[Any] = []

    def on_end(self, span: ReadableSpan) -> None:
        self.ended.append(span)


def provided(*processors: SpanProcessor, sampler: Sampler = ALWAYS_ON, **options: Any) -> TracerProvider:
    provider = TracerProvider(sampler, RESOURCE, False, **options)
    for each in processors:
        provider.add_span_processor(each)
    return provider


# Processors of others ---------------------------------------------------------------------------------------------


def test_a_processor_that_takes_live_spans_alone_gets_the_span_itself() -> None:
    live = CollectingLive()
    span = provided(live).get_tracer("test").start_span("work")
    span.end()
    assert live.ended == [span]


def test_a_processor_that_takes_live_spans_beside_another_gets_the_same_copy_as_the_other() -> None:
    live, other = CollectingLive(), Collecting()
    provided(live, other).get_tracer("test").start_span("work").end()
    assert live.ended[0] is other.ended[0]
    assert type(live.ended[0]) is ReadableSpan


def test_a_processor_that_takes_live_spans_beside_one_that_only_sees_their_start_still_gets_the_span_itself() -> None:
    class Starting(SpanProcessor):
        def on_start(self, span: sdk_trace.Span, parent_context: Context | None = None) -> None:
            span.set_attribute("started", True)

    live = CollectingLive()
    span = provided(live, Starting()).get_tracer("test").start_span("work")
    span.end()
    assert live.ended == [span]
    assert live.ended[0].attributes == {"started": True}


def test_a_processor_added_after_spans_were_started_sees_their_end() -> None:
    provider = provided(CollectingLive())
    span = provider.get_tracer("test").start_span("work")
    late = Collecting()
    provider.add_span_processor(late)
    span.end()
    assert (late.started, [each.name for each in late.ended]) == ([], ["work"])


def test_processors_taken_out_of_the_private_tuple_see_no_more() -> None:
    live, other = CollectingLive(), Collecting()
    provider = provided(other, live)
    tracer = provider.get_tracer("test")
    active = provider._active_span_processor
    active._span_processors = tuple(each for each in active._span_processors if each is not other)
    span = tracer.start_span("work")
    span.end()
    assert (other.started, other.ended, live.ended) == ([], [], [span])


def test_hooks_set_on_a_processor_and_not_in_its_class_are_called_too() -> None:
    called: list[str] = []
    processor: Any = SpanProcessor()
    processor.on_start = lambda span, parent_context=None: called.append("on_start")
    processor._on_ending = lambda span: called.append("_on_ending")
    processor.on_end = lambda span: called.append("on_end")
    provided(processor).get_tracer("test").start_span("work").end()
    assert called == ["on_start", "_on_ending", "on_end"]


@BOTH
def test_a_span_that_a_processor_takes_for_itself_ends_there_and_nowhere_else(kind: type[SdkTracerProvider]) -> None:
    class Taking(Collecting):
        def on_start(self, span: Any, parent_context: Context | None = None) -> None:
            if span.name == "hidden":
                span._span_processor = self

    taking, others = Taking(), Collecting()
    provider = kind(ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(taking)
    provider.add_span_processor(others)
    for name in ("hidden", "shown"):
        with provider.get_tracer("test").start_as_current_span(name) as span:
            span.set_attribute("a", 1)
    assert [each.name for each in others.ended] == ["shown"]
    assert [(each.name, each.attributes) for each in taking.ended] == [("hidden", {"a": 1}), ("shown", {"a": 1})]


@BOTH
def test_attributes_put_into_the_private_field_when_a_span_starts_arrive(kind: type[SdkTracerProvider]) -> None:
    class Putting(SpanProcessor):
        def on_start(self, span: Any, parent_context: Context | None = None) -> None:
            span._attributes["put"] = "in"
            if span.name == "replaced":
                span._attributes = BoundedAttributes(2, {"own": 1}, immutable=False)

    others = Collecting()
    provider = kind(ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(Putting())
    provider.add_span_processor(others)
    with listening():
        for name in ("kept", "replaced"):
            with provider.get_tracer("test").start_as_current_span(name, attributes={"given": (1,)}) as span:
                span.set_attribute("list", [True])
                span.set_attributes({"more": 1})
    kept, replaced = others.ended
    assert kept.attributes == {"given": (1,), "put": "in", "list": (True,), "more": 1}
    assert (replaced.attributes, replaced.dropped_attributes) == ({"list": (True,), "more": 1}, 1)


@BOTH
def test_a_processor_that_replaces_the_attributes_at_the_end_is_seen_by_the_next(kind: type[SdkTracerProvider]) -> None:
    class Replacing(SpanProcessor):
        def on_end(self, span: Any) -> None:
            span._attributes = {**span._attributes, "secret": "***"}

    exporter = InMemorySpanExporter()
    provider = kind(ALWAYS_ON, shutdown_on_exit=False)
    provider.add_span_processor(Replacing())
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("test").start_span("work", attributes={"a": 1, "secret": "s"}).end()
    (span,) = exporter.get_finished_spans()
    assert span.attributes == {"a": 1, "secret": "***"}


def test_a_batch_of_spans_reaches_an_exporter_whole_and_only_the_sampled_ones() -> None:
    exporter = InMemorySpanExporter()
    provider = provided(BatchSpanProcessor(exporter), sampler=TraceIdRatioBased(0.5))
    tracer = provider.get_tracer("test")
    sampled = []
    for number in range(100):
        span = tracer.start_span("work", attributes={"number": number})
        if span.get_span_context().trace_flags.sampled:
            sampled.append(number)
        span.end()
    assert provider.force_flush()
    assert [span.attributes["number"] for span in exporter.get_finished_spans() if span.attributes] == sampled
    assert 0 < len(sampled) < 100
    provider.shutdown()


@pytest.mark.parametrize("hook", ["on_start", "_on_ending", "on_end"])
@pytest.mark.parametrize("active", [None, ConcurrentMultiSpanProcessor])
def test_an_error_in_a_processor_reaches_neither_the_caller_nor_the_other_processors(
    hook: str, active: Any, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing(SpanProcessor):
        pass

    def fail(*args: Any, **more: Any) -> None:
        raise RuntimeError("full")

    setattr(Failing, hook, fail)
    others = Collecting()
    several = active() if active is not None else None
    provider = TracerProvider(ALWAYS_ON, shutdown_on_exit=False, active_span_processor=several)
    provider.add_span_processor(Failing())
    provider.add_span_processor(others)
    before = otel_context.get_current()
    for _ in range(3):
        with provider.get_tracer("test").start_as_current_span("work") as span:
            span.set_attribute("a", 1)
    assert otel_context.get_current() == before
    wait_until(lambda: len(others.ended) == 3)  # the SDK's threads wait for nobody once one processor has failed
    assert [each.attributes for each in others.ended] == [{"a": 1}] * 3
    said = [record.getMessage() for record in caplog.records if record.name == "tracemw"]
    assert len(said) <= 1
    if several is not None:
        several._executor.shutdown()


def test_a_live_span_can_be_copied_deeply() -> None:
    # With the stock SDK it cannot, for its lock.
    span: Any = provided().get_tracer("test").start_span("work", attributes={"list": [1]})
    span.add_event("happened", {"a": [1]})
    copied = copy.deepcopy({"span": span})["span"]
    span.set_attribute("later", 1)
    assert (copied.name, copied.attributes, copied.end_time) == ("work", {"list": (1,)}, None)
    assert [(event.name, dict(event.attributes)) for event in copied.events] == [("happened", {"a": (1,)})]


# Attributes that are made when somebody looks ---------------------------------------------------------------------


class Made(LazyAttributes):
    """Counts how often it is made."""

    __slots__ = ("times",)

    def __init__(self) -> None:
        self._made = None
        self.times = 0

    def make(self) -> dict[str, AttributeValue]:
        self.times += 1
        return {"a": "value", "b": 2, "c": ["x"], "d": True}


@pytest.mark.parametrize(
    "sampler", [ALWAYS_OFF, TraceIdRatioBased(0), ParentBased(ALWAYS_OFF), ParentBased(TraceIdRatioBased(0))]
)
def test_lazy_attributes_are_not_made_for_a_span_that_a_sampler_of_the_sdk_drops(sampler: Sampler) -> None:
    made: Any = Made()
    provided(sampler=sampler).get_tracer("test").start_span("work", attributes=made).end()
    assert made.times == 0


@pytest.mark.parametrize(
    "sampler",
    [ALWAYS_ON, ParentBased(ALWAYS_ON), Asked(World(), Decision.RECORD_AND_SAMPLE, True, "none")],
    ids=["always on", "parent based", "another's"],
)
def test_lazy_attributes_are_made_once_for_a_span_that_is_sampled(sampler: Sampler) -> None:
    made: Any = Made()
    collecting = Collecting()
    provider = provided(collecting, sampler=sampler)
    provider.get_tracer("test").start_span("work", attributes=made).end()
    found = dict(collecting.ended[0].attributes)
    found.pop("sampler", None)
    assert list(found.pop("c")) == ["x"]
    assert found == {"a": "value", "b": 2, "d": True}
    assert made.times == 1


def test_lazy_attributes_honour_the_limits() -> None:
    collecting, made = Collecting(), [Made(), Made()]
    provider = TracerProvider(
        ALWAYS_ON,
        shutdown_on_exit=False,
        span_limits=SpanLimits(max_span_attributes=3, max_span_attribute_length=2),
    )
    provider.add_span_processor(collecting)
    tracer: Any = provider.get_tracer("test")
    with listening():
        tracer.start_span("work", attributes=made[0]).end()
        with tracer.start_as_current_span("work", attributes=made[1]) as span:
            span.set_attribute("e", "long")
    first, second = collecting.ended
    assert (first.attributes, first.dropped_attributes) == ({"b": 2, "c": ("x",), "d": True}, 1)
    assert (second.attributes, second.dropped_attributes) == ({"c": ("x",), "d": True, "e": "lo"}, 2)


# Threads ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def _switching(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Threads that take turns as often as can be, and where it matters: at the end, and at the first event or link."""

    def after_others(function: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any) -> Any:
            time.sleep(0)
            return function(*args)

        return called

    monkeypatch.setattr(our_span, "monotonic_ns", after_others(time.monotonic_ns))
    monkeypatch.setattr(our_span, "BoundedList", after_others(BoundedList))
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(jobs: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run jobs, all from one moment on; what they returned."""
    barrier = threading.Barrier(len(jobs))

    def run(job: Callable[[], Any]) -> Any:
        barrier.wait()
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        return [future.result() for future in [pool.submit(run, job) for job in jobs]]


@pytest.mark.usefixtures("_switching")
@pytest.mark.parametrize("collecting", [Collecting, CollectingLive])
def test_a_span_that_many_threads_end_is_handed_over_once(collecting: type[Any]) -> None:
    processor = collecting()
    tracer = provided(processor).get_tracer("test")
    spans = [tracer.start_span(str(number)) for number in range(2000)]

    def end_all() -> None:
        for span in spans:
            span.end()

    with listening() as listener:
        at_once([end_all] * 5)
    assert sorted(int(span.name) for span in processor.ended) == list(range(2000))
    assert len(listener.messages) == 4 * 2000


@pytest.mark.usefixtures("_switching")
def test_attributes_that_many_threads_set_all_arrive() -> None:
    processor = Collecting()
    tracer = provided(processor, span_limits=SpanLimits(max_span_attributes=SpanLimits.UNSET)).get_tracer("test")
    for _ in range(10):
        span = tracer.start_span("work")

        def set_some(thread: int, span: trace.Span = span) -> None:
            for number in range(40):
                span.set_attribute(f"{thread}.{number}", number)
                span.set_attributes({f"{thread}.{number}.list": [number], "same": number, "same.list": [number]})

        at_once([partial(set_some, thread) for thread in range(4)])
        span.end()
        assert len(processor.ended[-1].attributes) == 4 * 40 * 2 + 2


@pytest.mark.usefixtures("_switching")
def test_events_and_links_that_many_threads_add_from_the_first_on_all_arrive() -> None:
    processor = Collecting()
    tracer = provided(processor).get_tracer("test")
    link = SpanContext(1, 2, is_remote=False)
    for _ in range(100):
        span = tracer.start_span("work")

        def add_some(span: trace.Span = span) -> None:
            for _ in range(3):
                span.add_event("happened", {"a": 1})
                span.add_link(link)

        at_once([add_some] * 4)
        span.end()
        assert (len(processor.ended[-1].events), len(processor.ended[-1].links)) == (12, 12)


@pytest.mark.usefixtures("_switching")
@pytest.mark.parametrize("most", [2, 128])
@pytest.mark.parametrize("collecting", [Collecting, CollectingLive])
def test_no_thread_gets_an_error_whatever_others_do_with_the_span(collecting: type[Any], most: int) -> None:
    processor = collecting()
    tracer = provided(processor, span_limits=SpanLimits(max_span_attributes=most, max_events=2)).get_tracer("test")
    with listening() as listener:
        for _ in range(60):
            span = tracer.start_span("work", attributes={"a": 1})

            def write(thread: int, span: trace.Span = span) -> None:
                for number in range(15):
                    span.set_attribute("a", number)
                    span.set_attribute(f"{thread}.{number}", number)
                    span.set_attribute("list", [number])
                    span.add_event("happened")
                    span.set_status(StatusCode.ERROR)
                    span.update_name("other")

            at_once([*[partial(write, thread) for thread in range(3)], span.end])
            # A thread that is setting one while others reach the limit may go over it.
            assert len(processor.ended[-1].attributes) <= most + 3
    assert len(processor.ended) == 60
    assert all("ended span" in message or "full" in message for message in listener.messages)


@pytest.mark.usefixtures("_switching")
def test_threads_that_ask_for_a_tracer_at_once_all_get_the_same_one_ready_for_use() -> None:
    provider = provided(CollectingLive())
    for number in range(100):

        def start(name: str = f"scope {number}") -> Any:
            tracer = provider.get_tracer(name)
            tracer.start_span("work").end()
            return tracer

        assert len(set(map(id, at_once([start] * 4)))) == 1


# Forks ------------------------------------------------------------------------------------------------------------

FORKING = """
import json, os, signal, threading, time
from opentelemetry.sdk.resources import Resource, ServiceInstanceIdResourceDetector
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from tracemw._recording import TracerProvider

signal.alarm(20)
provider = TracerProvider(ALWAYS_ON, Resource.create(), shutdown_on_exit=False)
tracer = provider.get_tracer("test")
tracer.start_span("first").end()

def told():
    span, again = tracer.start_span("next"), provider.get_tracer("later").start_span("next")
    return {
        "ids": [span.context.trace_id, span.context.span_id, again.context.trace_id],
        "instances": [each.resource.attributes.get("service.instance.id") for each in (span, again, provider)],
        "of the process": ServiceInstanceIdResourceDetector().detect().attributes["service.instance.id"],
        "name": span.resource.attributes["service.name"],
    }

def in_child(act):
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(5)
        os.write(writing, json.dumps(act()).encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0, "the child hung"
    os.close(writing)
    with os.fdopen(reading) as answer:
        return json.load(answer)
"""


def forked(script: str, **environment: str) -> Any:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKING + script],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OTEL_SERVICE_NAME": "forking", **environment},
        timeout=60,
    )
    return json.loads(ran.stdout)


def test_a_forked_child_has_ids_of_its_own_and_is_an_instance_of_its_own() -> None:
    told = forked("print(json.dumps([in_child(told), in_child(told), told()]))")
    assert len({each for one in told for each in one["ids"]}) == 9
    assert [one["name"] for one in told] == ["forking"] * 3
    instances = [set(one["instances"]) for one in told]
    assert [len(each) for each in instances] == [1, 1, 1]
    assert len(set.union(*instances)) == 3


def test_a_forked_child_s_spans_are_of_the_instance_that_the_sdk_makes_for_the_process() -> None:
    told = forked("print(json.dumps(in_child(told)))")
    assert told["instances"] == [told["of the process"]] * 3


def test_a_configured_instance_stays_in_a_forked_child() -> None:
    told = forked("print(json.dumps(in_child(told)))", OTEL_RESOURCE_ATTRIBUTES="service.instance.id=mine")
    assert told["instances"] == ["mine"] * 3


def test_an_instance_that_the_resource_was_given_stays_in_a_forked_child_and_in_its_own_child() -> None:
    script = """
provider.rearm(sampler=ALWAYS_ON, resource=Resource.create({"service.instance.id": "given"}))
print(json.dumps([in_child(told), in_child(lambda: in_child(told))]))
"""
    assert [told["instances"] for told in forked(script)] == [["given"] * 3] * 2


def test_the_child_of_a_forked_child_is_an_instance_of_its_own_too() -> None:
    child, grandchild = forked("print(json.dumps(in_child(lambda: [told(), in_child(told)])))")
    assert len({*child["instances"], *grandchild["instances"]}) == 2


def test_forked_children_get_tracers_though_a_thread_of_the_parent_held_the_lock() -> None:
    script = """
is_over = threading.Event()
def hold():
    while not is_over.is_set():
        with provider._tracers_lock:
            time.sleep(0.001)
thread = threading.Thread(target=hold)
thread.start()
names = [in_child(told)["name"] for _ in range(40)]
is_over.set()
thread.join()
print(json.dumps(names))
"""
    assert forked(script) == ["forking"] * 40


# The provider -----------------------------------------------------------------------------------------------------


def test_a_scope_has_one_tracer_and_other_scopes_have_others() -> None:
    ours, stock = provided(), SdkTracerProvider(ALWAYS_ON, shutdown_on_exit=False)
    scopes: list[tuple[Any, ...]] = [
        ("a",),
        ("a", None),
        ("a", ""),
        ("a", "", None, {}),
        ("a", "1"),
        ("a", "1", "https://schema"),
        ("a", None, "https://schema"),
        ("a", "1", None, {"b": 1}),
        ("a", "1", None, {"b": 2}),
        ("a", "1", None, {"b": 1}),
        ("b",),
        ("a",),
    ]

    def same(provider: SdkTracerProvider) -> list[list[bool]]:
        tracers = [provider.get_tracer(*scope) for scope in scopes]
        return [[one is other for other in tracers] for one in tracers]

    assert same(ours) == same(ours) == same(stock)
    assert all(type(ours.get_tracer(*scope)) is our_tracer.Tracer for scope in scopes)
    assert issubclass(our_tracer.Tracer, SdkTracer)


@BOTH
def test_a_tracer_without_a_name_is_an_error_each_time(kind: type[SdkTracerProvider]) -> None:
    provider: Any = kind(ALWAYS_ON, shutdown_on_exit=False)
    with listening() as listener:
        for name in ("", None, ""):
            provider.get_tracer(name).start_span("work").end()
    assert len(listener.messages) == 3


def test_rearming_reaches_the_tracers_given_out_each_time() -> None:
    processor = Collecting()
    provider = provided(processor)
    tracers = [provider.get_tracer("a"), provider.get_tracer("b", attributes={"c": 1})]
    for sampler, name in ((ALWAYS_OFF, "none"), (ALWAYS_ON, "first"), (ALWAYS_OFF, "none"), (ALWAYS_ON, "second")):
        provider.rearm(sampler=sampler, resource=Resource({"service.name": name}))
        for tracer in tracers:
            tracer.start_span("work").end()
    assert [span.resource.attributes["service.name"] for span in processor.ended] == ["first"] * 2 + ["second"] * 2


def test_a_disabled_sdk_gives_out_tracers_that_do_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", " True ")
    tracer = provided().get_tracer("test")
    assert isinstance(tracer, NoOpTracer)
    with tracer.start_as_current_span("work") as span:
        assert not span.is_recording()


@pytest.mark.parametrize(
    "environment",
    [
        {"OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": "2", "OTEL_SPAN_EVENT_COUNT_LIMIT": "1", "OTEL_SPAN_LINK_COUNT_LIMIT": "0"},
        {"OTEL_ATTRIBUTE_COUNT_LIMIT": "1", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": "3"},
        {"OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": "2", "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": "1"},
        {"OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": "1", "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": ""},
        {"OTEL_TRACES_SAMPLER": "always_off"},
        {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.5"},
        {"OTEL_RESOURCE_ATTRIBUTES": "a=b"},
    ],
    ids=lambda environment: " ".join(f"{name}={value}" for name, value in environment.items()),
)
def test_the_environment_counts_as_it_does_for_the_stock_sdk(
    environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    def told(kind: type[SdkTracerProvider]) -> Any:
        processor = Collecting()
        with listening() as listener:
            provider = kind(shutdown_on_exit=False, id_generator=CountedIds(3, True))
            provider.add_span_processor(processor)
            tracer = provider.get_tracer("test")
            for _ in range(8):
                given: Any = {"a": "long value", "b": 1, "c": ["long"]}
                links = [Link(SpanContext(1, 2, is_remote=False), given)]
                span = tracer.start_span("work", None, SpanKind.SERVER, given, links, 1)
                for number in range(3):
                    span.set_attribute(f"d{number}", "long value")
                    span.add_event("happened", given, 1)
                span.end(2)
        # Older SDKs do not say that they cut a text; of a full span ours logs one line, see below.
        ours_alone = ("exceeds max length", "Attributes dict is full")
        said = Counter(line for line in listener.messages if not any(text in line for text in ours_alone))
        return [seen(span) for span in processor.ended], said

    assert told(TracerProvider) == told(SdkTracerProvider)


def test_a_tracer_that_the_configurator_disables_starts_nothing_but_passes_the_parent_on() -> None:
    processor = Collecting()
    provider = provided(processor, _tracer_configurator=lambda scope: _TracerConfig(is_enabled=scope.name != "off"))
    off, on = provider.get_tracer("off"), provider.get_tracer("on")
    with on.start_as_current_span("work") as parent, off.start_as_current_span("none") as child:
        assert child.get_span_context() is parent.get_span_context()
        assert not child.is_recording()
    assert off.start_span("none").get_span_context() == trace.INVALID_SPAN_CONTEXT
    provider._set_tracer_configurator(tracer_configurator=lambda scope: _TracerConfig(is_enabled=scope.name == "off"))
    off.start_span("now").end()
    on.start_span("not").end()
    assert [span.name for span in processor.ended] == ["work", "now"]


def test_the_sdk_s_own_metrics_count_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_PYTHON_SDK_INTERNAL_METRICS_ENABLED", "true")

    def counted(kind: type[SdkTracerProvider]) -> Any:
        meters = Meters()
        provider = kind(
            ParentBased(TraceIdRatioBased(0.5)),
            shutdown_on_exit=False,
            id_generator=CountedIds(1, True),
            meter_provider=meters.provider,
        )
        tracer = provider.get_tracer("test")
        remote = NonRecordingSpan(SpanContext(1, 2, is_remote=True, trace_flags=TraceFlags(1)))
        for context in (None, trace.set_span_in_context(remote, Context())):
            for _ in range(10):
                with tracer.start_as_current_span("ended", context):
                    tracer.start_span("child").end()
                    tracer.start_span("live")
        points = [
            (name, sorted((point.attributes or {}).items()), point.value)
            for name in ("otel.sdk.span.started", "otel.sdk.span.live")
            for point in meters.points(name)
        ]
        meters.provider.shutdown()
        return sorted(points)

    ours = counted(TracerProvider)
    assert ours == counted(SdkTracerProvider)
    assert len(ours) >= 5


class Fixed(IdGenerator):
    """Always the same ids."""

    def generate_trace_id(self) -> int:
        return 7

    def generate_span_id(self) -> int:
        return 8


def test_what_is_assigned_on_a_live_tracer_takes_effect() -> None:
    first, second = Collecting(), Collecting()
    tracer: Any = provided(first).get_tracer("test")
    active = SynchronousMultiSpanProcessor()  # type: ignore[no-untyped-call]
    active.add_span_processor(second)
    tracer.start_span("before").end()
    tracer.resource = Resource({"service.name": "other"})
    tracer.id_generator = Fixed()
    tracer.span_processor = active
    tracer.start_span("after").end()
    tracer.sampler = ALWAYS_OFF
    assert not tracer.start_span("dropped").is_recording()
    tracer.sampler = ParentBased(ALWAYS_ON)
    assert tracer.start_span("again").is_recording()
    assert [span.name for span in first.ended] == ["before"]
    (after,) = second.ended
    assert after.resource.attributes["service.name"] == "other"
    assert after.context == SpanContext(7, 8, False, TraceFlags(1))


def test_spans_of_both_providers_are_parents_of_one_another() -> None:
    ours, stock = Collecting(), Collecting()
    other = SdkTracerProvider(ParentBased(ALWAYS_OFF), shutdown_on_exit=False)
    other.add_span_processor(stock)
    tracer, theirs = provided(ours, sampler=ParentBased(ALWAYS_ON)).get_tracer("test"), other.get_tracer("test")
    with (
        tracer.start_as_current_span("1") as first,
        theirs.start_as_current_span("2") as second,
        tracer.start_as_current_span("3"),
    ):
        pass
    assert [span.parent for span in ours.ended] == [second.get_span_context(), None]
    assert [span.parent for span in stock.ended] == [first.get_span_context()]


# What the recorder builds on --------------------------------------------------------------------------------------


def test_a_span_context_is_the_tuple_that_it_is_taken_for() -> None:
    state = TraceState([("a", "b")])
    assert our_tracer.KNOWS_THE_SDK
    assert tuple(SpanContext(1, 2, True, TraceFlags(3), state)) == (1, 2, True, 3, state, True)
    assert tuple(SpanContext(1, 2, True))[3:] == (0, trace.DEFAULT_TRACE_STATE, True)
    assert tuple(SpanContext(0, 2, True))[5] is False


def test_on_an_sdk_that_it_does_not_know_the_sdk_s_own_tracers_are_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(our_provider, "KNOWS_THE_SDK", False)
    processor, live = Collecting(), CollectingLive()
    provider = provided(processor, live)
    tracer: Any = provider.get_tracer("test")
    assert type(tracer) is SdkTracer
    assert provider.get_tracer("test") is tracer
    doors = TracerSource(provider)
    assert type(doors.get()) is SdkTracer
    assert doors.is_ours is False
    with tracer.start_as_current_span("work", attributes={"a": "value"}) as span:
        span.set_attribute("e", 5)
    provider.rearm(sampler=ALWAYS_OFF, resource=RESOURCE)
    tracer.start_span("dropped").end()
    (ended,) = processor.ended
    assert live.ended == [ended]
    assert ended.attributes == {"a": "value", "e": 5}


# Instrumentation of others ----------------------------------------------------------------------------------------


def test_the_spans_of_the_official_sqlalchemy_instrumentation_arrive_whole() -> None:
    def told(kind: type[SdkTracerProvider]) -> Any:
        exporter = InMemorySpanExporter()
        provider = kind(ALWAYS_ON, RESOURCE, False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        engine = sqlalchemy.create_engine("sqlite://")
        instrumentor = SQLAlchemyInstrumentor()
        instrumentor.instrument(engine=engine, tracer_provider=provider)
        try:
            with provider.get_tracer("test").start_as_current_span("request"), engine.connect() as connection:
                connection.execute(sqlalchemy.text("SELECT 1"))
                with pytest.raises(sqlalchemy.exc.OperationalError):
                    connection.execute(sqlalchemy.text("SELECT nothing"))
        finally:
            instrumentor.uninstrument()
            engine.dispose()
        *statements, request = exporter.get_finished_spans()
        assert all(span.parent == request.context for span in statements)
        return [(span.name, span.kind, span.status.status_code, attributes_of(span.attributes)) for span in statements]

    ours = told(TracerProvider)
    assert ours == told(SdkTracerProvider)
    assert typed("SELECT 1") in [value for *_, found in ours for _, value in found]
    assert ours[-1][2] is StatusCode.ERROR


def test_a_span_logs_once_that_it_has_no_room_for_more_attributes_and_counts_all_that_leave() -> None:
    processor = Collecting()
    tracer = provided(processor, span_limits=SpanLimits(max_span_attributes=3)).get_tracer("test")
    with listening() as listener:
        for _ in range(2):
            span = tracer.start_span("work", attributes={f"first.{number}": number for number in range(5)})
            for number in range(20):
                span.set_attribute(f"later.{number}", number)
            span.set_attributes({"one.list": [1], "two.list": [2]})
            span.end()
    logged = len([message for message in listener.messages if "full" in message])
    assert logged == (0 if OLDER_SDK else 2)  # older SDKs log nothing of it
    for ended in processor.ended:
        assert dict(ended.attributes or {}) == {"later.19": 19, "one.list": (1,), "two.list": (2,)}
        assert ended.dropped_attributes == 24

"""Spans without a door: recording them, and encoding them."""

from __future__ import annotations

import gc
import importlib
import itertools
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from random import getrandbits
from typing import Any

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState

from benchmarks.contestants import Burst, cpu, floor, pipelines

_ATTRIBUTES: dict[str, str | int] = {
    "http.request.method": "POST",
    "url.path": "/orders/checkout",
    "url.scheme": "http",
    "server.address": "shop.example.com",
    "server.port": 80,
    "network.peer.address": "10.1.22.7",
    "client.address": "10.1.22.7",
    "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    "network.protocol.version": "1.1",
}
_MORE: dict[str, str | int] = {
    "url.query": "currency=EUR&step=2",
    "network.peer.port": 51344,
    "http.response.status_code": 200,
}


class AskedSampler(Sampler):
    """A sampler of the user's own, which has to be asked."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,
        kind: SpanKind | None = None,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,
        trace_state: TraceState | None = None,
    ) -> SamplingResult:
        """Decide always the same; what a result has no attributes for, the span has not either."""
        return SamplingResult(self._decision, attributes)

    def get_description(self) -> str:
        """Name it."""
        return "AskedSampler"


class Keeping(SpanProcessor):
    """A processor of the user's own, with both hooks."""

    def __init__(self) -> None:
        self.ended: list[ReadableSpan] = []
        self.started = 0

    def on_start(self, span: Any, parent_context: Context | None = None) -> None:
        """Count the span."""
        self.started += 1

    def on_end(self, span: ReadableSpan) -> None:
        """Keep the span."""
        self.ended.append(span)


def recorder(*, whose: str, foreign: bool = False, sampled: bool = True) -> Burst:
    """Measure start, attributes and end; what is queued is delivered off the clock."""
    if foreign:
        provider, keeping = _foreign(whose, sampled=sampled)
        provider.add_span_processor(keeping)
        flush: Callable[[], None] = keeping.ended.clear
    else:
        pipeline = (pipelines.ours if whose == "ours" else pipelines.sdk)(sampling=float(sampled))
        provider = pipeline.provider
        flush = pipeline.flush
    tracer = provider.get_tracer("bench")
    start, kind = tracer.start_span, SpanKind.SERVER

    def record(operations: int) -> None:
        for _ in range(operations):
            start("POST", None, kind, {**_ATTRIBUTES}).end()

    def burst(operations: int) -> dict[str, float]:
        sample = cpu(lambda operations: lambda: record(operations))(operations)
        flush()
        return sample

    return burst


class OurKeeping(Keeping):
    """The same as one of tracemw's, which takes ended spans as they are."""

    is_tracemw = True
    takes_live_spans = True  # what the mark was called before, for an older checkout in AGAINST


def _foreign(whose: str, *, sampled: bool) -> tuple[Any, Keeping]:
    sampler = AskedSampler(Decision.RECORD_AND_SAMPLE if sampled else Decision.DROP)
    resource = Resource.create({"service.name": "bench"})
    kind: Any = inside("TracerProvider") if whose == "ours" else SdkTracerProvider
    provider = kind(sampler=sampler, resource=resource)
    return provider, Keeping()


class _Plain:
    """The least that a span is."""

    __slots__ = ("attributes", "end_time", "kind", "name", "parent", "span_id", "start_time", "trace_id")

    def __init__(self, name: str, kind: SpanKind, attributes: dict[str, str | int]) -> None:
        self.name = name
        self.kind = kind
        self.attributes = attributes
        self.parent = None
        self.trace_id = getrandbits(128)
        self.span_id = getrandbits(64)
        self.start_time = time.time_ns()
        self.end_time: int | None = None

    def end(self) -> None:
        """Note the time."""
        self.end_time = time.time_ns()


def recorder_floor() -> Burst:
    kept: list[_Plain] = []

    def record(operations: int) -> None:
        for _ in range(operations):
            span = _Plain("POST", SpanKind.SERVER, {**_ATTRIBUTES})
            span.end()
            kept.append(span)

    def prepare(operations: int) -> Callable[[], None]:
        kept.clear()
        return lambda: record(operations)

    return cpu(prepare)


BATCH = 512
_numbers = itertools.count()


def encoder(*, whose: str, unique: bool = False) -> Burst:
    """Measure the encoding of batches of ended spans, each as fresh as those that requests leave behind."""
    encode: Callable[[Sequence[Any]], bytes]
    if whose == "floor":
        encode = floor.encode
        floor.Memo.remember = not unique
    else:
        provider, keeping = _foreign(whose, sampled=True)
        if whose == "ours":  # as its delivery is: each encoder gets what it has to encode
            keeping = OurKeeping()
        provider.add_span_processor(keeping)
        encode = _our_encode() if whose == "ours" else _official_encode

    def batches(operations: int) -> list[Sequence[Any]]:
        if whose == "floor":
            records: Sequence[Any] = [_record(unique=unique) for _ in range(operations)]
        else:
            keeping.ended.clear()
            tracer = provider.get_tracer("bench")
            for number in range(operations):
                tracer.start_span("POST", None, SpanKind.SERVER, _attributes(number % 4, unique=unique)).end()
            records = list(keeping.ended)
            if min(len(span.attributes or ()) for span in records) < len(_ATTRIBUTES):
                raise RuntimeError("spans without their attributes")
        return [records[at : at + BATCH] for at in range(0, operations, BATCH)]

    def prepare(operations: int) -> Callable[[], None]:
        ready = batches(operations)

        def work() -> None:
            for batch in ready:
                encode(batch)

        return work

    return cpu(prepare)


def _attributes(more: int, *, unique: bool) -> dict[str, str | int]:
    """Return 9 to 12 attributes; none of the strings is an object that has been encoded before."""
    attributes = {**_ATTRIBUTES, **dict(itertools.islice(_MORE.items(), more))}
    number = next(_numbers)
    fresh: dict[str, str | int] = {}
    for key, value in attributes.items():
        if isinstance(value, int):
            fresh[key] = number + 1024 if unique else value
        else:
            fresh[key] = f"{value}{number}" if unique else value.encode().decode()
    return fresh


def _record(*, unique: bool) -> floor.Record:
    now = time.time_ns()
    return getrandbits(128), getrandbits(64), 0, b"POST", floor.SERVER, now, now, _attributes(3, unique=unique)


def _official_encode(spans: Sequence[ReadableSpan]) -> bytes:
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans

    body: bytes = encode_spans(spans).SerializeToString()
    return body


def _our_encode() -> Callable[[Sequence[Any]], bytes]:
    encode: Callable[[Sequence[Any]], bytes] = inside("SpanEncoder")().encode
    return encode


def memo_misses() -> int | None:
    """Return how many attributes the encoder of our delivery did not remember; None while there is no encoder."""
    kind = inside("SpanEncoder")
    return next((thing.misses for thing in gc.get_objects() if isinstance(thing, kind)), None)


def inside(name: str) -> Any:
    """Return a class of tracemw by its name, in whatever module a checkout keeps it."""
    for room in ("tracemw._export", "tracemw._recording"):
        importlib.import_module(room)
    for module in list(sys.modules.values()):
        found = getattr(module, name, None)
        if isinstance(found, type) and found.__module__.startswith("tracemw."):
            return found
    raise RuntimeError(f"tracemw has no {name}")

"""Ratios, thresholds and rules: which traces are recorded, and what their trace state says about it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    Decision,
    Sampler,
    SamplingResult,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, TraceFlags, TraceState
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import tracemw.httpx
import tracemw.starlette
from backend import backend_serving
from conftest import TRACE_ID
from servers import process, uvicorn_serving
from tracemw._http import tracecontext
from tracemw._otel.attributes import AttributeValue, LazyAttributes
from tracemw._recording import TracerProvider
from tracemw.config import Arguments, Config
from tracemw.sampling import ConsistentSampler, Rule, Sampling, sampler_for
from tracemw.sampling.threshold import NEVER, encoded, threshold_of

ratios = st.floats(0, 1)
trace_ids = st.integers(1, 2**128 - 1)


def decoded(th: str) -> int:
    return int(th.ljust(14, "0"), 16)


def entries(state: TraceState | None) -> dict[str, str]:
    """The sub-keys of the `ot` entry."""
    members = [member.partition(":") for member in dict(state or {}).get("ot", "").split(";") if member]
    return {key: value for key, _, value in members}


def under(state: TraceState | None = None, *, sampled: bool = True, remote: bool = True, trace_id: int = 1) -> Context:
    """A context in which a parent is current."""
    flags = TraceFlags(TraceFlags.SAMPLED if sampled else 0)
    parent = SpanContext(trace_id, 2, is_remote=remote, trace_flags=flags, trace_state=state)
    return trace.set_span_in_context(NonRecordingSpan(parent), Context())


def sampled(result: SamplingResult) -> bool:
    return result.decision is Decision.RECORD_AND_SAMPLE


def samples(sampler: Sampler, trace_id: int, context: Context | None = None, **start: Any) -> bool:
    return sampled(sampler.should_sample(context or Context(), trace_id, "GET", **start))


def request(method: str, path: str) -> dict[str, Any]:
    """What the SERVER span of a request starts with."""
    return {"kind": SpanKind.SERVER, "attributes": {"http.request.method": method, "url.path": path}}


# The table of the specification, for the four digits that it recommends.
@pytest.mark.parametrize(
    ("ratio", "th"),
    [
        (1, "0"),
        (1 / 2, "8"),
        (1 / 3, "aaab"),
        (1 / 4, "c"),
        (1 / 5, "cccd"),
        (1 / 8, "e"),
        (1 / 10, "e666"),
        (1 / 16, "f"),
        (1 / 100, "fd70a"),
        (1 / 1000, "ffbe77"),
        (1 / 10_000, "fff9724"),
        (1 / 100_000, "ffff583a"),
        (1 / 1_000_000, "ffffef39"),
        (2**-56, "ffffffffffffff"),
    ],
)
def test_a_ratio_becomes_the_threshold_that_the_specification_shows(ratio: float, th: str) -> None:
    result = ConsistentSampler(ratio).should_sample(None, 2**56 - 1, "GET")
    assert entries(result.trace_state) == {"th": th}


@given(st.integers(0, NEVER - 1))
def test_a_threshold_is_read_as_it_was_written(threshold: int) -> None:
    assert decoded(encoded(threshold)) == threshold
    assert re.fullmatch(r"0|[0-9a-f]{0,13}[1-9a-f]", encoded(threshold))


@given(st.floats(2**-56, 1))
def test_a_threshold_is_the_ratio_to_four_digits(ratio: float) -> None:
    actual = (NEVER - threshold_of(ratio)) / NEVER
    assert abs(actual - ratio) <= max(ratio * 2**-12, 2**-57)
    assert actual > 0


@given(ratios, ratios, trace_ids)
def test_a_service_with_a_higher_ratio_samples_every_trace_that_one_with_a_lower_does(
    one: float, other: float, trace_id: int
) -> None:
    lower, higher = sorted((one, other))
    assert samples(ConsistentSampler(lower), trace_id) <= samples(ConsistentSampler(higher), trace_id)


@given(ratios, trace_ids)
def test_a_new_trace_is_sampled_when_its_low_56_bits_are_not_below_the_threshold_that_it_tells(
    ratio: float, trace_id: int
) -> None:
    result = ConsistentSampler(ratio).should_sample(None, trace_id, "work")
    assert sampled(result) == (trace_id % 2**56 >= threshold_of(ratio))
    assert entries(result.trace_state) == ({"th": encoded(threshold_of(ratio))} if sampled(result) else {})


@pytest.mark.parametrize("ratio", [0.0, 0.001, 0.1, 0.5, 1.0])
def test_the_share_that_is_sampled_is_the_ratio(ratio: float) -> None:
    ids, sampler = random.Random(7), ConsistentSampler(ratio)
    taken = sum(samples(sampler, ids.getrandbits(128)) for _ in range(20_000))
    assert abs(taken - 20_000 * ratio) <= 5 * (20_000 * ratio * (1 - ratio)) ** 0.5


sub_keys = st.lists(st.sampled_from(["k:v", "p:8", "x1:a.b_c-d"]), min_size=1, max_size=3, unique=True)
no_member: st.SearchStrategy[list[str]] = st.just([])
th = st.one_of(no_member, st.integers(0, NEVER - 1).map(lambda value: [f"th:{encoded(value)}"]))
rv = st.one_of(no_member, st.integers(0, NEVER - 1).map(lambda value: [f"rv:{value:014x}"]))
ot = st.tuples(th, rv, sub_keys).flatmap(lambda parts: st.permutations([member for part in parts for member in part]))
states = st.one_of(st.none(), ot.map(lambda members: TraceState([("vendor", "1"), ("ot", ";".join(members))])))


@given(ratios, trace_ids, states)
def test_a_root_is_decided_upon_as_by_the_experimental_sampler_of_the_sdk(
    ratio: float, trace_id: int, state: TraceState | None
) -> None:
    experimental: Any = pytest.importorskip("opentelemetry.sdk.trace._sampling_experimental")
    exact = (NEVER - threshold_of(ratio)) / NEVER  # it takes more digits
    oracle = experimental.composite_sampler(experimental.composable_traceid_ratio_based(exact))
    expected = oracle.should_sample(None, trace_id, "GET", trace_state=state)
    result = ConsistentSampler(ratio, follows_callers=False).should_sample(
        under(state) if state else None, trace_id, "GET"
    )
    assert result.decision is expected.decision
    assert entries(result.trace_state) == entries(expected.trace_state)
    assert dict(result.trace_state or {}).get("vendor") == dict(expected.trace_state or {}).get("vendor")


@pytest.mark.parametrize("remote", [True, False])
@pytest.mark.parametrize("state", [None, TraceState([("ot", "th:8;rv:00000000000000;k:v"), ("vendor", "1")])])
def test_a_parents_decision_holds_and_its_trace_state_is_passed_on_as_it_is(
    state: TraceState | None, remote: bool
) -> None:
    for ratio, expected in ((0.0, True), (1.0, False), (0.5, True), (0.5, False)):
        sampler = ConsistentSampler(ratio, [Rule("*", 1.0 - ratio)])
        result = sampler.should_sample(under(state, sampled=expected, remote=remote), 1, "GET", **request("GET", "/"))
        assert sampled(result) is expected
        assert dict(result.trace_state or {}) == dict(state or {})


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("always_on", ALWAYS_ON),
        ("always_off", ALWAYS_OFF),
        ("parentbased_always_on", DEFAULT_ON),
        ("parentbased_always_off", DEFAULT_OFF),
    ],
)
def test_the_samplers_that_the_variable_names_decide_as_the_sdks_do(
    monkeypatch: pytest.MonkeyPatch, name: str, theirs: Sampler
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", name)
    ours = sampler_for(Config.resolve(Arguments(environment="production")))
    for trace_id in (1, 2**56 - 1, 2**128 - 1):
        for context in (Context(), under(sampled=True), under(sampled=False)):
            assert samples(ours, trace_id, context) == samples(theirs, trace_id, context)


def test_a_ratio_that_is_not_parent_based_decides_upon_callers_anew_and_keeps_what_else_they_say(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    sampler = sampler_for(Config.resolve(Arguments()))
    state = TraceState([("vendor", "1"), ("ot", "k:v;th:8;rv:d0000000000000")])
    taken = sampler.should_sample(under(state, sampled=False), 1, "GET")
    assert sampled(taken)
    assert dict(taken.trace_state or {}) == {"ot": "th:c;k:v;rv:d0000000000000", "vendor": "1"}
    state = TraceState([("vendor", "1"), ("ot", "th:8")])
    left = sampler.should_sample(under(state, sampled=True), 1, "GET")
    assert not sampled(left)
    assert dict(left.trace_state or {}) == {"vendor": "1"}
    within = under(state, sampled=True, remote=False)
    assert samples(sampler, 1, within), "a trace is not torn apart in one service"


def test_an_entry_without_room_for_the_threshold_stays_without() -> None:
    sampler = ConsistentSampler(1 / 3, follows_callers=False)
    full = "k:" + "v" * 251
    result = sampler.should_sample(under(TraceState([("ot", full)])), 2**56 - 1, "GET")
    assert sampled(result)
    assert dict(result.trace_state or {}) == {"ot": full}


@pytest.mark.parametrize(
    ("pattern", "method", "path", "applies"),
    [
        ("POST /checkout/*", "POST", "/checkout/7/pay", True),
        ("POST /checkout/*", "GET", "/checkout/7", False),
        ("POST /checkout/*", "POST", "/checkout", False),
        ("post /checkout", "POST", "/checkout", True),
        ("POST /checkout", "POST", "/checkout/", True),
        ("POST /checkout", "POST", "/checkout/7", False),
        ("/poll*", "GET", "/poll", True),
        ("* /poll*", "PUT", "/polls/1", True),
        ("GET *", "GET", "/any/thing", True),
        ("*", "_OTHER", "/", True),
        ("*.js", "GET", "/static/a.js", True),
        ("/a b", "GET", "/a b", True),
        ("/[ab]?", "GET", "/b1", True),
        ("/Poll", "GET", "/poll", False),
    ],
)
def test_a_rule_applies_to_requests_by_method_and_path(pattern: str, method: str, path: str, applies: bool) -> None:
    sampler = ConsistentSampler(0.0, [Rule(pattern, 1.0)])
    assert samples(sampler, 1, **request(method, path)) is applies


def test_the_first_rule_that_matches_counts_with_its_own_threshold() -> None:
    sampler = ConsistentSampler(1.0, [Rule("/a/b", 0.5), Rule("/a/*", 0.0), Rule("*", 0.25)])
    for path, expected in (("/a/b", {"th": "8"}), ("/a/c", {}), ("/b", {"th": "c"})):
        result = sampler.should_sample(None, 2**56 - 1, "GET", **request("GET", path))
        assert entries(result.trace_state) == expected


def test_rules_are_for_requests_and_nothing_else() -> None:
    sampler = ConsistentSampler(0.0, [Rule("*", 1.0)])
    assert not samples(sampler, 1)
    assert not samples(sampler, 1, kind=SpanKind.SERVER, attributes={"rpc.system": "grpc"})
    called = {"http.request.method": "GET", "url.path": "/"}
    assert not samples(sampler, 1, kind=SpanKind.CLIENT, attributes=called)


class Untouched(Mapping[str, Any]):
    """Attributes that nobody looks at."""

    def __getitem__(self, key: str) -> Any:
        raise AssertionError(key)

    def __iter__(self) -> Iterator[str]:
        raise AssertionError

    def __len__(self) -> int:
        raise AssertionError


class Lazy(LazyAttributes):
    __slots__ = ()

    def __init__(self) -> None:
        self._made = None

    def make(self) -> dict[str, AttributeValue]:
        return {"http.request.method": "GET", "url.path": "/poll"}

    @property
    def was_made(self) -> bool:
        return self._made is not None


def test_without_a_path_to_compare_the_attributes_are_left_alone() -> None:
    sampler = ConsistentSampler(0.5)
    sampler.spike(0.75, seconds=60)
    for trace_id in (1, 2**55 + 1, 2**56 - 1):
        sampler.choose(trace_id, None, SpanKind.SERVER, Untouched())
    lazy = Lazy()
    assert ConsistentSampler(1.0).choose(1, None, SpanKind.SERVER, lazy).is_sampled
    assert not lazy.was_made
    assert not ConsistentSampler(1.0, [Rule("/poll", 0.0)]).choose(1, None, SpanKind.SERVER, lazy).is_sampled
    assert lazy.was_made


def test_a_plain_policy_decides_like_the_sampler_by_its_two_numbers() -> None:
    sampler = ConsistentSampler(0.1)
    assert sampler.policy.is_plain
    ids = random.Random(7)
    for trace_id in [ids.getrandbits(128) for _ in range(500)]:
        result = sampler.should_sample(None, trace_id, "GET")
        assert sampled(result) == (trace_id & (2**56 - 1) >= sampler.policy.threshold)
        if sampled(result):
            assert result.trace_state is sampler.policy.trace_state


@pytest.mark.parametrize("pattern", ["", "GET", "checkout", "GET checkout", "GET  ", "/a\n/b", "G(T /a"])
def test_a_rule_for_what_is_no_request_is_an_error_that_shows_one(pattern: str) -> None:
    with pytest.raises(ValueError, match=r"Rule: .* such as 'POST /checkout/\*'"):
        Rule(pattern, 1.0)


def test_a_rule_for_a_method_that_no_request_has_is_an_error_that_names_those_that_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert Rule("post /x", 1.0).pattern == "post /x"
    with pytest.raises(
        ValueError, match=r"Rule: 'PSOT /x' is not accepted; use one of the methods .* POST, .*KNOWN_METHODS"
    ):
        Rule("PSOT /x", 1.0)
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET,PURGE")
    assert Rule("PURGE /x", 1.0).ratio == 1.0
    with pytest.raises(ValueError, match=r"use one of the methods GET, PURGE, or name POST and all others"):
        Rule("POST /x", 1.0)


def test_what_is_no_ratio_or_no_rule_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"Rule ratio=1.5 is not accepted; use a number from 0 to 1"):
        Rule("/a", 1.5)
    with pytest.raises(ValueError, match=r"Sampling ratio=-1 is not accepted; use a number from 0 to 1"):
        Sampling(ratio=-1)
    with pytest.raises(ValueError, match=r"a number from 0 to 1"):
        Sampling(ratio=10**400)
    with pytest.raises(TypeError, match=r"Rule: a request pattern is a string"):
        Rule(7, 1.0)  # type: ignore[arg-type]
    for rules in ([("GET /a", 1.0)], "GET /a", Rule("/a", 1.0), 7):
        with pytest.raises(TypeError, match=r"rules takes rules such as \[Rule\('GET /path\*', 0.5\)"):
            Sampling(rules=rules)  # type: ignore[arg-type]


class Service:
    """A service with a sampler of its own, and the spans that it has recorded."""

    def __init__(self, sampler: Sampler, calls: str | None = None, *, kind: type[SdkTracerProvider]) -> None:
        self._exporter = InMemorySpanExporter()
        provider = kind(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        transport = tracemw.httpx.AsyncTraceTransport(
            httpx.AsyncHTTPTransport(trust_env=False), tracer_provider=provider
        )

        async def answer(request: Request) -> PlainTextResponse:
            if calls is not None:
                async with httpx.AsyncClient(transport=transport) as client:
                    await client.get(calls)
            return PlainTextResponse(request.headers.get("tracestate", ""))

        app = Starlette(routes=[Route("/{rest:path}", answer, methods=["GET", "POST"])])
        self.app = tracemw.starlette.TraceMiddleware(app, tracer_provider=provider)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    @property
    def trace_states(self) -> list[dict[str, str]]:
        return [dict(span.context.trace_state) for span in self.spans]


@pytest.fixture(params=[TracerProvider, SdkTracerProvider], ids=["ours", "sdk"])
def kind(request: pytest.FixtureRequest) -> type[SdkTracerProvider]:
    """Each provider asks the sampler in its own way."""
    kind: type[SdkTracerProvider] = request.param
    return kind


def test_services_downstream_follow_the_first_and_hand_on_its_threshold(kind: type[SdkTracerProvider]) -> None:
    for first, total in ((1.0, 3), (0.0, 0)):
        back = Service(ConsistentSampler(1.0 - first, [Rule("*", 1.0 - first)]), kind=kind)
        with uvicorn_serving(back.app) as back_url:
            front = Service(ConsistentSampler(0.5, [Rule("GET /shop", first)]), f"{back_url}/stock", kind=kind)
            with uvicorn_serving(front.app) as front_url:
                httpx.get(f"{front_url}/shop", trust_env=False).raise_for_status()
        spans = [*front.spans, *back.spans]
        assert len(spans) == total
        assert all(dict(span.context.trace_state) == {"ot": "th:0"} for span in spans)
        assert len({span.context.trace_id for span in spans}) <= 1


def test_the_trace_state_of_a_caller_reaches_the_next_service_untouched(kind: type[SdkTracerProvider]) -> None:
    state = "ot=th:c;rv:00000000000001;k:v,vendor@team=1,other=2"
    back = Service(ConsistentSampler(1.0), kind=kind)
    with uvicorn_serving(back.app) as back_url:
        front = Service(ConsistentSampler(0.0), f"{back_url}/stock", kind=kind)
        with uvicorn_serving(front.app) as front_url:
            for flags in ("00", "01"):
                headers = {"traceparent": f"00-{TRACE_ID}-b7ad6b7169203331-{flags}", "tracestate": state}
                httpx.get(f"{front_url}/shop", headers=headers, trust_env=False).raise_for_status()
    expected = {"ot": "th:c;rv:00000000000001;k:v", "vendor@team": "1", "other": "2"}
    assert front.trace_states == [expected] * 2
    assert back.trace_states == [expected]


def test_rules_see_the_path_of_a_request_before_its_route_is_known(kind: type[SdkTracerProvider]) -> None:
    service = Service(ConsistentSampler(0.0, [Rule("POST /checkout/*", 1.0)]), kind=kind)
    with uvicorn_serving(service.app) as url, httpx.Client(base_url=url, trust_env=False) as client:
        client.post("/checkout/7?x=1")
        client.get("/checkout/7")
        client.post("/cart")
    (span,) = service.spans
    assert span.attributes is not None
    assert (span.attributes["http.request.method"], span.attributes["url.path"]) == ("POST", "/checkout/7")


def test_init_takes_rules_and_spans_leave_with_their_threshold() -> None:
    code = (
        "import tracemw\n"
        "from tracemw.sampling import Rule, Sampling\n"
        "from tracemw.wsgi import TraceMiddleware\n"
        "from wsgiref.util import setup_testing_defaults\n"
        "tracemw.init('shop', sampling=Sampling(ratio=0, rules=[Rule('GET /checkout*', 1.0)]))\n"
        "app = TraceMiddleware(lambda environ, start: (start('200 OK', []), [b'ok'])[1])\n"
        "for path in ('/checkout/7', '/poll'):\n"
        "    environ = {'PATH_INFO': path}\n"
        "    setup_testing_defaults(environ)\n"
        "    for part in (body := app(environ, lambda *_: None)): pass\n"
        "    body.close()\n"
    )
    with backend_serving() as backend:
        with process("-W", "error", "-c", code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
            output, _ = running.communicate(timeout=60)
        assert (running.returncode, output) == (0, "")
        assert [span.trace_state for span in backend.spans] == ["ot=th:0"]


def test_without_a_ratio_of_its_own_sampling_takes_that_of_the_environment() -> None:
    code = (
        "import tracemw\n"
        "from tracemw.sampling import Rule, Sampling\n"
        "tracing = tracemw.init('shop', sampling=Sampling(rules=[Rule('/poll', 0)]))\n"
        "print(tracing.provider.sampler.get_description())\n"
    )
    env = {"ENVIRONMENT": "production", "OTEL_TRACES_EXPORTER": "none"}
    with process("-W", "error", "-c", code, env=env) as running:
        output, _ = running.communicate(timeout=60)
    assert output == "tracemw{ratio=0.1,rules=[('/poll', 0.0)]}\n"


class SameIds(IdGenerator):
    """One trace id, and span ids in order."""

    def __init__(self, trace_id: int) -> None:
        self._trace_id = trace_id
        self._last = 0

    def generate_trace_id(self) -> int:
        return self._trace_id

    def generate_span_id(self) -> int:
        self._last += 1
        return self._last


class LazyRequest(LazyAttributes):
    def __init__(self, attributes: dict[str, AttributeValue]) -> None:
        self._attributes = attributes

    def make(self) -> dict[str, AttributeValue]:
        return dict(self._attributes)


@given(
    ratio=ratios,
    rules=st.lists(st.builds(Rule, st.sampled_from(["GET /a*", "/b"]), ratios), max_size=2),
    spike=st.none() | st.tuples(ratios.filter(bool), st.sampled_from([None, "GET /a*"])),
    follows_callers=st.booleans(),
    trace_id=trace_ids,
    parent=st.none() | st.builds(under, states, sampled=st.booleans(), remote=st.booleans(), trace_id=trace_ids),
    asked=st.sampled_from([request("GET", "/a/1"), request("POST", "/b"), {"attributes": {"x": 1}}, {}]),
)
def test_our_recorder_decides_as_the_sdks_does_by_asking_the_sampler(
    ratio: float,
    rules: list[Rule],
    spike: tuple[float, str | None] | None,
    follows_callers: bool,
    trace_id: int,
    parent: Context | None,
    asked: dict[str, Any],
) -> None:
    sampler = ConsistentSampler(ratio, rules, follows_callers=follows_callers)
    if spike is not None:
        sampler.spike(spike[0], seconds=60, path=spike[1])
    started = {}
    for provider in (SdkTracerProvider, TracerProvider):
        tracer = provider(sampler, id_generator=SameIds(trace_id), shutdown_on_exit=False).get_tracer("test")
        start = dict(asked)
        if provider is TracerProvider and "attributes" in start:
            start["attributes"] = LazyRequest(start["attributes"])
        span = tracer.start_span("request", parent or Context(), **start)
        context = span.get_span_context()
        attributes = dict(span.attributes or {}) if isinstance(span, ReadableSpan) else None
        started[provider] = context.trace_id, context.trace_flags, dict(context.trace_state), attributes
    assert started[TracerProvider] == started[SdkTracerProvider]


def test_the_threshold_takes_the_place_of_the_last_member_of_a_trace_state_that_is_full() -> None:
    state = ",".join(f"k{number}=v" for number in range(32))
    caller = tracecontext.parse([f"00-{TRACE_ID}-b7ad6b7169203331-00"], [state])
    assert caller is not None
    provider = TracerProvider(ConsistentSampler(1.0, follows_callers=False), shutdown_on_exit=False)
    parent = trace.set_span_in_context(NonRecordingSpan(caller), Context())
    span = provider.get_tracer("x").start_span("served", parent)
    found = span.get_span_context().trace_state
    assert found.get("ot") == "th:0"
    assert list(found) == ["ot", *(f"k{number}" for number in range(31))]

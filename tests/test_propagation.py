"""W3C Trace Context level 2 and W3C Baggage, read and written."""

from __future__ import annotations

import re
import string
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, propagate, trace
from opentelemetry.context import Context
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.propagators.textmap import TextMapPropagator
from opentelemetry.trace import SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from conftest import PARENT_ID, TRACE_ID, TRACEPARENT
from test_bootstrap import run
from tracemw._http.propagation import extract, inject
from tracemw._http.tracecontext import State, parse_state


class Carrier:
    """Headers with any number of values each."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self.pairs = pairs
        self.has_marks = bool({"traceparent", "baggage"} & {name for name, _ in pairs})

    def get(self, name: str, /) -> list[str]:
        return [value for key, value in self.pairs if key == name]

    def keys(self) -> list[str]:
        return [key for key, _ in self.pairs]


def remote(*pairs: tuple[str, str]) -> SpanContext:
    return trace.get_current_span(extract(Carrier(*pairs), Context())).get_span_context()


def passed_on(*pairs: tuple[str, str]) -> dict[str, str]:
    return inject(extract(Carrier(*pairs), Context()))


def test_a_traceparent_names_the_remote_parent() -> None:
    span = remote(("traceparent", TRACEPARENT))
    assert (f"{span.trace_id:032x}", f"{span.span_id:016x}", span.is_remote) == (TRACE_ID, PARENT_ID, True)
    assert span.trace_flags.sampled


@pytest.mark.parametrize(("flags", "kept"), [("00", 0), ("01", 1), ("02", 2), ("03", 3), ("ff", 3), ("08", 0)])
def test_the_sampled_and_the_random_flag_are_kept_and_unknown_ones_are_not(flags: str, kept: int) -> None:
    traceparent = f"00-{TRACE_ID}-{PARENT_ID}-{flags}"
    assert remote(("traceparent", traceparent)).trace_flags == kept
    assert passed_on(("traceparent", traceparent))["traceparent"].endswith(f"-{kept:02x}")


@pytest.mark.parametrize(
    "traceparent",
    [
        f"cc-{TRACE_ID}-{PARENT_ID}-01",
        f"cc-{TRACE_ID}-{PARENT_ID}-01-what-comes-later",
        f"cc-{TRACE_ID}-{PARENT_ID}-01-",
        f" \t{TRACEPARENT}\t ",
    ],
)
def test_a_later_version_and_surrounding_white_space_are_understood(traceparent: str) -> None:
    assert f"{remote(('traceparent', traceparent)).trace_id:032x}" == TRACE_ID


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "garbage",
        f"ff-{TRACE_ID}-{PARENT_ID}-01",
        f"{TRACEPARENT}.",
        f"{TRACEPARENT}-more",
        f"{TRACEPARENT}\n",
        f"cc-{TRACE_ID}-{PARENT_ID}-01.more",
        f"00-{TRACE_ID.upper()}-{PARENT_ID}-01",
        f"00-{'0' * 32}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
        f"00-{TRACE_ID}-{PARENT_ID}-1",
        f"00-{TRACE_ID}-{PARENT_ID}-001",
        f"00-{TRACE_ID}-{PARENT_ID}-.0",
        f"0-{TRACE_ID}-{PARENT_ID}-01",
        f"000-{TRACE_ID}-{PARENT_ID}-01",
        f"00-{TRACE_ID}1-{PARENT_ID}-01",
        f"00-{TRACE_ID[1:]}-{PARENT_ID}-01",
        f"00-{TRACE_ID}-{PARENT_ID}1-01",
        f"{TRACEPARENT},{TRACEPARENT}",
        f"00-{TRACE_ID[:-1]}\u0660-{PARENT_ID}-01",
    ],
)
def test_a_malformed_traceparent_is_ignored_and_its_tracestate_with_it(traceparent: str) -> None:
    assert passed_on(("traceparent", traceparent), ("tracestate", "foo=1")) == {}


def test_more_than_one_traceparent_is_ignored() -> None:
    assert passed_on(("traceparent", TRACEPARENT), ("traceparent", TRACEPARENT)) == {}


@pytest.mark.parametrize(
    ("headers", "passed"),
    [
        (["foo=1,bar=2"], "foo=1,bar=2"),
        (["foo=1,bar=2", "baz=3"], "foo=1,bar=2,baz=3"),
        (["", "foo=1", ""], "foo=1"),
        ([" foo=1 \t, \t bar=2 ,,"], "foo=1,bar=2"),
        (["foo=1,foo=2", "foo=3,bar=4"], "foo=1,bar=4"),
        (["0foo=1,a@b@c=2,t@=3"], "0foo=1,a@b@c=2,t@=3"),
        (["z" * 256 + "=1"], "z" * 256 + "=1"),
        ([f"k={'v' * 256}"], f"k={'v' * 256}"),
        (["k= v"], "k= v"),
        ([",".join(f"k{n}={n}" for n in range(32))], ",".join(f"k{n}={n}" for n in range(32))),
    ],
)
def test_a_tracestate_is_passed_on_in_order_and_without_duplicates(headers: list[str], passed: str) -> None:
    sent = passed_on(("traceparent", TRACEPARENT), *(("tracestate", header) for header in headers))
    assert sent == {"traceparent": TRACEPARENT, "tracestate": passed}


@pytest.mark.parametrize(
    "header",
    [
        "foo",
        "foo=",
        "foo=1,bar=",
        "foo =1",
        "FOO=1",
        "foo.bar=1",
        "@foo=1",
        "foo=bar=baz",
        "foo=caf\xe9",
        "z" * 257 + "=1",
        f"k={'v' * 257}",
        ",".join(f"k{n}={n}" for n in range(33)),
    ],
)
def test_an_invalid_tracestate_is_left_out_and_the_trace_goes_on(header: str) -> None:
    assert passed_on(("traceparent", TRACEPARENT), ("tracestate", header)) == {"traceparent": TRACEPARENT}


def test_a_trace_state_stays_strict_when_it_is_changed() -> None:
    state = State({"0a": "1", "b": "2"})
    assert state.add("c@d@e", "3").to_header() == "c@d@e=3,0a=1,b=2"
    assert state.add("b", "3") is state
    assert state.update("b", "3").to_header() == "b=3,0a=1"
    assert state.update("B", "3") is state
    assert state.update("c", "a,b") is state
    assert state.delete("0a").to_header() == "b=2"
    assert state.delete("x") is state
    full = State({f"k{n}": "1" for n in range(32)})
    for more in (full.add("more", "1"), full.update("more", "1")):  # section 3.3.1.1: the last gives way
        assert list(more) == ["more", *(f"k{n}" for n in range(31))]
    assert len(full.update("k31", "2")) == 32
    assert isinstance(state.update("b", "3").delete("0a"), State)


KEYS = st.text(string.ascii_lowercase + string.digits + "_-*/@", max_size=20).map(lambda rest: f"k{rest}")
VALUES = st.text("".join(set(map(chr, range(0x21, 0x7F))) - set(",=")), min_size=1, max_size=20)


@given(st.dictionaries(KEYS, VALUES, max_size=32))
def test_every_valid_tracestate_survives(members: dict[str, str]) -> None:
    header = ",".join(f"{key}={value}" for key, value in members.items())
    state = parse_state([header])
    assert (state.to_header() if state is not None else "") == header


@given(st.lists(st.tuples(st.sampled_from(["traceparent", "tracestate", "baggage"]), st.text(max_size=80))))
def test_no_header_value_fails_a_request(pairs: list[tuple[str, str]]) -> None:
    for value in passed_on(*pairs).values():
        assert value.isascii()
        assert value.isprintable()


def test_baggage_is_readable_and_passed_on_as_it_came() -> None:
    context = extract(
        Carrier(("baggage", "tenant.id = a%20b;secret;ttl=3 , plus=1+1"), ("baggage", "empty=")), Context()
    )
    assert dict(baggage.get_all(context)) == {"tenant.id": "a b", "plus": "1+1", "empty": ""}
    assert inject(context)["baggage"] == "tenant.id=a%20b;secret;ttl=3,plus=1+1,empty="


def test_baggage_that_the_application_sets_is_encoded() -> None:
    context = extract(Carrier(("baggage", "a=1;p,b=2")), Context())
    context = baggage.set_baggage("a", "x,y;z caf\xe9%", context)
    context = baggage.set_baggage("bad key", "1", context)
    context = baggage.remove_baggage("b", context)
    sent = inject(context)["baggage"]
    assert sent == "a=x%2Cy%3Bz%20caf%C3%A9%25"
    assert baggage.get_baggage("a", extract(Carrier(("baggage", sent)), Context())) == "x,y;z caf\xe9%"


@pytest.mark.parametrize(
    ("header", "kept"),
    [
        ("no-equals,a=1", {"a": "1"}),
        ("bad key=1,a=1", {"a": "1"}),
        ("q=caf\xe9,a=1", {"a": "1"}),
        ('q="x",a=1', {"a": "1"}),
        ("a=1;p=caf\xe9,b=2", {"b": "2"}),
        (",,=,", {}),
        ("a=%zz", {"a": "%zz"}),
    ],
)
def test_invalid_baggage_members_are_left_out(header: str, kept: dict[str, str]) -> None:
    assert dict(baggage.get_all(extract(Carrier(("baggage", header)), Context()))) == kept


def test_baggage_has_limits_both_ways() -> None:
    many = ",".join(f"k{n}=1" for n in range(100))
    context = extract(Carrier(("baggage", many)), Context())
    assert len(baggage.get_all(context)) == 64
    long = extract(Carrier(("baggage", f"a=1,b={'x' * 9000},c=1")), Context())
    assert dict(baggage.get_all(long)) == {"a": "1", "c": "1"}
    own = baggage.set_baggage("big", "x" * 9000, Context())
    assert inject(own) == {}
    assert inject(baggage.set_baggage("small", "1", own)) == {"baggage": "small=1"}
    for number in range(100):
        own = baggage.set_baggage(f"k{number}", "x" * 200, own)
    assert 7900 < len(inject(own)["baggage"]) <= 8192


def test_another_propagator_that_is_installed_is_used_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(TextMapPropagator):
        fields: ClassVar[set[str]] = {"x-other"}

        def extract(self, carrier, context=None, getter=None):  # type: ignore[no-untyped-def]
            return baggage.set_baggage("other", getter.get(carrier, "x-other"), context)

        def inject(self, carrier, context=None, setter=None):  # type: ignore[no-untyped-def]
            carrier["x-other"] = "1"

    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", CompositePropagator([Other()]))
    context = extract(Carrier(("traceparent", TRACEPARENT), ("x-other", "2")), Context())
    assert baggage.get_baggage("other", context) == ["2"]
    assert inject(context) == {"x-other": "1"}


@pytest.mark.parametrize(
    ("propagators", "sent"),
    [([], {}), ([TraceContextTextMapPropagator()], {"traceparent": TRACEPARENT})],
)
def test_fewer_formats_when_opentelemetry_is_set_to_fewer(
    monkeypatch: pytest.MonkeyPatch, propagators: list[TextMapPropagator], sent: dict[str, str]
) -> None:
    monkeypatch.setattr(propagate, "_HTTP_TEXT_FORMAT", CompositePropagator(propagators))
    assert passed_on(("traceparent", TRACEPARENT), ("baggage", "a=1")) == sent


@pytest.mark.parametrize("door", ["asgi", "wsgi", "flask", "starlette", "httpx", "requests"])
def test_a_propagator_that_is_not_installed_is_an_error_that_says_which_are(door: str) -> None:
    ended = run(f"import tracemw.{door}", OTEL_PROPAGATORS="baggage, w3c")
    assert ended.returncode == 1
    said = ended.stdout.splitlines()[-1]
    assert said.startswith("ValueError: OTEL_PROPAGATORS='baggage, w3c' is not accepted; use ")
    assert re.search("some of .*baggage, .*none, .*tracecontext, or install the package that has 'w3c'", said)
    assert "opentelemetry-propagator-b3" in said
    assert "StopIteration" not in ended.stdout
    assert ended.stdout.count("Traceback") == 1


def test_propagators_that_are_installed_are_taken() -> None:
    ended = run("import tracemw.wsgi", OTEL_PROPAGATORS="tracecontext,none")
    assert (ended.returncode, ended.stdout) == (0, "")

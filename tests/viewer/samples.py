"""Spans and searches to send: single spans, many spans, odd ones, hostile searches, and a checkout that fails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

MILLISECOND = 1_000_000
SECOND = 1000 * MILLISECOND
NOON = 1_790_000_000 * SECOND


@dataclass(frozen=True)
class Spans:
    """Some spans of one service."""

    service: str
    spans: tuple[Span, ...]


def request(*groups: Spans) -> ExportTraceServiceRequest:
    message = ExportTraceServiceRequest()
    for group in groups:
        resource_spans = message.resource_spans.add()
        resource_spans.resource.attributes.extend(
            attributes({"service.name": group.service, "service.version": "1.4.2", "deployment.environment": "demo"})
        )
        scope_spans = resource_spans.scope_spans.add()
        scope_spans.scope.name = "tests"
        scope_spans.spans.extend(group.spans)
    return message


def span(
    trace: int,
    number: int,
    parent: int = 0,
    *,
    name: str = "work",
    at: float = 0.0,
    took: float = 10.0,
    kind: Span.SpanKind.ValueType = Span.SPAN_KIND_INTERNAL,
    error: str | None = None,
    start: int = NOON,
    **values: Any,
) -> Span:
    """One span; ``at`` and ``took`` are milliseconds, an attribute's dots are written as double underscores."""
    begin = start + int(at * MILLISECOND)
    return Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=number.to_bytes(8, "big"),
        parent_span_id=parent.to_bytes(8, "big") if parent else b"",
        name=name,
        kind=kind,
        start_time_unix_nano=begin,
        end_time_unix_nano=begin + int(took * MILLISECOND),
        attributes=attributes({key.replace("__", "."): value for key, value in values.items()}),
        status=Status(code=Status.STATUS_CODE_ERROR, message=error) if error is not None else None,
    )


def one(trace: int = 1, service: str = "shop", **options: Any) -> Spans:
    """A trace of one span."""
    return Spans(service, (span(trace, 1, **options),))


def hex_id(trace: int) -> str:
    return format(trace, "032x")


def attributes(values: Mapping[str, Any]) -> Iterable[KeyValue]:
    return [KeyValue(key=key, value=any_value(value)) for key, value in values.items()]


def any_value(value: Any) -> AnyValue:
    result = AnyValue()
    match value:
        case bool():
            result.bool_value = value
        case int():
            result.int_value = value
        case float():
            result.double_value = value
        case bytes():
            result.bytes_value = value
        case list():
            result.array_value.values.extend(any_value(item) for item in value)
            result.array_value.SetInParent()
        case dict():
            result.kvlist_value.values.extend(attributes(value))
            result.kvlist_value.SetInParent()
        case None:
            pass
        case _:
            result.string_value = value
    return result


CHECKOUT = 0x5B8EFFF798038103D269B633813FC60C

_STACK = """Traceback (most recent call last):
  File "/srv/payments/app.py", line 88, in charge
    receipt = gateway.authorize(card, amount)
  File "/srv/payments/gateway.py", line 41, in authorize
    raise CardDeclined(reply.reason)
payments.gateway.CardDeclined: insufficient funds
"""


def checkout(trace: int = CHECKOUT, start: int = NOON) -> list[Spans]:
    """A checkout over three services; payments fails over a card that is declined, and storefront answers 502."""
    server, client = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT

    def s(number: int, parent: int, name: str, at: float, took: float, **options: Any) -> Span:
        return span(trace, number, parent, name=name, at=at, took=took, start=start, **options)

    def query(number: int, parent: int, name: str, at: float, took: float, text: str) -> Span:
        return s(number, parent, name, at, took, kind=client, db__system__name="postgresql", db__query__text=text)

    declined = s(
        33, 31, "authorize card", 224, 112, error="insufficient funds",
        payment__amount=129.9, payment__currency="EUR", payment__attempt=1, payment__saved_card=True,
        payment__methods=["card", "invoice"],
    )  # fmt: skip
    declined.events.add(name="gateway.request", time_unix_nano=start + 226 * MILLISECOND)
    declined.events.add(
        name="exception",
        time_unix_nano=start + 335 * MILLISECOND,
        attributes=attributes(
            {
                "exception.type": "payments.gateway.CardDeclined",
                "exception.message": "insufficient funds",
                "exception.stacktrace": _STACK,
            }
        ),
    )
    storefront = (
        s(1, 0, "POST /checkout/{cart_id}", 0, 412, kind=server, error="", http__request__method="POST",
          http__route="/checkout/{cart_id}", http__response__status_code=502, url__path="/checkout/8113",
          error__type="502"),
        s(2, 1, "load cart", 4, 66),
        query(3, 2, "SELECT carts", 6, 18, "SELECT * FROM carts WHERE id = $1"),
        query(4, 2, "SELECT cart_items", 27, 39, "SELECT * FROM cart_items WHERE cart_id = $1"),
        s(5, 1, "GET /profiles/{id}", 74, 96, kind=client, http__response__status_code=200),
        s(6, 1, "POST /charges", 178, 208, kind=client, error="", http__response__status_code=500, error__type="500"),
        s(7, 1, "render error page", 390, 19),
    )  # fmt: skip
    profile = (
        s(21, 5, "GET /profiles/{id}", 80, 84, kind=server, http__route="/profiles/{id}"),
        query(22, 21, "SELECT profiles", 86, 31, "SELECT * FROM profiles WHERE id = $1"),
        s(23, 21, "loyalty discount", 120, 38),
        s(24, 23, "cache lookup", 122, 4, cache__hit=False),
    )
    payments = (
        s(31, 6, "POST /charges", 186, 190, kind=server, error="", http__route="/charges",
          http__response__status_code=500),
        s(32, 31, "check limits", 190, 29),
        declined,
        query(34, 31, "INSERT declines", 342, 27, "INSERT INTO declines VALUES ($1, $2)"),
    )  # fmt: skip
    return [Spans("storefront", storefront), Spans("profile", profile), Spans("payments", payments)]


def many_spans(traces: int) -> Iterator[Spans]:
    """Traces of 10,000 spans each."""
    for trace in range(1, traces + 1):
        yield Spans(
            "shop",
            tuple(span(trace, number, name=f"step {number}", a="x" * 30, n=number) for number in range(1, 10_001)),
        )


LONG_SEARCH = "{" + "||".join(f'span.a =~ ".*{number}y"' for number in range(90)) + "}"

HOSTILE_SEARCHES = {
    "digits": "{ " + "1" * 60_000,
    "digits and dots": "{ span.a = " + "1." * 30_000,
    "a duration that never ends": "{ duration > " + "1" * 59_000 + " }",
    "durations": "{ duration > " + "1h" * 20_000,
    "letters": "{ " + "a" * 60_000,
    "blanks": "{" + " " * 20_000 + "!",
    "an open string": '{ name = "' + "\\a" * 9_000,
    "open parentheses": "{" + "(" * 8_000,
    "comparisons": "{" + " && ".join(["span.a=1"] * 1_500) + "}",
    "alternatives": "{" + "||".join(["name=1"] * 1_000) + "}",
    "nested quantifiers": '{ name =~ "(a+)+$" }',
    "nested quantifiers, three deep": '{ name !~ "((a*)*)*b" }',
    "alternatives that overlap": '{ name =~ "(a|a)*b" }',
    "nested groups": '{ name =~ "' + "(" * 3_000 + ")" * 3_000 + '" }',
    "repeated repetitions": '{ name =~ "((((x{30}){30}){30}){30})" }',
    "a large program": '{ span.note =~ "' + "(x?){1000}" * 3 + 'y" }',
    "a program for each comparison": "{"
    + "||".join(f'span.note =~ "(x?){{{99 - i}}}.*y.{{{i}}}z"' for i in range(90))
    + "}",
}


def odd_span(number: int) -> Span:
    values: dict[str, Any] = {
        "": "", "nan": float("nan"), "inf": float("-inf"), "big": 2**63 - 1, "nul": "\0", "none": None, "b": b"\xff",
        "list": [[], [None], {"a": [1.5, float("nan")]}], "map": {"": None}, "long": "x" * 70_000,
    }  # fmt: skip
    result = span(0xABC, number, number // 2, name="\0odd\n", **values)
    result.attributes.append(KeyValue())
    result.attributes.append(KeyValue(value=any_value(1)))
    result.events.add()
    result.links.add()
    return result


ODD = [Spans("", (odd_span(1), odd_span(2))), Spans("\0", (odd_span(3),))]
for index, (kind, status, start, end) in enumerate(
    [(99, 7, 2**64 - 1, 0), (-1, -1, 0, 2**64 - 1), (2**31 - 1, -(2**31), 1, 1)]
):
    odd = odd_span(10 + index)
    odd.kind, odd.status.code = kind, status  # type: ignore[assignment]
    odd.start_time_unix_nano, odd.end_time_unix_nano = start, end
    ODD.append(Spans("odd", (odd,)))

"""Traces of three incidents, as the doors and the watch record them: an empty pool, an N+1, and a ghost error."""

from __future__ import annotations

from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from .samples import MILLISECOND, NOON, Spans, attributes, span

SERVER, CLIENT, INTERNAL = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT, Span.SPAN_KIND_INTERNAL

_STACK = """\
  File "/srv/.venv/lib/python3.13/site-packages/starlette/routing.py", line 73, in app
> File "/srv/storefront/app.py", line 41, in checkout
> File "/srv/storefront/orders.py", line 88, in reserve
  File "/srv/.venv/lib/python3.13/site-packages/sqlalchemy/pool/impl.py", line 166, in _do_get"""


def _event(owner: Span, name: str, at: float, **values: Any) -> None:
    """Add an event, ``at`` so many milliseconds from the span's start."""
    owner.events.add(
        name=name,
        time_unix_nano=owner.start_time_unix_nano + int(at * MILLISECOND),
        attributes=attributes({key.replace("__", "."): value for key, value in values.items()}),
    )


def request(trace: int, number: int, parent: int, name: str, at: float, took: float, **more: Any) -> Span:
    """A request being served."""
    method, _, route = name.partition(" ")
    values = {"http__request__method": method, "http__route": route, "http__response__status_code": 200, **more}
    return span(trace, number, parent, name=name, at=at, took=took, kind=SERVER, **values)


def call(trace: int, number: int, parent: int, host: str, path: str, at: float, took: float, **more: Any) -> Span:
    """A call over HTTP."""
    values = {"http__request__method": "GET", "server__address": host, "url__path": path, **more}
    values.setdefault("http__response__status_code", 200)
    return span(trace, number, parent, name=values["http__request__method"], at=at, took=took, kind=CLIENT, **values)


def query(trace: int, number: int, parent: int, text: str, at: float, took: float, **more: Any) -> Span:
    """A query of PostgreSQL."""
    words = text.split()
    table = words[words.index("FROM") + 1] if "FROM" in words else words[2]
    values = {
        "db__system__name": "postgresql",
        "db__namespace": "shop",
        "db__query__text": text,
        "db__query__summary": f"{words[0]} {table}",
        **more,
    }
    return span(trace, number, parent, name=f"{words[0]} {table}", at=at, took=took, kind=CLIENT, **values)


def timeout(trace: int, start: int = NOON) -> list[Spans]:
    """A checkout that waits for a connection of the pool until it fails; one line holds them all."""
    more = {"start": start}
    root = request(
        trace, 1, 0, "POST /checkout", 0, 3012, http__response__status_code=500, error="TimeoutError",
        error__type="TimeoutError", **more,
    )  # fmt: skip
    line: dict[str, Any] = {
        "code__file__path": "/srv/storefront/orders.py",
        "code__line__number": 88,
        "code__function__name": "reserve",
    }
    _event(root, "tracemw.stack", 1000, code__stacktrace=_STACK, tracemw__stack__after=1.0, **line)
    _event(root, "log", 3004, log__level="ERROR", log__logger="storefront", log__message="checkout of cart 8113 failed")
    _event(root, "exception", 3005, exception__type="sqlalchemy.exc.TimeoutError",
           exception__message="QueuePool limit of size 2 overflow 0 reached, connection timed out, timeout 3.00",
           exception__stacktrace=_STACK)  # fmt: skip
    wait = span(
        trace, 4, 1, name="pool wait", at=9, took=2994, kind=INTERNAL, error="TimeoutError",
        db__system__name="postgresql", db__namespace="shop", db__client__connection__pool__name="shop",
        tracemw__pool__size=2,
        tracemw__pool__held=2, tracemw__pool__holders__line=["refunds.py:31 in settle", "refunds.py:31 in settle"],
        tracemw__pool__holders__age=[184.2, 97.5], tracemw__pool__holders__trace_id=[f"{7:032x}", f"{8:032x}"],
        **line, **more,
    )  # fmt: skip
    served = [
        root,
        call(trace, 2, 1, "profile", "/profiles/7", 2, 6, **more),
        wait,
    ]
    return [
        Spans("storefront", tuple(served)),
        Spans("profile", (request(trace, 3, 2, "GET /profiles/{id}", 3, 4, **more),)),
    ]


def n_plus_one(trace: int, start: int = NOON, queries: int = 41, each: float = 4.4) -> list[Spans]:
    """A profile whose addresses are loaded one by one."""
    more = {"start": start}
    took = 22 + queries * (each + 0.2)
    line: dict[str, Any] = {
        "code__file__path": "/srv/profile/app.py",
        "code__line__number": 57,
        "code__function__name": "orders_of",
    }
    profile = [
        request(trace, 3, 2, "GET /profiles/{id}", 3, took - 6, **more),
        query(trace, 4, 3, "SELECT * FROM profiles WHERE id = $1", 5, 3, **more),
        query(trace, 5, 3, "SELECT * FROM orders WHERE profile_id = $1", 9, 5, **more),
    ]
    profile += [
        query(
            trace, 10 + n, 3, "SELECT * FROM addresses WHERE order_id = $1", 15 + n * (each + 0.2), each, **line, **more
        )
        for n in range(queries)
    ]
    _event(
        profile[0], "log", 14, log__level="INFO", log__logger="profile", log__message=f"{queries} orders of profile 7"
    )
    storefront = (
        request(trace, 1, 0, "GET /account", 0, took, **more),
        call(trace, 2, 1, "profile", "/profiles/7", 2, took - 4, **more),
    )
    return [Spans("storefront", storefront), Spans("profile", tuple(profile))]


def ghost_error(trace: int, start: int = NOON) -> list[Spans]:
    """A checkout that fails now and then: retries multiply until the fraud check throws, and nobody tells."""
    more = {"start": start}
    failing = {"http__response__status_code": 500, "error": "", "error__type": "500"}
    storefront = [
        request(trace, 1, 0, "POST /checkout", 0, 612, **{**failing, "http__response__status_code": 502}, **more),
        query(trace, 2, 1, "SELECT * FROM carts WHERE id = $1", 3, 9, **more),
    ]
    payments, fraud, number = [], [], 10
    for attempt in range(3):
        at = 20 + attempt * 195
        storefront.append(
            call(trace, number, 1, "payments", "/charges", at, 180, http__request__method="POST",
                 http__request__resend_count=attempt, **failing, **more)
        )  # fmt: skip
        payments.append(request(trace, number + 1, number, "POST /charges", at + 2, 176, **failing, **more))
        for inner in range(3):
            begin = at + 6 + inner * 56
            payments.append(
                call(trace, number + 2 + inner * 2, number + 1, "fraud", "/check", begin, 50,
                     http__request__method="POST", http__request__resend_count=inner, **failing, **more)
            )  # fmt: skip
            checked = request(
                trace, number + 3 + inner * 2, number + 2 + inner * 2, "POST /check", begin + 1, 47,
                code__file__path="/srv/fraud/score.py", code__line__number=23, code__function__name="score",
                **failing, **more,
            )  # fmt: skip
            _event(checked, "exception", 45, exception__type="KeyError", exception__message="'device_age'",
                   exception__stacktrace='> File "/srv/fraud/score.py", line 23, in score')  # fmt: skip
            fraud.append(checked)
        number += 20
    return [Spans("storefront", tuple(storefront)), Spans("payments", tuple(payments)), Spans("fraud", tuple(fraud))]


def healthy(trace: int, start: int = NOON, took: float = 40.0) -> list[Spans]:
    """An account page that is fine."""
    more = {"start": start}
    return [
        Spans(
            "storefront",
            (
                request(trace, 1, 0, "GET /account", 0, took, **more),
                call(trace, 2, 1, "profile", "/profiles/7", took * 0.1, took * 0.8, **more),
            ),
        ),
        Spans(
            "profile",
            (
                request(trace, 3, 2, "GET /profiles/{id}", took * 0.12, took * 0.75, **more),
                query(trace, 4, 3, "SELECT * FROM profiles WHERE id = $1", took * 0.2, took * 0.3, **more),
                query(trace, 5, 3, "SELECT * FROM orders WHERE profile_id = $1", took * 0.55, took * 0.2, **more),
            ),
        ),
    ]

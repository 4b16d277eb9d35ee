"""`tracemw.user`: the spans of a request carry a pseudonym, and nothing else tells who the user is."""

from __future__ import annotations

import hashlib
import hmac
import logging
import threading
import unicodedata
from typing import Any
from uuid import UUID

import fastapi
import flask
import httpx
import pytest
from opentelemetry import baggage, trace
from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from werkzeug.local import LocalProxy

import tracemw
from conftest import Recorded
from servers import uvicorn_serving, wait_until, werkzeug_serving
from settings.resolving import resolve
from tracemw._otel import guard
from tracemw.redaction.policy import RedactionPolicy
from tracemw.testing import Traces

ALICE = "alice@example.com"
KEY, OLD_KEY = "k" * 32, "an old key of thirty-two letters"


def pseudonym(identifier: str, key_id: str = "2026b", key: str = KEY) -> str:
    return f"{key_id}:{hmac.new(key.encode(), identifier.encode(), hashlib.sha256).hexdigest()}"


@pytest.fixture(autouse=True)
def _key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMW_PSEUDONYM_KEY", f"2026b:{KEY},2026a:{OLD_KEY}")
    guard._silent_until.clear()


def hashes(traces: Traces, within: float = 10.0) -> dict[str, object]:
    """The pseudonym of each span of the one trace, by the span's name."""
    return {span.name: span.attributes.get("user.hash") for span in traces.one(within=within).spans}


async def test_over_asgi_the_request_and_all_that_follows_carry_the_pseudonym(traces: Traces) -> None:
    app = fastapi.FastAPI()
    app.add_middleware(tracemw.fastapi.TraceMiddleware)

    def authenticated() -> None:  # runs in a thread, with a copy of the context
        with tracemw.span("auth"):
            tracemw.user(ALICE)

    @app.get("/orders", dependencies=[fastapi.Depends(authenticated)])
    async def orders() -> str:
        with tracemw.span("load"), tracemw.span("query"):
            return "done"

    with uvicorn_serving(app) as url:
        async with httpx.AsyncClient(trust_env=False) as client:
            assert (await client.get(f"{url}/orders")).status_code == 200
    expected = dict.fromkeys(("GET /orders", "auth", "load", "query"), pseudonym(ALICE))
    assert hashes(traces) == expected


def test_over_wsgi_only_the_request_of_the_user_carries_the_pseudonym(traces: Traces) -> None:
    app = flask.Flask(__name__)
    tracemw.flask.TraceMiddleware(app)

    @app.get("/orders/<name>")
    def orders(name: str) -> str:
        with tracemw.span("before"):
            pass
        if name == "hers":
            tracemw.user(ALICE)
        with tracemw.span("after"):
            return name

    with werkzeug_serving(app) as url:
        for name in ("hers", "nobodys"):
            httpx.get(f"{url}/orders/{name}", trust_env=False).raise_for_status()
    wait_until(lambda: len(traces) == 2)
    told = [{span.name: span.attributes.get("user.hash") for span in each.spans} for each in traces]
    made = pseudonym(ALICE)
    assert told == [
        {"GET /orders/<name>": made, "before": None, "after": made},
        {"GET /orders/<name>": None, "before": None, "after": None},
    ]


def test_a_job_without_a_request_carries_the_pseudonym_from_its_root_to_its_threads(traces: Traces) -> None:
    def work(context: Any) -> None:
        otel_context.attach(context)
        with tracemw.span("thread"):
            pass

    with tracemw.span("job"):
        with tracemw.span("login"):
            tracemw.user(ALICE)
        thread = threading.Thread(target=work, args=(otel_context.get_current(),))
        thread.start()
        thread.join()
    assert hashes(traces) == dict.fromkeys(("job", "login", "thread"), pseudonym(ALICE))


def test_a_call_carries_the_pseudonym_on_its_span_and_no_header_does(traces: Traces) -> None:
    seen: list[bytes] = []

    async def other(scope: Any, receive: Any, send: Any) -> None:
        seen.extend(value for pair in scope["headers"] for value in pair)
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with uvicorn_serving(other, lifespan="off") as url, tracemw.span("job"):
        tracemw.user(ALICE)
        assert not baggage.get_all()
        with tracemw.httpx.trace_client(httpx.Client(trust_env=False)) as client:
            client.get(url)
    assert hashes(traces) == {"job": pseudonym(ALICE), "GET": pseudonym(ALICE)}
    assert b"traceparent" in seen
    assert pseudonym(ALICE).encode() not in b"".join(seen)
    assert pseudonym(ALICE)[-64:].encode() not in b"".join(seen)


def test_the_last_user_of_a_request_is_on_what_follows(traces: Traces) -> None:
    with tracemw.span("job"):
        tracemw.user(ALICE)
        with tracemw.span("hers"):
            pass
        tracemw.user(7)
        with tracemw.span("his"):
            pass
    assert hashes(traces) == {"job": pseudonym("7"), "hers": pseudonym(ALICE), "his": pseudonym("7")}


@pytest.mark.parametrize(
    ("given", "hashed"),
    [
        (f"  {ALICE}\n", ALICE),
        (f"\ufeff{ALICE}", ALICE),
        (unicodedata.normalize("NFD", "zoë"), unicodedata.normalize("NFC", "zoë")),
        ("Alice", "Alice"),
        (7, "7"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
    ],
)
def test_an_identifier_is_normalised_before_it_is_hashed(traces: Traces, given: Any, hashed: str) -> None:
    with tracemw.span("job"):
        tracemw.user(given)
    assert hashes(traces) == {"job": pseudonym(hashed)}


class Text(str):
    """A text whose every method fails."""

    __slots__ = ()

    def __str__(self) -> str:
        raise RuntimeError(ALICE)

    __repr__ = __format__ = strip = encode = __str__  # type: ignore[assignment]


def no_user() -> str:
    """What stands for the user of a request, where there is no request."""
    raise RuntimeError(f"nobody is logged in; the last one was {ALICE}")


class Thing:
    def __str__(self) -> str:
        raise RuntimeError(ALICE)

    __repr__ = __hash__ = __str__  # type: ignore[assignment]


@pytest.mark.parametrize(
    "given",
    [
        *(None, b"alice@example.com", "", " \n", True, 1.5, Thing(), [ALICE], ALICE * 100, 10**400),
        *(f"{ALICE}\0", f"\udce9{ALICE}", f"{ALICE}\t{ALICE}"),
        LocalProxy(lambda: ALICE),
        LocalProxy(no_user),
    ],
    ids=lambda given: type(given).__name__,
)
def test_what_is_no_identifier_is_left_out_with_a_line_that_does_not_show_it(
    traces: Traces, caplog: pytest.LogCaptureFixture, given: Any
) -> None:
    with tracemw.span("job"):
        tracemw.user(given)
    assert hashes(traces) == {"job": None}
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("tracemw.user() records nothing: ")
    assert "; use " in line
    assert ALICE not in caplog.text


def test_a_text_of_a_class_of_its_own_is_hashed_as_the_text_it_is(traces: Traces) -> None:
    with tracemw.span("job"):
        tracemw.user(Text(ALICE))
    assert hashes(traces) == {"job": pseudonym(ALICE)}


def test_without_a_key_nothing_is_recorded_and_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TRACEMW_PSEUDONYM_KEY")
    traces: Traces = request.getfixturevalue("traces")
    with tracemw.span("job"):
        tracemw.user(ALICE)
        tracemw.user(ALICE)
    assert hashes(traces) == {"job": None}
    (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert "set TRACEMW_PSEUDONYM_KEY" in line
    assert ALICE not in caplog.text


def test_a_skipped_request_and_no_request_at_all_say_nothing(
    traces: Traces, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("TRACEMW_PSEUDONYM_KEY")  # which is told wherever there is a span to mark
    app = flask.Flask(__name__)
    tracemw.flask.TraceMiddleware(app, skip="/health")

    @app.get("/health")
    def health() -> str:
        tracemw.user(ALICE)
        return "well"

    with werkzeug_serving(app) as url:
        httpx.get(f"{url}/health", trust_env=False).raise_for_status()
    tracemw.user(ALICE)
    assert len(traces) == 0
    assert "TRACEMW_PSEUDONYM_KEY" not in caplog.text


def test_any_tracer_provider_gets_the_pseudonym_on_the_current_span_and_the_request(recorded: Recorded) -> None:
    del recorded
    provider = SdkTracerProvider(shutdown_on_exit=False)
    with provider.get_tracer("theirs").start_as_current_span("theirs") as span:
        tracemw.user(ALICE)
    assert dict(span.attributes)["user.hash"] == pseudonym(ALICE)  # type: ignore[attr-defined]


class Failing(trace.NonRecordingSpan):
    """A span of others that raises whatever is asked of it."""

    def is_recording(self) -> bool:
        raise RuntimeError("is_recording")


def test_a_span_of_others_that_raises_costs_the_pseudonym_and_not_the_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "reraise_own_faults", False)
    with trace.use_span(Failing(trace.INVALID_SPAN_CONTEXT)):
        tracemw.user(ALICE)
    assert "the request is not affected" in caplog.text
    assert ALICE not in caplog.text


def test_an_unsampled_trace_that_is_kept_carries_the_pseudonym(traces: Traces) -> None:
    unsampled = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(0))
    beneath = trace.set_span_in_context(trace.NonRecordingSpan(unsampled))
    tracer = trace.get_tracer_provider().get_tracer("tracemw")
    with trace.use_span(tracer.start_span("job", beneath), end_on_exit=True):
        tracemw.user(ALICE)
        tracemw.keep("to see")
        with tracemw.span("work"):
            pass
    found = {span.name: span.attributes.get("user.hash") for each in traces for span in each.spans}
    assert found == dict.fromkeys(("job", "work"), pseudonym(ALICE))


@pytest.mark.parametrize("key_id", ["2026b", "token", "key", "password", "a" * 32])
def test_redaction_lets_pseudonyms_pass_whatever_their_digits_look_like(key_id: str) -> None:
    policy = RedactionPolicy()
    digits = "4111111111111111".join(("a" * 24, "b" * 24))
    assert policy.attributes({"user.hash": f"{key_id}:{digits}"}, "attribute") == {"user.hash": f"{key_id}:{digits}"}
    assert policy.attributes({"user.hash": f"of {ALICE}"}, "attribute") == {"user.hash": "of [REDACTED]"}


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        ("s3cret" * 8, "use ID:KEY"),
        (f"2026b:{KEY},", "use ID:KEY"),
        (f"a b:{KEY}", "use ID:KEY"),
        (f"{'x' * 33}:{KEY}", "use ID:KEY"),
        ("2026b:s3cret", "use keys of at least 32 characters"),
        (f"2026b:{KEY},2026b:{OLD_KEY}", "use a different id for each key"),
    ],
)
def test_a_key_that_is_not_accepted_is_an_error_at_the_start_that_shows_no_part_of_it(
    monkeypatch: pytest.MonkeyPatch, value: str, remedy: str
) -> None:
    monkeypatch.setenv("TRACEMW_PSEUDONYM_KEY", value)
    with pytest.raises(ValueError, match="TRACEMW_PSEUDONYM_KEY is not accepted") as raised:
        resolve()
    assert remedy in str(raised.value)
    assert "s3cret" not in str(raised.value)
    assert KEY not in str(raised.value)


def test_a_configuration_shows_no_key() -> None:
    config = resolve()
    assert [key.id for key in config.pseudonym_keys] == ["2026b", "2026a"]
    assert KEY not in repr(config)
    assert OLD_KEY not in repr(config)


def test_a_key_that_is_set_wrong_without_init_is_told_in_the_log(
    monkeypatch: pytest.MonkeyPatch, recorded: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("TRACEMW_PSEUDONYM_KEY", "2026b:s3cret")
    with tracemw.span("job"):
        tracemw.user(ALICE)
    assert "user.hash" not in (recorded.named("job").attributes or {})
    assert "use keys of at least 32 characters" in caplog.text
    assert "s3cret" not in caplog.text

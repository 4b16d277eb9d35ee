"""What backends answer in protobuf, beside what the official classes make of it."""

from __future__ import annotations

import json
import time

import pytest
from google.protobuf.any_pb2 import Any as AnyMessage  # type: ignore[import-untyped]
from google.protobuf.duration_pb2 import Duration  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from tracemw._export.answers import message_in, partial_success, plain, retry_delay
from tracemw._export.exporter import Secrets


@given(rejected=st.integers(-(2**63), 2**63 - 1), message=st.text())
def test_a_partial_success_is_read_as_it_was_written(rejected: int, message: str) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=rejected, error_message=message)
    body = ExportTraceServiceResponse(partial_success=partial).SerializeToString()
    assert partial_success(body) == (max(rejected, 0), message)


@given(st.binary(max_size=40))
def test_any_bytes_have_an_answer(body: bytes) -> None:
    rejected, message = partial_success(body)
    try:
        official = ExportTraceServiceResponse.FromString(body).partial_success
    except DecodeError:
        return
    assert (rejected, message) in ((max(official.rejected_spans, 0), official.error_message), (0, ""))


@given(st.binary(max_size=40))
def test_any_bytes_have_a_delay_or_none(details: bytes) -> None:
    delay = retry_delay(details)
    assert delay is None or delay >= 0


@pytest.mark.parametrize("seconds", [0, 0.25, 3, 86400.5])
def test_the_delay_is_found_among_other_details(seconds: float) -> None:
    delay = Duration()
    delay.FromNanoseconds(int(seconds * 1e9))
    details = []
    for each in (DebugInfo(detail="x"), RetryInfo(retry_delay=delay)):
        detail = AnyMessage()
        detail.Pack(each)
        details.append(detail)
    assert retry_delay(Status(code=14, message="busy", details=details).SerializeToString()) == seconds
    assert retry_delay(Status(code=14, details=details[:1]).SerializeToString()) is None


@given(code=st.integers(0, 16), message=st.text(min_size=1))
def test_the_message_of_a_status_is_read_as_it_was_written(code: int, message: str) -> None:
    detail = AnyMessage()
    detail.Pack(DebugInfo(detail="x"))
    assert message_in(Status(code=code, message=message, details=[detail]).SerializeToString()) == message


@given(st.binary(max_size=200))
def test_any_bytes_say_something_or_nothing(body: bytes) -> None:
    assert "\n" not in plain(message_in(body))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", ""),
        (b"\xff\xfe\x00", ""),
        (b"no org id\n", "no org id"),
        (json.dumps({"code": 3, "message": "bad"}).encode(), "bad"),
        (json.dumps({"error": "bad"}).encode(), "bad"),
        (json.dumps({"error": {"code": 7, "message": "bad"}}).encode(), "bad"),
        (json.dumps({"errors": [{"detail": "bad"}]}).encode(), "bad"),
        (json.dumps({"other": 1}).encode(), '{"other": 1}'),
        (json.dumps({"message": 7}).encode(), '{"message": 7}'),
        (b"{no json", "{no json"),
        (b"[" * 50_000, "[" * 4096),
        (
            b"<html><head><title>413 Request Entity\r\n Too Large</title></head><hr>nginx</html>",
            "413 Request Entity Too Large",
        ),
        (b"<!DOCTYPE html><h1>Bad &amp; worse</h1><p>sorry</p>", "Bad & worse sorry"),
        (b"two\n  lines", "two lines"),
    ],
)
def test_what_a_body_says_is_found_in_protobuf_json_pages_and_text(body: bytes, said: str) -> None:
    assert plain(message_in(body)) == said


def test_a_body_may_have_another_charset_or_one_that_is_not_known() -> None:
    assert message_in("zu groß".encode("latin-1"), "iso-8859-1") == "zu groß"
    assert message_in(b"too big", "klingon") == ""


@pytest.mark.parametrize("part", [b"<title", b"<", b"&amp;", b"[", b'{"error":', b"\x0a\x00", b"body ", b"a" * 7])
def test_no_body_takes_long_to_read(part: bytes) -> None:
    body = part * (65536 // len(part))
    began = time.process_time()
    plain(Secrets({"x": "secret-value"}).hidden_in(message_in(body)))
    assert time.process_time() - began < 1.0


@pytest.mark.parametrize(
    ("headers", "said", "shown"),
    [
        ({}, "as it is", "as it is"),
        ({"x": ""}, "as it is", "as it is"),
        ({"authorization": "Bearer abcdefgh123"}, "no 'Bearer abcdefgh123' here", "no '[REDACTED]' here"),
        ({"authorization": "Bearer abcdefgh123"}, "the token abcdefgh123, Bearer", "the token [REDACTED], Bearer"),
        ({"authorization": "Basic Ym9iOnMzY3IzdCE="}, "Ym9iOnMzY3IzdCE= is bob:s3cr3t!", "[REDACTED] is [REDACTED]"),
        ({"authorization": "Basic Ym9iOnMzY3IzdCE="}, "not (s3cr3t!)", "not ([REDACTED])"),
        ({"authorization": "Basic \xff"}, "as it is", "as it is"),
        (
            {"x-scope-orgid": "1"},
            "tenant 1 at 127.0.0.1:4318, 10 times",
            "tenant [REDACTED] at 127.0.0.1:4318, 10 times",
        ),
    ],
)
def test_what_a_backend_repeats_of_our_headers_is_not_shown(headers: dict[str, str], said: str, shown: str) -> None:
    assert Secrets(headers).hidden_in(said) == shown


def test_nor_is_what_it_repeats_of_a_query() -> None:
    assert Secrets({}, "api_key=abcdefgh%2F1&x=").hidden_in("the key abcdefgh/1 is old") == "the key [REDACTED] is old"

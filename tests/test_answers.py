"""What backends answer in protobuf, beside what the official classes make of it."""

from __future__ import annotations

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

from tracemw._export.answers import partial_success, retry_delay


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

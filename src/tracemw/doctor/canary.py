"""A span of the doctor's own, sent on the way of all spans: sampler, resource, redaction, encoder, exporter."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from http.client import HTTPException
from typing import Final

from opentelemetry.context import Context
from opentelemetry.trace import format_trace_id

from tracemw._export.connection import Connection, Reply
from tracemw._export.encoding.span_encoder import SpanEncoder
from tracemw._export.exporter import ExportRequest, Outcome
from tracemw._recording import TracerProvider
from tracemw._setup.pipeline import pipeline_for, policy_for, span_exporter_for
from tracemw._version import __version__
from tracemw.config import Backend, Config
from tracemw.redaction import Redaction
from tracemw.sampling import Sampling

NAME: Final = "tracemw.doctor"
"""The name of the span, and of the tracer that it comes from."""

MARK: Final = "tracemw.doctor.canary"
"""The attribute by which the span is left out of what people count."""


@dataclass(frozen=True)
class Canary:
    """An export request with one span."""

    trace_id: str
    body: bytes


def canary_of(config: Config, redaction: Redaction | None) -> Canary:
    """Return a canary as the application with these settings would record and encode it."""
    policy = policy_for(config, redaction)
    here = replace(config, sampler="always_on", ratio=1.0)
    pipeline = pipeline_for(here, Sampling(), policy, lambda _: None, None)
    provider = TracerProvider(pipeline.sampler, pipeline.resource, shutdown_on_exit=False)
    encoder = SpanEncoder(longest=config.value_limit, policy=policy)
    span = provider.get_tracer(NAME, __version__).start_span(NAME, Context(), attributes={MARK: True})
    span.end()
    record = encoder.record(span)  # type: ignore[arg-type]  # of our provider
    if record is None:
        raise ValueError("the canary span cannot be encoded")
    return Canary(format_trace_id(span.get_span_context().trace_id), encoder.request([record]))


def send(canary: Canary, config: Config, timeout: float) -> tuple[Outcome, float]:
    """Send a canary once with the exporter that the settings ask for. Return the outcome, and the seconds it took."""
    make_exporter = span_exporter_for(config)
    if make_exporter is None:
        raise ValueError("these settings export nothing")
    exporter, began = make_exporter(), time.monotonic()
    try:
        outcome = exporter.send(ExportRequest(exporter.pack(canary.body), 1), timeout)
    finally:
        exporter.close()
    return outcome, time.monotonic() - began


def reply_of(backend: Backend, deadline: float) -> Reply | None:
    """Return the answer to a request without spans; None over gRPC, and from what gives no answer over HTTP."""
    if backend.protocol == "grpc":
        return None
    connection = Connection(backend.endpoint, context=backend.tls.context, proxy=backend.proxy)
    headers = {"user-agent": f"tracemw/{__version__}", **backend.headers, "content-type": "application/x-protobuf"}
    try:
        connection.open(deadline)
        return connection.post(b"", headers, deadline)
    except (OSError, HTTPException, UnicodeError):
        return None
    finally:
        connection.close()

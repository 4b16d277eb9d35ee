"""The backend that the services export to and that the test queries: the viewer, or a Tempo."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass
from urllib.parse import quote

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

TENANT_HEADER = "X-Scope-OrgID"


@dataclass(frozen=True)
class Backend:
    """A Tempo, or what answers like one."""

    url: str
    """Of the query API, such as `http://tempo:3200`."""

    endpoint: str
    """Of OTLP over HTTP, such as `http://tempo:4318`."""

    tenant: str | None = None

    @property
    def environment(self) -> dict[str, str]:
        """The variables that lead a service's spans here."""
        tenant = {"OTEL_EXPORTER_OTLP_HEADERS": f"{TENANT_HEADER}={quote(self.tenant)}"} if self.tenant else {}
        return {"TEMPO_ENDPOINT": self.endpoint, **tenant}

    def client(self) -> httpx.AsyncClient:
        """An HTTP client of this tenant; what listens on this machine is asked directly, whatever proxy is set."""
        headers = {TENANT_HEADER: self.tenant} if self.tenant else {}
        return httpx.AsyncClient(headers=headers, mounts={"all://127.0.0.1": None}, timeout=30)

    async def complaint(self) -> str | None:
        """Send a span of no meaning, ask for its trace, and say what is wrong with the answers; None if nothing."""
        trace_id = secrets.token_bytes(16)
        async with self.client() as client:
            traces = f"{self.endpoint.rstrip('/').removesuffix('/v1/traces')}/v1/traces"
            content, headers = _one_span(trace_id), {"content-type": "application/x-protobuf"}
            try:
                answer = await client.post(traces, content=content, headers=headers)
                if answer.status_code == httpx.codes.OK:
                    answer = await client.get(f"{self.url}/api/v2/traces/{trace_id.hex()}")
            except httpx.HTTPError as error:
                return f"{error.request.url} does not answer: {error!r}"
        if answer.status_code in (httpx.codes.OK, httpx.codes.NOT_FOUND) and answer.request.method == "GET":
            return None
        return f"{answer.request.method} {answer.request.url} answers {answer.status_code}: {answer.text.strip()[:500]}"


def _one_span(trace_id: bytes) -> bytes:
    request = ExportTraceServiceRequest()
    resource_spans = request.resource_spans.add()
    resource_spans.resource.attributes.append(
        KeyValue(key="service.name", value=AnyValue(string_value="tracemw-test-tempo"))
    )
    span = resource_spans.scope_spans.add().spans.add(trace_id=trace_id, span_id=secrets.token_bytes(8), name="probe")
    span.start_time_unix_nano = span.end_time_unix_nano = time.time_ns()
    content: bytes = request.SerializeToString()
    return content

"""HTTP clients whose innermost layer answers by itself, so that the network is out of it."""

from __future__ import annotations

import io
from typing import Any

from benchmarks.contestants import Burst, cpu, pipelines
from benchmarks.contestants.floor import Delivery
from benchmarks.contestants.pipelines import Pipeline

_URL = "http://payments.example.com/charges/42?currency=EUR"


def httpx(*, door: str | None = None) -> Burst:
    import httpx

    delivery, pipeline = _pipeline(door)
    transport: Any = httpx.MockTransport(lambda request: httpx.Response(200, content=b'{"charge": 7}'))
    if door == "ours":
        import tracemw.httpx

        transport = tracemw.httpx.TraceTransport(transport)
    if delivery is not None:
        from benchmarks.contestants.floor_outbound import Transport

        transport = Transport(transport, delivery)
    client = httpx.Client(transport=transport)
    if door == "official":
        from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

        HTTPXClientInstrumentor.instrument_client(client)
    return _called(client, pipeline)


def requests(*, door: str | None = None) -> Burst:
    import requests
    import urllib3
    from urllib3.connection import HTTPConnection

    class Answering(HTTPConnection):
        """A connection that is always there; a stub adapter would be too far out: ours traces urllib3's attempts."""

        is_connected = True

        def request(self, *args: Any, **kwargs: Any) -> None:
            """Send nothing."""

        def getresponse(self) -> Any:
            """Answer."""
            return urllib3.HTTPResponse(
                io.BytesIO(b'{"charge": 7}'),
                {"content-type": "application/json", "content-length": "13"},
                status=200,
                version=11,
                preload_content=False,
            )

    _, pipeline = _pipeline(door)
    session = requests.Session()
    session.trust_env = False
    if door == "ours":
        import tracemw.requests

        tracemw.requests.trace_session(session)
    if door == "official":
        from opentelemetry.instrumentation.requests import RequestsInstrumentor

        RequestsInstrumentor().instrument()
    manager = vars(session.get_adapter(_URL))["poolmanager"]
    pools = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {**pools, "http": type("Pool", (pools["http"],), {"ConnectionCls": Answering})}
    return _called(session, pipeline)


def _pipeline(door: str | None) -> tuple[Delivery | None, Pipeline]:
    match door:
        case "ours":
            return None, pipelines.ours()
        case "official":
            return None, pipelines.sdk()
        case "floor":
            delivery = Delivery(pipelines.sink())
            return delivery, Pipeline(pipelines.none().provider, delivery.flush)
        case _:
            return None, pipelines.none()


def _called(client: Any, pipeline: Pipeline) -> Burst:
    def call(operations: int) -> None:
        for _ in range(operations):
            if client.get(_URL).content != b'{"charge": 7}':
                raise RuntimeError("somebody else answered")
        pipeline.flush()

    return cpu(lambda operations: lambda: call(operations))

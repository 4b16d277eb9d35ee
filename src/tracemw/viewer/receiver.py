"""The endpoints of OTLP/HTTP: a trace request comes in, and its sender is told what has become of its spans."""

from __future__ import annotations

import asyncio

from anyio import CapacityLimiter, to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tracemw.viewer.allowance import Allowance
from tracemw.viewer.receiving.batch import Batch
from tracemw.viewer.receiving.content import ENCODINGS, JSON, PROTOBUF, parse_encoding, parse_media_type
from tracemw.viewer.receiving.decoding import decode
from tracemw.viewer.receiving.intake import Intake
from tracemw.viewer.receiving.refusals import RefusalError
from tracemw.viewer.receiving.responses import encode_failure, encode_success
from tracemw.viewer.storing.database import StoreError
from tracemw.viewer.storing.store import Store

_DECODED_AT_ONCE = 2  # bodies whose spans are objects now, and are not committed yet


class Receiver:
    """The endpoints that take the requests of OpenTelemetry SDKs and Collectors."""

    def __init__(self, store: Store, allowance: Allowance) -> None:
        self._store = store
        self._limit = allowance.body_bytes
        self._intake = Intake(allowance)
        self._decoding = CapacityLimiter(_DECODED_AT_ONCE)

    async def receive_traces(self, request: Request) -> Response:
        """``POST /v1/traces``: respond once every query finds the spans."""
        content_type = PROTOBUF
        try:
            content_type = parse_media_type(request.headers.get("content-type"))
            encoding = parse_encoding(request.headers.get("content-encoding"))
            async with self._intake.read(request) as body, self._decoding:
                batch = await to_thread.run_sync(self._decode, body, content_type, encoding)
                await asyncio.wrap_future(self._store.add(batch))
        except RefusalError as refusal:
            return _refuse(refusal, content_type)
        except StoreError as error:
            return _refuse(RefusalError(503, str(error)), content_type)
        except ClientDisconnect:
            return Response(status_code=400)
        return Response(encode_success(batch, content_type), media_type=content_type)

    async def refuse_signal(self, request: Request) -> Response:
        """``POST /v1/{signal}``: the viewer takes no metrics and no logs."""
        message = f"the viewer takes traces only, at /v1/traces, and no {request.path_params['signal']}"
        json = request.headers.get("content-type", "").startswith(JSON)
        return _refuse(RefusalError(404, message), JSON if json else PROTOBUF)

    def _decode(self, body: bytes, content_type: str, encoding: str) -> Batch:
        return decode(body, content_type=content_type, content_encoding=encoding, limit=self._limit)


def _refuse(refusal: RefusalError, content_type: str) -> Response:
    headers = {}
    if refusal.status in (408, 413):
        headers["connection"] = "close"  # nobody reads the rest of the body
    if refusal.status == 415:
        headers |= {"accept-encoding": ", ".join(ENCODINGS), "accept-post": f"{PROTOBUF}, {JSON}"}
    if refusal.status == 503:
        headers["retry-after"] = "5"
    return Response(encode_failure(refusal, content_type), refusal.status, headers, media_type=content_type)

"""The endpoint that erases traces, for `tracemw forget`."""

from __future__ import annotations

import asyncio
import ipaddress
import json
from collections.abc import Callable
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from tracemw.viewer.allowance import Allowance
from tracemw.viewer.querying.literals import QueryError
from tracemw.viewer.querying.parameters import parse_trace_id
from tracemw.viewer.receiving.content import JSON
from tracemw.viewer.receiving.intake import Intake
from tracemw.viewer.receiving.refusals import RefusalError
from tracemw.viewer.storing.store import Store

_MOST_TRACES = 10_000
_ACCEPTED = f'{{"traceIds": ["0af7651916cd43dd8448eb211c80319c"]}}, with at most {_MOST_TRACES} ids'


class Erasing:
    """The endpoint that erases.

    Args:
        store: Where traces are erased.
        allowance: What one peer may take.
        forget: Called once traces have been erased, to let go of what is remembered of them.
    """

    def __init__(self, store: Store, allowance: Allowance, forget: Callable[[], object]) -> None:
        self._store = store
        self._intake = Intake(allowance)
        self._forget = forget

    async def erase_traces(self, request: Request) -> Response:
        """``POST /viewer/erase``: respond once nothing of the traces is in the store. Only this machine may ask."""
        if request.client is None or not _is_this_machine(request.client.host) or _is_handed_on(request):
            return _refuse(
                403,
                "only programs on the machine of the viewer erase: run tracemw forget there, with --url http://127.0.0.1:4318",
            )
        if not request.headers.get("content-type", "").startswith(JSON):  # no form of a web page sends this type
            return _refuse(415, f"the body is not {JSON}: send {_ACCEPTED}")
        try:
            async with self._intake.read(request) as body:
                trace_ids = _trace_ids(body)
        except RefusalError as refusal:
            return _refuse(refusal.status, refusal.message)
        except ClientDisconnect:
            return Response(status_code=400)
        try:
            erased = await asyncio.wrap_future(self._store.erase(trace_ids))
        finally:
            self._forget()  # also where the file could not be written anew: the traces may be gone by then
        return JSONResponse({"traces": erased.traces, "spans": erased.spans})


def _trace_ids(body: bytes) -> set[bytes]:
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    ids = document.get("traceIds") if isinstance(document, dict) else None
    if not isinstance(ids, list) or len(ids) > _MOST_TRACES or not all(isinstance(each, str) for each in ids):
        raise QueryError(f"the body is not accepted: send {_ACCEPTED}")
    return {parse_trace_id(each) for each in ids}


def _is_this_machine(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _is_handed_on(request: Request) -> bool:
    """Tell whether a proxy on this machine says that it asks for somebody else."""
    return any(name in request.headers for name in ("forwarded", "via", "x-forwarded-for", "x-real-ip"))


def _refuse(status: int, reason: str) -> Response:
    return PlainTextResponse(f"{reason}\n", status, {"connection": "close"})

"""The last service: a plain ASGI application under uvicorn, whose business fails for one number."""

from __future__ import annotations

import json
from typing import Any

import tracemw
from tracemw.asgi import TraceMiddleware
from tracemw.sampling import Sampling

UNLUCKY = 13


class ImbalanceError(Exception):
    """The entry cannot be booked."""


async def entries(scope: Any, receive: Any, send: Any) -> None:
    """Book what is posted; everything else is a health check."""
    status = 200
    if scope["method"] == "POST":
        try:
            await book(**json.loads(await body(receive)))
        except ImbalanceError:
            status = 500
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body"})


async def body(receive: Any) -> bytes:
    whole, is_more = b"", True
    while is_more:
        message = await receive()
        whole, is_more = whole + message["body"], message.get("more_body", False)
    return whole


async def book(number: int) -> None:
    with tracemw.span("ledger.book", **{"ledger.amount": 42, "order.number": number}), tracemw.stage("audit"):
        if number == UNLUCKY:
            raise ImbalanceError(f"entry {number} does not balance")


tracemw.init(sampling=Sampling(ratio=0.0))
app = TraceMiddleware(entries)

"""The first service that a request meets: FastAPI under uvicorn, httpx on the way out.

It decides upon sampling for all three: orders are sampled, quotes are not.
"""

from __future__ import annotations

import os

import httpx
from fastapi import FastAPI, HTTPException

import tracemw
from tracemw.fastapi import TraceMiddleware
from tracemw.httpx import trace_client
from tracemw.sampling import Rule, Sampling

tracemw.init(sampling=Sampling(ratio=0.0, rules=[Rule("GET /orders/*", 1.0)]))

app = FastAPI()
app.add_middleware(TraceMiddleware)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/orders/{number}")
async def order(number: int) -> dict[str, object]:
    return await ask_inventory(number)


@app.get("/quotes/{number}")
async def quote(number: int) -> dict[str, object]:
    return await ask_inventory(number)


async def ask_inventory(number: int) -> dict[str, object]:
    tracemw.annotate(**{"order.number": number})
    url = f"{os.environ['INVENTORY_URL']}/stock/{number}"
    async with trace_client(httpx.AsyncClient()) as client:
        answer = await client.get(url, extensions={"url_template": "/stock/{number}"})
    if answer.is_error:
        raise HTTPException(502, "the inventory does not know")
    return {"number": number, **answer.json()}

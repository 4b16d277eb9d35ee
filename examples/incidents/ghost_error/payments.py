"""The payments service, which has the profile service check for fraud, and does not ask why a check has failed."""

import os
import sys

import httpx
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import tracemw
from examples.incidents.ghost_error.retries import Retries
from tracemw.fastapi import TraceMiddleware

PROFILE_URL = os.environ.get("PROFILE_URL", "http://127.0.0.1:8001")
PATIENCE = 0.8


class Charge(BaseModel):
    """What an order costs, in euros."""

    order_id: int
    amount: int


tracemw.init("payments", allow={"order.id", "payment.*"}, swallowed=sys.version_info >= (3, 12))

client = httpx.AsyncClient(transport=Retries(), timeout=PATIENCE)

app = FastAPI()
app.add_middleware(TraceMiddleware)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/payments")
async def pay(charge: Charge) -> dict[str, object]:
    tracemw.annotate(**{"order.id": charge.order_id})
    with tracemw.span("payment.process", **{"payment.amount": charge.amount}):
        try:
            risk = await fraud_risk(charge)
        except Exception:  # noqa: TMW401 - the second fault: nobody will know
            risk = None
    if risk is None:
        raise HTTPException(502, "no decision")
    return {"payment_id": f"payment-{charge.order_id}", "risk": risk}


async def fraud_risk(charge: Charge) -> float:
    named = {"url_template": "/orders/{order_id}/risk"}
    asked = {"amount": charge.amount}
    answer = await client.get(f"{PROFILE_URL}/orders/{charge.order_id}/risk", params=asked, extensions=named)
    answer.raise_for_status()
    return float(answer.json()["risk"])

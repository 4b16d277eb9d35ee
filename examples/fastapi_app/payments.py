"""The payments service: judges the risk of a charge and processes it."""

import asyncio

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

import tracemw
from tracemw.fastapi import TraceMiddleware

RISK_BY_COUNTRY = {"DE": 0.01, "FR": 0.02, "US": 0.04}
CONFIRMED_BY_BANK_FROM = 1_000
BANK_SECONDS = 0.6


class Charge(BaseModel):
    """What an order costs, in euros, and where its customer lives."""

    order_id: int
    amount: int
    country: str


class NoRiskModelError(Exception):
    """Nobody has taught us to judge charges from this country."""


tracemw.init("payments", allow={"order.id", "payment.*"})

app = FastAPI()
app.add_middleware(TraceMiddleware)


@app.exception_handler(NoRiskModelError)
async def refuse(_: Request, error: NoRiskModelError) -> JSONResponse:
    # Left unhandled, it would be a 500 too, after which uvicorn drops the connection that the caller wants to reuse.
    return JSONResponse({"detail": str(error)}, status_code=500)


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/payments")
async def pay(charge: Charge) -> dict[str, object]:
    tracemw.annotate(**{"order.id": charge.order_id})
    with tracemw.span("payment.process", **{"payment.amount": charge.amount}):
        risk = fraud_risk(charge)
        if charge.amount >= CONFIRMED_BY_BANK_FROM:
            await confirm_with_bank()
    return {"payment_id": f"payment-{charge.order_id}", "risk": risk}


@tracemw.traced("fraud.check")
def fraud_risk(charge: Charge) -> float:
    """Return the expected loss in euros; the stage names the place in every span that an error ends."""
    with tracemw.stage("fraud_check"):
        if charge.country not in RISK_BY_COUNTRY:
            raise NoRiskModelError(f"no risk model for {charge.country}")
        return RISK_BY_COUNTRY[charge.country] * charge.amount


@tracemw.traced("bank.confirm")
async def confirm_with_bank() -> None:
    await asyncio.sleep(BANK_SECONDS)

"""The storefront: takes an order, asks profile who the customer is, and has payments charge them."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request

import tracemw
from tracemw.fastapi import TraceMiddleware
from tracemw.httpx import trace_client

PROFILE_URL = os.environ.get("PROFILE_URL", "http://127.0.0.1:8001")
PAYMENTS_URL = os.environ.get("PAYMENTS_URL", "http://127.0.0.1:8002")


@dataclass(frozen=True)
class Order:
    """Who wants to pay how much, in euros."""

    customer_id: int
    amount: int


PRICES = {1: 42, 2: 18, 3: 1_250}

ORDERS = {
    1: Order(customer_id=1, amount=42),
    2: Order(customer_id=2, amount=18),
    3: Order(customer_id=3, amount=60),
    4: Order(customer_id=1, amount=1_250),  # large: payments asks the bank first, which takes its time
    5: Order(customer_id=4, amount=42),  # from a country that payments cannot judge: fails there
    6: Order(customer_id=9, amount=18),  # a customer that profile does not know
}

tracemw.init("storefront", allow={"order.id"})


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Keep one client, and so its open connections, for as long as the service runs."""
    async with trace_client(httpx.AsyncClient(timeout=5.0)) as client:
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)
app.add_middleware(TraceMiddleware)


def shared_client(request: Request) -> httpx.AsyncClient:
    client: httpx.AsyncClient = request.app.state.client
    return client


Client = Annotated[httpx.AsyncClient, Depends(shared_client)]


@app.get("/health")
async def health() -> dict[str, str]:
    return {"status": "ok"}


@app.get("/products/{product_id}")
async def product(product_id: int) -> dict[str, int]:
    if product_id not in PRICES:
        raise HTTPException(404, f"no product {product_id}")
    return {"product_id": product_id, "price": PRICES[product_id]}


@app.get("/checkout/{order_id}")
async def checkout(order_id: int, client: Client) -> dict[str, object]:
    order = ORDERS.get(order_id)
    if order is None:
        raise HTTPException(404, f"no order {order_id}")
    tracemw.annotate(**{"order.id": order_id})

    # A URL is of no use as a span's name; its template is.
    named = {"url_template": "/customers/{customer_id}"}
    profile = await client.get(f"{PROFILE_URL}/customers/{order.customer_id}", extensions=named)
    if profile.status_code == 404:
        raise HTTPException(404, f"no customer {order.customer_id}")
    profile.raise_for_status()
    customer = profile.json()

    charge = {"order_id": order_id, "amount": order.amount, "country": customer["country"]}
    payment = await client.post(f"{PAYMENTS_URL}/payments", json=charge)
    if payment.is_error:
        # The customer can quote this id, and support finds the whole story with it.
        raise HTTPException(502, f"payment failed, trace {tracemw.current_trace_id()}")
    return {"order_id": order_id, "customer": customer["name"], "payment": payment.json()["payment_id"]}

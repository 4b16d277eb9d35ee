"""A service as people write them: it validates a body, selects an object from SQLite, and calls another service.

The one that explains itself selects twice, and logs what it does at DEBUG, which nobody writes.
"""

from __future__ import annotations

import logging
from typing import Any

import httpx
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import String, create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.pool import StaticPool


class _Table(DeclarativeBase):
    pass


class Item(_Table):
    """What the shop sells."""

    __tablename__ = "items"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(40), index=True)
    price: Mapped[float]
    stock: Mapped[int]


class Order(BaseModel):
    """What a request asks for."""

    item: str
    quantity: int


class Charge(BaseModel):
    """What the response tells."""

    charge: int
    price: float
    left: int


_logger = logging.getLogger("shop")


def shop(*, explains: bool = False, payments: str | None = None) -> tuple[FastAPI, Any, httpx.AsyncClient]:
    """Return the application, its engine and its client, which calls `payments`, or is answered within the process."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    _Table.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Item(name=name, price=12.5, stock=7) for name in ("mug", "cup", "bowl"))
        session.commit()
    answers = None if payments else httpx.MockTransport(lambda request: httpx.Response(200, json={"charge": 7}))
    client = httpx.AsyncClient(base_url=payments or "http://payments.example.com", transport=answers)
    app = FastAPI()

    async def order(step: str, wanted: Order) -> Charge:
        with Session(engine) as session:
            item = session.scalars(select(Item).where(Item.name == wanted.item)).one()
            price, left = item.price * wanted.quantity, item.stock - wanted.quantity
        answer = await client.post("/charges", json={"price": price})
        return Charge(charge=answer.json()["charge"], price=price, left=left)

    async def explained(step: str, wanted: Order) -> Charge:
        with Session(engine) as session:
            cheapest = session.scalars(select(Item).order_by(Item.price).limit(1)).one()
            _logger.debug("the cheapest item is %s", cheapest.name)
        charge = await order(step, wanted)
        _logger.debug("step %s is charged: %d", step, charge.charge)
        return charge

    app.post("/orders/{step}")(explained if explains else order)
    return app, engine, client

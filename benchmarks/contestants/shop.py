"""A service as people write them: it validates a body, selects an object from SQLite, and calls another service."""

from __future__ import annotations

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


def shop() -> tuple[FastAPI, Any, httpx.AsyncClient]:
    """Return the application, its engine and its client, which is answered within the process."""
    engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
    _Table.metadata.create_all(engine)
    with Session(engine) as session:
        session.add_all(Item(name=name, price=12.5, stock=7) for name in ("mug", "cup", "bowl"))
        session.commit()
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda request: httpx.Response(200, json={"charge": 7})))
    app = FastAPI()

    @app.post("/orders/{step}")
    async def order(step: str, wanted: Order) -> Charge:
        with Session(engine) as session:
            item = session.scalars(select(Item).where(Item.name == wanted.item)).one()
            price, left = item.price * wanted.quantity, item.stock - wanted.quantity
        answer = await client.post("http://payments.example.com/charges", json={"price": price})
        return Charge(charge=answer.json()["charge"], price=price, left=left)

    return app, engine, client

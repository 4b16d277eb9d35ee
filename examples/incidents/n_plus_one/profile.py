"""The profile service, which release 1.1 has tell what a customer has bought: by one query for each product."""

import os
import sqlite3
import time

from flask import abort
from sqlalchemy import ForeignKey, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from examples.flask_app.app import SEED, app, customers, engine

NETWORK_SECONDS = 0.01
PRODUCTS = 17


class Base(DeclarativeBase):
    """What the database has, as classes."""

    metadata = customers.metadata


class Product(Base):
    """A thing to buy."""

    __tablename__ = "products"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]


class Purchase(Base):
    """A product that a customer has bought."""

    __tablename__ = "purchases"
    customer_id: Mapped[int] = mapped_column(ForeignKey("customers.id"), primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"), primary_key=True)
    product: Mapped[Product] = relationship()

    @property
    def title(self) -> str:
        """What the customer knows the product by."""
        return self.product.name  # the fault: each purchase asks the database for its product


class Customer(Base):
    """Somebody who buys."""

    __table__ = customers
    id: Mapped[int]
    name: Mapped[str]
    country: Mapped[str]
    purchases: Mapped[list[Purchase]] = relationship()


def customer_with_purchases(customer_id: int) -> dict[str, object]:
    with Session(engine) as session:
        found = session.get(Customer, customer_id)
        if found is None:
            abort(404, f"no customer {customer_id}")
        bought = [purchase.title for purchase in found.purchases]
        return {"id": customer_id, "name": found.name, "country": found.country, "bought": bought}


def prepare() -> None:
    """Let everybody have bought everything; an engine that is not traced does it."""
    with Session(create_engine(engine.url)) as session:
        Base.metadata.create_all(session.connection())
        session.add_all(Product(id=number, name=f"product {number}") for number in range(PRODUCTS))
        session.add_all(
            Purchase(customer_id=each["id"], product_id=number) for each in SEED for number in range(PRODUCTS)
        )
        session.commit()


@event.listens_for(engine, "checkout")
def cross_the_network(connection: sqlite3.Connection, *_: object) -> None:
    """Have each statement take as long as one of a database on another machine."""
    connection.set_trace_callback(lambda _: time.sleep(NETWORK_SECONDS))


if os.environ.get("SERVICE_VERSION") == "1.1":
    prepare()
    app.view_functions["customer"] = customer_with_purchases

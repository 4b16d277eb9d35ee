"""The profile service: who a customer is, read from a SQLite database through SQLAlchemy."""

from flask import Flask, abort
from sqlalchemy import Engine, MetaData, Table, create_engine, select, text
from sqlalchemy.dialects.sqlite import insert
from sqlalchemy.schema import Column, CreateTable
from sqlalchemy.types import Integer, String

import tracemw
from tracemw.flask import TraceMiddleware
from tracemw.sqlalchemy import trace_engine

customers = Table(
    "customers",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("name", String, nullable=False),
    Column("country", String, nullable=False),
)

SEED = [
    {"id": 1, "name": "Ada", "country": "DE"},
    {"id": 2, "name": "Blaise", "country": "FR"},
    {"id": 3, "name": "Grace", "country": "US"},
    {"id": 4, "name": "Fabian", "country": "AQ"},
]


def prepare(engine: Engine) -> None:
    """Create and fill the table; every worker does, so both statements bear that another was faster."""
    with engine.begin() as connection:
        connection.execute(CreateTable(customers, if_not_exists=True))
        connection.execute(insert(customers).on_conflict_do_nothing(), SEED)


tracemw.init("profile")

engine = create_engine("sqlite:///profile.db", pool_size=4, max_overflow=0, pool_timeout=2)
prepare(engine)
# From here on each query is a span of the request that asks it; preparing the table belongs to none.
trace_engine(engine)

app = Flask(__name__)
TraceMiddleware(app)


@app.get("/health")
def health() -> dict[str, str]:
    with engine.connect() as connection:
        connection.execute(text("SELECT 1"))
    return {"status": "ok"}


@app.get("/customers/<int:customer_id>")
def customer(customer_id: int) -> dict[str, object]:
    with engine.connect() as connection:
        found = connection.execute(select(customers).where(customers.c.id == customer_id)).one_or_none()
    if found is None:
        abort(404, f"no customer {customer_id}")
    return {"id": found.id, "name": found.name, "country": found.country}

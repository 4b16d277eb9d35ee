"""The profile service, with an export of a customer's data that forgets to give its connections back."""

from sqlalchemy import CursorResult, select

from examples.flask_app.app import app, customers, engine

PAGE = 1

exports: dict[int, CursorResult[tuple[int, str, str]]] = {}


@app.get("/customers/<int:customer_id>/export")
def export(customer_id: int) -> list[str]:
    """Answer with a page of what we know of a customer; the next page comes from the same result."""
    if customer_id not in exports:
        # The result keeps its connection for the next page, and nobody asks for a next page.
        everything = select(customers).where(customers.c.id == customer_id)
        exports[customer_id] = engine.connect().execute(everything)  # the fault
    return [row.name for row in exports[customer_id].fetchmany(PAGE)]

"""Names, ends and yields of spans. A comment says which code is expected of its line; all else is right."""

from contextlib import asynccontextmanager, contextmanager

import pytest
from opentelemetry import trace
from opentelemetry.trace import use_span

import tracemw
from tracemw import span as traced_span

tracer = trace.get_tracer(__name__)
STEP = "import"


def names(order, kind, user_id):
    with tracemw.span("order.process"):
        pass
    with tracemw.span(f"order {order}"):  # expect: TMW201
        pass
    with traced_span("order %s" % order):  # expect: TMW201
        pass
    with tracemw.span("order " + order):  # expect: TMW201
        pass
    with tracemw.span(f"order {order}"):  # expect: TMW201
        pass
    with tracemw.span(f"order.{STEP}"):
        pass
    with tracemw.span(kind):
        pass
    with tracemw.span(f"chat {order.model_name}"):
        pass
    with tracemw.span(f"{order.method} {kind['http.route']}"):
        pass
    with tracemw.span(f"{order.method} {order.url}"):  # expect: TMW201
        pass
    with tracemw.span(f"order {kind['id']}"):  # expect: TMW201
        pass
    with tracemw.span("a" "b"):
        pass
    with tracer.start_as_current_span(f"user-{user_id}"):  # expect: TMW201
        pass
    with tracer.start_as_current_span(name=f"user-{user_id}"):  # expect: TMW201
        pass
    with tracer.start_as_current_span(f"{names.__name__}.step"):
        pass
    trace.get_current_span().update_name(f"GET /{order}")  # expect: TMW201
    trace.get_current_span().update_name("GET /orders/{id}")
    with tracemw.span(f"order {order}"):  # noqa: TMW201
        pass
    with tracemw.span(f"order {order}"):  # tracemw: ignore[TMW101, TMW201]
        pass
    with tracemw.span(f"order {order}"):  # tracemw: ignore[TMW101]  # expect: TMW201
        pass


@tracemw.traced("charge")
def charge():
    pass


@tracemw.traced(f"charge {STEP}")
def charge_again():
    pass


def ends(queue):
    forgotten = tracer.start_span("a")  # expect: TMW202
    forgotten.set_attribute("order.count", 1)
    tracer.start_span("b")  # expect: TMW202
    queue.start_span(run=1)
    ended = tracer.start_span("c")
    try:
        pass
    finally:
        ended.end()
    with tracer.start_span("d"):
        pass
    given = tracer.start_span("e")
    queue.put(given)
    used = tracer.start_span("f")
    with use_span(used, end_on_exit=True):
        pass
    kept_open = tracer.start_span("g")  # expect: TMW202
    with use_span(kept_open):
        pass
    with use_span(tracer.start_span("h"), end_on_exit=True):
        pass
    returned = tracer.start_span("i")
    return returned


class Job:
    def start(self):
        self.span = tracer.start_span("job")

    def stop(self):
        self.span.end()


async def rows(cursor):
    with tracemw.span("rows"):  # expect: TMW203
        async for row in cursor:
            yield row


async def rows_by_another(cursor):
    with tracer.start_as_current_span("rows"):  # expect: TMW203
        for row in cursor:
            yield row


def lines(file):
    with tracemw.span("lines"):  # expect: TMW203
        yield from file


async def rows_after(cursor):
    with tracemw.span("query"):
        found = await cursor.all()
    for row in found:
        yield row


@asynccontextmanager
async def session():
    with tracemw.span("session"):
        yield 1


@contextmanager
def transaction():
    with tracemw.span("transaction"):
        yield 1


@pytest.fixture
def traced():
    with tracemw.span("fixture"):
        yield


def inner_generator():
    with tracemw.span("outer"):

        def numbers():
            yield 1

        return list(numbers())

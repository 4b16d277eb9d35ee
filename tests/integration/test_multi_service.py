"""Three services call one another; what they export is found in the backend, by id and through search.

The backend is the viewer, or with `make test-tempo` a real Tempo. There may be traces of earlier runs in it: each run
gives its services names of their own.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx
import pytest
from examples.demo.processes import Child, Children, free_ports
from examples.demo.traces import Found, Span, Trace, TraceStore

from .backends import Backend

pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")

T = TypeVar("T")

ARRIVAL_SECONDS = 60.0
"""A Tempo finds a trace by its id within a second or two; its search leaves out the latest 30 s."""

GOOD = "/orders/7"
FAILING = "/orders/13"
DROPPED = "/quotes/7"
KEPT = "/quotes/13"
STATUS = {DROPPED: 200, KEPT: 502, GOOD: 200, FAILING: 502}


@dataclass(frozen=True)
class Shop:
    """The three services when they have answered, delivered their spans, and ended."""

    backend: Backend
    run: str
    began: float
    answers: Mapping[str, httpx.Response]

    def service(self, name: str) -> str:
        """The `service.name` that it has in this run."""
        return f"{name}-{self.run}"

    def trace_id(self, path: str) -> str:
        trace_id: str = self.answers[path].headers["x-trace-id"]
        return trace_id

    async def trace(self, path: str, *, spans: int) -> Trace:
        """The trace of a request, when the backend has that many spans of it."""
        async with self.store() as store:
            return await eventually(
                lambda: store.trace(self.trace_id(path)),
                lambda trace: trace.partial is None and len(trace.spans) >= spans,
            )

    async def found(self, *paths: str, **query: str) -> dict[str, Found]:
        """What a search finds, by path, when that is the traces of these requests."""
        path_of = {self.trace_id(path): path for path in self.answers}

        async def search() -> dict[str, Found]:
            # Without a window a Tempo would look into what is recent only.
            window = {"start": int(self.began) - 300, "end": int(time.time()) + 1}
            found = await store.search(**query, **window, spss=20)
            return {path_of.get(each.trace_id, each.trace_id): each for each in found}

        async with self.store() as store:
            return await eventually(
                search,
                lambda found: found.keys() == set(paths) and all(each.root_name for each in found.values()),
            )

    @asynccontextmanager
    async def store(self) -> AsyncIterator[TraceStore]:
        async with self.backend.client() as client:
            yield TraceStore(client, self.backend.url)


async def eventually(ask: Callable[[], Awaitable[T]], is_enough: Callable[[T], bool]) -> T:
    """Ask until the answer is enough; after ARRIVAL_SECONDS return it as it is, so that the test shows it."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    while True:
        is_late = time.monotonic() > deadline
        try:
            answer = await ask()
        except httpx.HTTPStatusError as error:  # a Tempo that has just begun, or has much to do
            status = error.response.status_code
            if is_late or not (error.response.is_server_error or status == httpx.codes.TOO_MANY_REQUESTS):
                raise
        else:
            if is_late or is_enough(answer):
                return answer
        await asyncio.sleep(0.2)


@pytest.fixture(scope="module")
def shop(backend: Backend, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    return asyncio.run(visit(backend, tmp_path_factory.mktemp("shop")))


async def visit(backend: Backend, folder: Path) -> Shop:
    """Start the services, send each request, and stop them, which delivers what has not been sent yet."""
    run, began = secrets.token_hex(4), time.time()
    storefront, inventory, ledger = (f"127.0.0.1:{port}" for port in free_ports(3))
    commands = {
        storefront: ("storefront", *uvicorn(storefront), "integration.storefront:app"),
        inventory: ("inventory", "gunicorn", "--workers", "2", "--bind", inventory, "integration.inventory:app"),
        ledger: ("ledger", *uvicorn(ledger), "--lifespan", "off", "integration.ledger:app"),
    }
    environment = {
        **backend.environment,
        "OTEL_BSP_SCHEDULE_DELAY": "200",  # ms
        "INVENTORY_URL": f"http://{inventory}",
        "LEDGER_URL": f"http://{ledger}",
        "NO_PROXY": ",".join([*filter(None, [os.environ.get("NO_PROXY")]), "127.0.0.1"]),
        "XDG_RUNTIME_DIR": str(folder),  # where gunicorn puts its control socket
    }
    with Children(folder, Path(__file__).parents[1]) as children:
        started: dict[str, Child] = {}
        for address, (name, *command) in commands.items():
            named = {**environment, "OTEL_SERVICE_NAME": f"{name}-{run}"}
            started[address] = children.start(name, *command, environment=named)
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            for address, child in started.items():
                await child.ready(client, f"http://{address}/health")
            answers = {path: await client.get(f"http://{storefront}{path}") for path in STATUS}
        assert children.stop() == []
    return Shop(backend, run, began, answers)


def uvicorn(address: str) -> tuple[str, ...]:
    host, _, port = address.partition(":")
    return ("uvicorn", "--host", host, "--port", port)


def outline(shop: Shop, trace: Trace) -> list[str]:
    """A line for each span that a root leads to, parents first: its depth, service, kind, name, whether it failed."""

    def below(span: Span, indent: str = "") -> Iterator[str]:
        service = span.service.removesuffix(f"-{shop.run}")
        yield f"{indent}{service} {span.kind} {span.name}{' ERROR' if span.failed else ''}"
        for child in trace.children(span):
            yield from below(child, f"{indent}  ")

    return [line for root in trace.roots for line in below(root)]


def span_of(trace: Trace, service: str, kind: str) -> Span:
    (span,) = [span for span in trace.spans if (span.service, span.kind) == (service, kind)]
    return span


GOOD_OUTLINE = [
    "storefront SERVER GET /orders/{number}",
    "  storefront CLIENT GET /stock/{number}",
    "    inventory SERVER GET /stock/<int:number>",
    "      inventory CLIENT POST",
    "        ledger SERVER POST",
    "          ledger INTERNAL ledger.book",
]


def test_each_request_is_answered_with_the_id_of_its_trace(shop: Shop) -> None:
    assert {path: answer.status_code for path, answer in shop.answers.items()} == STATUS
    assert len({shop.trace_id(path) for path in STATUS}) == len(STATUS)


async def test_a_request_through_three_services_is_one_trace(shop: Shop) -> None:
    trace = await shop.trace(GOOD, spans=len(GOOD_OUTLINE))
    assert trace.partial is None
    assert outline(shop, trace) == GOOD_OUTLINE
    assert len(trace.spans) == len(GOOD_OUTLINE)
    server = span_of(trace, shop.service("storefront"), "SERVER")
    assert (
        server.attributes.items()
        >= {
            "http.request.method": "GET",
            "http.route": "/orders/{number}",
            "http.response.status_code": 200,
            "url.path": GOOD,
            "order.number": 7,
        }.items()
    )
    assert "tracemw.kept" not in server.attributes
    booked = span_of(trace, shop.service("ledger"), "INTERNAL")
    assert booked.attributes == {"ledger.amount": 42, "order.number": 7}
    assert all(0 < span.start < span.end for span in trace.spans)


async def test_an_error_is_in_every_span_from_its_source_to_the_edge(shop: Shop) -> None:
    trace = await shop.trace(FAILING, spans=len(GOOD_OUTLINE))
    assert outline(shop, trace) == [f"{line} ERROR" for line in GOOD_OUTLINE]
    source = span_of(trace, shop.service("ledger"), "INTERNAL")
    assert source.attributes["error.type"] == "integration.ledger.ImbalanceError"
    assert source.attributes["error.stage"] == "audit"
    edge = span_of(trace, shop.service("storefront"), "SERVER")
    assert (edge.attributes["error.type"], edge.attributes["http.response.status_code"]) == ("502", 502)


async def test_of_requests_that_are_sampled_out_the_failed_one_is_kept_in_every_service(shop: Shop) -> None:
    trace = await shop.trace(KEPT, spans=len(GOOD_OUTLINE))
    assert outline(shop, trace) == [f"{line} ERROR".replace("/orders/", "/quotes/") for line in GOOD_OUTLINE]
    assert [span.attributes.get("tracemw.kept") for span in trace.spans] == ["error"] * len(GOOD_OUTLINE)


async def test_of_requests_that_are_sampled_out_the_good_one_leaves_nothing(shop: Shop) -> None:
    await shop.trace(GOOD, spans=len(GOOD_OUTLINE))  # which was sent later
    async with shop.store() as store:
        assert (await store.trace(shop.trace_id(DROPPED))).spans == ()


async def test_traceql_finds_the_spans_of_every_service_that_failed(shop: Shop) -> None:
    query = f'{{ resource.service.name = "{shop.service("ledger")}" && status = error && kind = internal }}'
    found = await shop.found(FAILING, KEPT, q=query)
    assert found.keys() == {FAILING, KEPT}
    for path, each in found.items():
        trace = await shop.trace(path, spans=len(GOOD_OUTLINE))
        assert each.span_ids == {span_of(trace, shop.service("ledger"), "INTERNAL").span_id}
        assert (each.root_service, each.root_name) == (trace.roots[0].service, trace.roots[0].name)


async def test_traceql_finds_spans_by_route_and_by_number(shop: Shop) -> None:
    edge = f'resource.service.name = "{shop.service("storefront")}"'
    routed = await shop.found(GOOD, FAILING, q=f'{{ {edge} && span.http.route = "/orders/{{number}}" }}')
    assert routed.keys() == {GOOD, FAILING}
    numbered = await shop.found(GOOD, q=f"{{ {edge} && span.order.number = 7 }}")
    assert numbered.keys() == {GOOD}
    trace = await shop.trace(GOOD, spans=len(GOOD_OUTLINE))
    assert numbered[GOOD].span_ids == {span_of(trace, shop.service("storefront"), "SERVER").span_id}


async def test_tags_find_what_was_kept_for_its_error(shop: Shop) -> None:
    found = await shop.found(KEPT, tags=f'service.name="{shop.service("inventory")}" tracemw.kept=error')
    assert found.keys() == {KEPT}

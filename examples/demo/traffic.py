"""The requests that the demo sends, and what is to be expected of each."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import httpx


@dataclass(frozen=True)
class Request:
    """A GET request, the status it ought to get, and the services whose spans its trace ought to show."""

    service: str
    path: str
    status: int
    touches: frozenset[str]

    @property
    def traced(self) -> bool:
        """Whether there ought to be a trace; health checks leave none."""
        return bool(self.touches)


@dataclass(frozen=True)
class Answer:
    """What came back: the status (None: nothing came), and the trace id from the ``x-trace-id`` header."""

    request: Request
    status: int | None
    trace_id: str | None


def checkout(order_id: int, status: int = 200, touches: str = "storefront profile payments") -> Request:
    """Return a request that ``touches`` these services, named with spaces between."""
    return Request("storefront", f"/checkout/{order_id}", status, frozenset(touches.split()))


def product(product_id: int, status: int = 200) -> Request:
    """Return a request that the storefront answers alone."""
    return Request("storefront", f"/products/{product_id}", status, frozenset({"storefront"}))


def customer(customer_id: int, status: int = 200) -> Request:
    """Return a request to the profile service itself."""
    return Request("profile", f"/customers/{customer_id}", status, frozenset({"profile"}))


def health(service: str) -> Request:
    """Return a health check, which must leave no trace."""
    return Request(service, "/health", 200, frozenset())


GOOD = checkout(1)
SLOW = checkout(4)
FAILING = checkout(5, 502)
UNKNOWN_CUSTOMER = checkout(6, 404, "storefront profile")
UNKNOWN_ORDER = checkout(999, 404, "storefront")
HEALTH_CHECKS = [health("storefront"), health("profile"), health("payments")]

ONE_BY_ONE = [GOOD, FAILING, UNKNOWN_CUSTOMER, UNKNOWN_ORDER, product(1), product(999, 404), *HEALTH_CHECKS]
AT_ONCE = [
    *[checkout(order_id) for order_id in (1, 2, 3) for _ in range(4)],
    *[SLOW, SLOW, FAILING, FAILING],
    *[product(product_id) for product_id in (1, 2, 3)],
    *[customer(1), customer(2), customer(999, 404)],
    *HEALTH_CHECKS,
]


async def send(client: httpx.AsyncClient, addresses: Mapping[str, str]) -> list[Answer]:
    """Send all requests to the services at ``addresses``, first one by one and then many at the same time."""
    answers = [await _send(client, addresses, request) for request in ONE_BY_ONE]
    answers += await asyncio.gather(*[_send(client, addresses, request) for request in AT_ONCE])
    return answers


async def _send(client: httpx.AsyncClient, addresses: Mapping[str, str], request: Request) -> Answer:
    try:
        response = await client.get(addresses[request.service] + request.path)
    except httpx.HTTPError:
        return Answer(request, None, None)
    return Answer(request, response.status_code, response.headers.get("x-trace-id"))


def trace_id_of(request: Request, answers: Sequence[Answer]) -> str | None:
    """Return the trace id of the first answer to ``request``."""
    return next((answer.trace_id for answer in answers if answer.request == request), None)

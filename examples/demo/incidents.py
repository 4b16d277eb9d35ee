"""The three incidents: what is done to the shop, what its users see, and which cause has to be named.

The faults themselves are in `examples/incidents`, a folder for each.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from statistics import quantiles
from time import monotonic

from examples.demo.services import FAULTY, Shop


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a user got, after how many seconds."""

    status: int
    trace_id: str
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Incident:
    """Something that goes wrong in the shop."""

    name: str

    story: str
    """What whoever is on call hears."""

    happen: Callable[[Shop], Awaitable[list[list[Answer]]]]
    """Sends the requests; returns the answers of before and after it began."""

    code: str
    """The finding that is its cause."""

    named: tuple[str, ...]
    """What the verdict has to name besides."""

    released: str = ""
    """The service whose release 1.1 it came with, if it came with one."""

    def asked(self, trace_id: str) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
        """Give the commands of tracemw that tell of it, and what the verdict of each has to name."""
        yield ("analyze", trace_id), self.named
        if self.released:
            releases = ("--before", "1.0", "--after", "1.1", "--service", self.released)
            yield ("compare", *releases), (*self.named, "of the growth")

    @property
    def folder(self) -> str:
        """The name of its folder in `examples/incidents`."""
        return self.name.replace("-", "_")


async def time_out(shop: Shop) -> list[list[Answer]]:
    """Have customers ask for their data now and then, until no connection is left."""
    before = []
    for customer_id in (1, 2, 3, 4):
        before += await _checkouts(shop, (1, 2, 3) * 2)
        before.append(await _get(shop, "profile", f"/customers/{customer_id}/export"))
    return [before, await _checkouts(shop, (1, 2, 3) * 2, at_once=6)]


async def release_n_plus_one(shop: Shop) -> list[list[Answer]]:
    """Buy from the shop, release the next version of the profile service, and buy the same again."""
    before = await _checkouts(shop, (1, 2, 3) * 12)
    await shop.release("profile", "1.1")
    return [before, await _checkouts(shop, (1, 2, 3) * 12)]


async def fail_now_and_then(shop: Shop) -> list[list[Answer]]:
    """Have three orders of sixty be large ones."""
    orders = ((1, 2, 3) * 6, (4,))
    return [[], [each for order_ids in orders * 3 for each in await _checkouts(shop, order_ids)]]


async def warm_up(shop: Shop) -> None:
    """Have the services import what a first request imports, which would count as slow."""
    await _checkouts(shop, (1,))


async def _checkouts(shop: Shop, order_ids: Iterable[int], *, at_once: int = 2) -> list[Answer]:
    free = asyncio.Semaphore(at_once)

    async def checkout(order_id: int) -> Answer:
        async with free:
            return await _get(shop, "storefront", f"/checkout/{order_id}")

    return await asyncio.gather(*[checkout(order_id) for order_id in order_ids])


async def _get(shop: Shop, service: str, path: str) -> Answer:
    began = monotonic()
    response = await shop.client.get(shop.addresses[service] + path)
    return Answer(status=response.status_code, trace_id=response.headers["x-trace-id"], seconds=monotonic() - began)


def line_of(fault: str, *module: str) -> str:
    """Return the line that a comment marks as a fault, as `profile.py:17`."""
    file = FAULTY.joinpath(*module).with_suffix(".py")
    [number] = [number for number, line in enumerate(file.read_text().splitlines(), 1) if f"# {fault}" in line]
    return f"{file.name}:{number}"


INCIDENTS = {
    incident.name: incident
    for incident in (
        Incident(
            name="timeout",
            story="Since this morning, checkouts hang and then fail. Nothing was released.",
            happen=time_out,
            code="pool-wait",
            named=(line_of("the fault", "timeout", "profile"),),
        ),
        Incident(
            name="n-plus-one",
            story="Since profile 1.1 was released, every checkout is slow. Nothing fails.",
            happen=release_n_plus_one,
            code="n-plus-one",
            named=(line_of("the fault", "n_plus_one", "profile"), "SELECT products"),
            released="profile",
        ),
        Incident(
            name="ghost-error",
            story="A few checkouts of a hundred fail, and no log says why.",
            happen=fail_now_and_then,
            code="error-source",
            named=(
                line_of("the first fault", "ghost_error", "profile"),
                "swallowed in payment.process of payments",
                "9 calls",
            ),
        ),
    )
}


def describe(answers: list[Answer]) -> str:
    """Return how many answers there were, how many of these are failures, and how long they took."""
    failed = sum(answer.status >= 500 for answer in answers)
    twentieths = quantiles([answer.seconds * 1000 for answer in answers], n=20)
    took = f"p50 {twentieths[9]:.0f} ms, p95 {twentieths[18]:.0f} ms"
    return f"{len(answers)} requests, {failed} of them failed, {took}"

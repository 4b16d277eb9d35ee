"""FastAPI applications, called as a server calls them: one that does next to nothing, and one that works."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.contestants import Burst, peers
from benchmarks.contestants.asgi import REQUESTS, Message, driven, receive
from benchmarks.contestants.cold import driven_cold
from benchmarks.contestants.peers import Outbound
from benchmarks.contestants.pipelines import Pipeline, none


def fastapi(*, door: str, cold: bool = False) -> Burst:
    """Serve an endpoint that reads a path parameter and answers with a dictionary."""
    peers.patch(door)
    from fastapi import FastAPI

    app = FastAPI()

    @app.post("/orders/{step}")
    async def order(step: str) -> dict[str, object]:
        return {"id": step, "name": "mug", "price": 12.5}

    return _driven(app, None, door, cold=cold)


def realistic(*, door: str) -> Burst:
    """Serve an endpoint that validates a body, selects an object from SQLite, and calls another service."""
    peers.patch(door)
    from benchmarks.contestants.shop import shop

    app, engine, client = shop()
    return _driven(app, Outbound(engine, client), door)


def watched(*, door: str) -> Burst:
    """Serve an endpoint that selects twice, logs twice, and calls another service, in a loop that goes round."""
    from benchmarks.contestants.shop import shop

    app, engine, client = shop(explains=True)

    async def coming_round(scope: Any, receive: Any, send: Any) -> None:
        await app(scope, receive, send)
        await asyncio.sleep(0)  # without this, a burst would block the event loop

    pipeline = Pipeline(none().provider, getattr(peers, door)(app, Outbound(engine, client)))
    return driven(coming_round, pipeline, "plain")


def _driven(app: Any, outbound: Outbound | None, door: str, *, cold: bool = False) -> Burst:
    pipeline = Pipeline(none().provider, getattr(peers, door)(app, outbound))
    if door == "untraced":
        asyncio.run(_check(app))
    return (driven_cold if cold else driven)(app, pipeline, "plain")


async def _check(app: Any) -> None:
    async def send(message: Message) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"the endpoint does not work: {message}")

    await app(REQUESTS["plain"](), receive, send)

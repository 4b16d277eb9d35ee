"""An application's startup and shutdown, as ASGI servers ask for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from tracemw.checking.errors_told import told, without_secrets
from tracemw.checking.problems import CheckError

_PATIENCE: Final = 30.0
"""Seconds that a startup, and a shutdown, may take."""
_AFTERWARDS: Final = 1.0
"""Seconds for the exception that comes after the message of a failure. It says more than the message."""


@asynccontextmanager
async def running(application: Any) -> AsyncIterator[dict[str, Any]]:
    """Run the startup of an application, and at the end its shutdown. Give the state that requests get.

    Raises:
        CheckError: if the startup fails, or takes too long.
    """
    orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    state: dict[str, Any] = {}
    scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
    serving = asyncio.ensure_future(application(scope, orders.get, answers.put))
    try:
        await _ask("startup", orders, answers, serving)
        yield state
        await _ask("shutdown", orders, answers, serving)
    finally:
        serving.cancel()
        await asyncio.wait([serving], timeout=_PATIENCE)
        _error_of(serving)  # else asyncio prints the traceback


async def _ask(what: str, orders: Any, answers: Any, serving: asyncio.Future[Any]) -> None:
    orders.put_nowait({"type": f"lifespan.{what}"})
    answered = asyncio.ensure_future(answers.get())
    await asyncio.wait([answered, serving], timeout=_PATIENCE, return_when=asyncio.FIRST_COMPLETED)
    if answered.done():
        message = answered.result()
        if message["type"] == f"lifespan.{what}.failed":
            await asyncio.wait([serving], timeout=_AFTERWARDS)
            error = _error_of(serving)
            said = told(error) if error else without_secrets(str(message.get("message", "")).strip())
            raise CheckError(f"the {what} has failed: {said or 'it does not say why'}")
        return
    answered.cancel()
    if not serving.done():
        raise CheckError(f"the {what} has taken longer than {_PATIENCE:g} seconds")
    if (error := _error_of(serving)) is not None:
        raise CheckError(f"the {what} has failed: {told(error)}")


def _error_of(serving: asyncio.Future[Any]) -> BaseException | None:
    return serving.exception() if serving.done() and not serving.cancelled() else None

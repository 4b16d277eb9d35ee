"""Managers and connection pools that start attempts: urllib3 calls a pool's `urlopen` anew for every retry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from urllib3 import HTTPConnectionPool, PoolManager

from tracemw._otel.guard import guarded
from tracemw._urllib3.attempts import attempts_under_way
from tracemw._urllib3.classes import change_class, traced_class


class TracedPool(HTTPConnectionPool):
    """A connection pool that starts each attempt, and notes what comes of it."""

    def urlopen(  # type: ignore[override]
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        retries: Any = None,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        """Make one attempt; when urllib3 tries again, it comes here from within."""
        attempts = attempts_under_way.get()
        exchange = attempts.next(retries, self.headers if headers is None else headers) if attempts else None
        if exchange is None:
            return super().urlopen(method, url, body, headers, retries, *args, **kwargs)
        return exchange.run(super().urlopen, method, url, body, headers, retries, *args, **kwargs)

    def _make_request(self, *args: Any, **kwargs: Any) -> Any:
        # Private to urllib3, and the one place that sees the headers of each attempt, and a response that urllib3 will
        # not accept but try again.
        attempts = attempts_under_way.get()
        if attempts is None:
            return super()._make_request(*args, **kwargs)
        headers = kwargs.get("headers")
        if headers is not None:
            kwargs["headers"] = attempts.with_trace(headers)
        try:
            response = super()._make_request(*args, **kwargs)
        except BaseException as error:
            attempts.failed(error)
            raise
        attempts.answered(response)
        return response


class TracedManager(PoolManager):
    """A manager whose connection pools start attempts."""

    def _new_pool(self, *args: Any, **kwargs: Any) -> Any:  # urllib3 means it to be overridden
        pool = super()._new_pool(*args, **kwargs)
        trace_pool(pool)
        return pool


@guarded
def trace_manager(manager: Any) -> None:
    """Have all pools of a manager start attempts. Anything but a manager of urllib3 is left alone."""
    if isinstance(manager, PoolManager) and not isinstance(manager, TracedManager):
        change_class(manager, traced_class(type(manager), TracedManager))
        for key in manager.pools.keys():  # noqa: SIM118  it is no dictionary, and lets nobody iterate
            trace_pool(manager.pools.get(key))


@guarded
def trace_pool(pool: Any) -> None:
    """Have a connection pool start attempts. Anything but a pool of urllib3, such as a mock, is left alone."""
    if isinstance(pool, HTTPConnectionPool) and not isinstance(pool, TracedPool):
        change_class(pool, traced_class(type(pool), TracedPool))

"""Managers and connection pools that start attempts. urllib3 calls a pool's `urlopen` anew for every retry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from urllib3 import HTTPConnectionPool, PoolManager

from tracemw._otel.guard import guarded
from tracemw._urllib3.attempts import attempts_under_way
from tracemw._urllib3.classes import traced_class


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
        """Make one attempt. For a retry, urllib3 calls this method again from within."""
        attempts = attempts_under_way.get()
        exchange = attempts.next(retries, self.headers if headers is None else headers) if attempts else None
        if exchange is None:
            return super().urlopen(method, url, body, headers, retries, *args, **kwargs)
        return exchange.run(super().urlopen, method, url, body, headers, retries, *args, **kwargs)

    def _make_request(self, *args: Any, **kwargs: Any) -> Any:
        # This method is private to urllib3. No other place sees the headers of each attempt, and a response after which
        # urllib3 tries again.
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
    """A manager that gives out connection pools which start attempts."""

    def connection_from_pool_key(self, *args: Any, **kwargs: Any) -> Any:
        """Return a connection pool."""
        pool = super().connection_from_pool_key(*args, **kwargs)
        if not isinstance(pool, TracedPool):
            trace_pool(pool)
        return pool


@guarded
def trace_manager(manager: Any) -> None:
    """Have a manager give out pools that start attempts. Anything but a manager of urllib3 is left alone."""
    if isinstance(manager, PoolManager) and not isinstance(manager, TracedManager):
        manager.__class__ = traced_class(type(manager), TracedManager)


@guarded
def trace_pool(pool: Any) -> None:
    """Have a connection pool start attempts. Anything but a pool of urllib3, such as a mock, is left alone."""
    if isinstance(pool, HTTPConnectionPool):
        pool.__class__ = traced_class(type(pool), TracedPool)

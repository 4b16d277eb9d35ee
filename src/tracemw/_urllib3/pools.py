"""Connection pools that start attempts, and their managers: urllib3 calls a pool's `urlopen` anew for every retry."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from urllib3 import HTTPConnectionPool, PoolManager

from tracemw._otel.guard import guarded
from tracemw._urllib3.attempts import attempts_under_way
from tracemw._urllib3.classes import change_class, traced_class
from tracemw._urllib3.outgoing import AT_ONCE, from_caller


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
        urlopen = super().urlopen
        if exchange is None:
            return urlopen(method, url, body, headers, retries, *args, **kwargs)
        return exchange.run(partial(urlopen, method, url, body, headers, retries, *args, **kwargs))

    def _make_request(self, *args: Any, **kwargs: Any) -> Any:
        # Private to urllib3, and the one place that sees the headers of each attempt, and a response that urllib3 will
        # not accept but try again.
        attempts = attempts_under_way.get()
        if attempts is None:
            return super()._make_request(*args, **kwargs)
        headers = kwargs.get("headers")
        if headers is not None:
            kwargs["headers"] = attempts.with_trace(headers)
        if attempts.current is not None and "body" in kwargs:
            body = kwargs["body"]
            if body.__class__ not in AT_ONCE:
                kwargs["body"] = from_caller(body, attempts.context)
        try:
            response = super()._make_request(*args, **kwargs)
        except BaseException as error:
            attempts.failed(error)
            raise
        attempts.answered(response)
        return response


class PoolClasses(dict[str, Any]):
    """The classes of a manager's connection pools, by scheme. Pools of these classes start attempts."""


@guarded
def trace_manager(manager: Any) -> None:
    """Have all pools of a manager start attempts. Anything but a manager of urllib3 is left alone."""
    if isinstance(manager, PoolManager) and type(manager.pool_classes_by_scheme) is not PoolClasses:
        # The class of the manager stays: CPython calls methods slowly on an object whose class was changed.
        classes = manager.pool_classes_by_scheme
        manager.pool_classes_by_scheme = PoolClasses({scheme: _traced(kind) for scheme, kind in classes.items()})
        for key in manager.pools.keys():  # noqa: SIM118  it is no dictionary, and lets nobody iterate
            trace_pool(manager.pools.get(key))


@guarded
def trace_pool(pool: Any) -> None:
    """Have a connection pool start attempts. Anything but a pool of urllib3, such as a mock, is left alone."""
    if isinstance(pool, HTTPConnectionPool) and not isinstance(pool, TracedPool):
        change_class(pool, _traced(type(pool)))


def _traced(kind: Any) -> Any:
    is_to_be = isinstance(kind, type) and issubclass(kind, HTTPConnectionPool) and not issubclass(kind, TracedPool)
    return traced_class(kind, TracedPool) if is_to_be else kind

"""The door for urllib3: `manager = trace_pool_manager(urllib3.PoolManager())`.

Each attempt gets a CLIENT span: redirects and retries too, with `http.request.resend_count`. The span ends when the
body has been read or closed.

The manager stays the object that it is, with its settings and its own behaviour: only its class gives way to one that
is derived from it and traces.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar, Unpack

try:
    import urllib3
except ImportError as error:
    raise ImportError("tracemw.urllib3 needs urllib3: pip install 'tracemw[urllib3]'") from error

from tracemw._http.client import ClientExchange, ClientOptions, ClientTracing
from tracemw._http.options import refuse_unknown
from tracemw._otel.context import current_context
from tracemw._otel.guard import represented
from tracemw._urllib3.attempts import Attempts, attempts_under_way
from tracemw._urllib3.chunks import ending
from tracemw._urllib3.classes import change_class, traced_class
from tracemw._urllib3.pools import PoolClasses, trace_manager

M = TypeVar("M", bound=urllib3.PoolManager)


def trace_pool_manager(manager: M, **options: Unpack[ClientOptions]) -> M:
    """Trace the calls of a pool manager, or a proxy manager, and return it.

    A traced manager is not traced twice: it takes the options given now. What goes through a connection pool that was
    asked for (`manager.connection_from_url(url).request(...)`) goes past the manager, and is not traced.

    Args:
        manager: A manager, of a class derived from `urllib3.PoolManager` too.
        **options: See `tracemw.ClientOptions`.

    Raises:
        TypeError: for what is no manager of urllib3, and for an unknown option.
        ValueError: for a value of an option that is not accepted.
    """
    if not isinstance(manager, urllib3.PoolManager):
        raise TypeError(f"tracemw.urllib3.trace_pool_manager takes a urllib3.PoolManager, not {represented(manager)}")
    refuse_unknown("trace_pool_manager", options, ClientOptions)
    if isinstance(manager, _CallingManager):
        manager.tracemw_tracing = manager.tracemw_tracing.but(**options)
        return manager
    tracing = ClientTracing(**options)
    change_class(manager, traced_class(type(manager), _CallingManager))
    vars(manager)["tracemw_tracing"] = tracing
    return manager


class _Call(Attempts):
    """The attempts at one call of a manager, which follows redirects itself."""

    __slots__ = ("manager",)

    def __init__(self, manager: _CallingManager, method: str, url: str) -> None:
        super().__init__(manager.tracemw_tracing, method, url)
        self.manager = manager


class _CallingManager(urllib3.PoolManager):
    """A manager whose calls are traced, each attempt by itself."""

    tracemw_tracing: ClientTracing

    def urlopen(self, method: str, url: str, redirect: bool = True, **kw: Any) -> Any:  # type: ignore[override]
        """Make a call; urllib3 follows a redirect by coming here from within."""
        if type(self.pool_classes_by_scheme) is not PoolClasses:  # at first, or pools are of other classes now
            trace_manager(self)
        beneath = super().urlopen
        call = attempts_under_way.get()
        # Within an attempt the context is another: that is a call of its own, made by a connection, say.
        if isinstance(call, _Call) and call.manager is self and call.context is current_context():
            call.redirected(method, url)
            return beneath(method, url, redirect, **kw)
        call = _Call(self, method, url)
        response = call.run(partial(beneath, method, url, redirect, **kw))
        if call.current is not None:
            _bind(response, call.current)
        return response


def _bind(response: Any, exchange: ClientExchange) -> None:
    """Have the end of a response's body end the exchange."""
    if type(response) is not urllib3.HTTPResponse or response.isclosed():
        exchange.end()  # the class is not that of urllib3, or the body has been read already
    else:
        response.__class__ = _TracedResponse
        vars(response)["_tracemw_exchange"] = exchange


class _TracedResponse(urllib3.HTTPResponse):
    """A response that ends its attempt's span when its body has been read or closed."""

    _tracemw_exchange: ClientExchange

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        return self._watched(super().read, *args, **kwargs)

    def read1(self, *args: Any, **kwargs: Any) -> bytes:
        return self._watched(super().read1, *args, **kwargs)

    def _watched(self, read: Callable[..., bytes], *args: Any, **kwargs: Any) -> bytes:
        try:
            data = read(*args, **kwargs)
        except Exception as error:
            self._tracemw_exchange.failure(error)
            raise
        if self.isclosed():
            self._tracemw_exchange.end()
        return data

    def read_chunked(self, *args: Any, **kwargs: Any) -> Iterator[bytes]:  # type: ignore[override]
        return ending(super().read_chunked(*args, **kwargs), self._tracemw_exchange)

    def drain_conn(self) -> None:
        super().drain_conn()
        self._tracemw_exchange.end()

    def close(self) -> None:
        try:
            super().close()
        finally:
            self._tracemw_exchange.end()

    def __del__(self) -> None:
        self._tracemw_exchange.abandon()
        super().__del__()

"""The door for requests: `session = trace_session(requests.Session())`, or mount a `TraceAdapter` yourself.

One CLIENT span per attempt, redirects and urllib3's own retries included, ended when the body has been read or closed.
Retries carry `http.request.resend_count`; requests has no public place that would carry it over a redirect.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final

try:
    import requests
except ImportError as error:
    raise ImportError("tracemw.requests needs requests: pip install 'tracemw[requests]'") from error

from opentelemetry import context as otel_context
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPConnectionPool, PoolManager
from urllib3.util import Retry

from tracemw._http.client import ClientExchange, ClientTracing

_logger = logging.getLogger("tracemw")


def trace_session(
    session: requests.Session,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
) -> requests.Session:
    """Trace the calls of a session and return it; the settings of its adapters stay as they are.

    An adapter of a class other than `requests.adapters.HTTPAdapter` is left alone, with a warning in the log.
    """
    for prefix, adapter in list(session.adapters.items()):
        if type(adapter) is HTTPAdapter:
            traced = TraceAdapter(tracer_provider=tracer_provider, meter_provider=meter_provider)
            traced.__setstate__(adapter.__getstate__())  # type: ignore[arg-type]
            session.mount(prefix, traced)
        elif not isinstance(adapter, TraceAdapter):
            _logger.warning(
                "trace_session leaves %s alone, which has a %s; derive that from tracemw.requests.TraceAdapter",
                prefix,
                type(adapter).__name__,
            )
    return session


class TraceAdapter(HTTPAdapter):
    """A transport adapter that traces each attempt: `session.mount("https://", TraceAdapter())`.

    Args:
        tracer_provider: Use this provider in place of the global one.
        meter_provider: Use this provider in place of the global one.
        **options: The options of `requests.adapters.HTTPAdapter`, such as `max_retries`.

    Raises:
        TypeError: for an unknown option.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        **options: Any,
    ) -> None:
        self._tracing = ClientTracing(tracer_provider=tracer_provider, meter_provider=meter_provider)
        super().__init__(**options)

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A copy that has been pickled goes by the global provider: a provider cannot be pickled.
        if not hasattr(self, "_tracing"):
            self._tracing = ClientTracing()
        super().__setstate__(state)  # type: ignore[misc]  # missing in the stubs

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Make the pool manager, with connection pools that see each attempt."""
        super().init_poolmanager(*args, **kwargs)
        _trace_pools(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Return the manager for a proxy, with connection pools that see each attempt."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if isinstance(manager, PoolManager):
            _trace_pools(manager)
        return manager

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,
        timeout: Any = None,
        verify: Any = True,
        cert: Any = None,
        proxies: Mapping[str, str] | None = None,
    ) -> requests.Response:
        """Send one prepared request."""
        attempts = _Attempts(self._tracing, request.method or "GET", request.url or "")
        token = _attempts.set(attempts)
        try:
            response = super().send(request, stream, timeout, verify, cert, proxies)
        except BaseException as error:
            if attempts.current is not None:
                attempts.current.failure(error)
            raise
        finally:
            _attempts.reset(token)
        exchange = attempts.current
        if exchange is not None:
            if type(response) is requests.Response:
                response.__class__ = _TracedResponse
                response._tracemw_exchange = exchange  # type: ignore[attr-defined]  # noqa: SLF001
            else:  # an adapter with a response class of its own
                exchange.end()
        return response


class _Attempts:
    """The attempts at one prepared request: the connection pool starts each, the adapter hears of the last."""

    __slots__ = ("_callers_headers", "_context", "_failed_at", "_method", "_tracing", "_url", "current")

    def __init__(self, tracing: ClientTracing, method: str, url: str) -> None:
        self._tracing = tracing
        self._method = method
        self._url = url
        self._context = otel_context.get_current()  # urllib3 makes each retry within the attempt before
        self._failed_at: int | None = None
        self._callers_headers: Any = None
        self.current: ClientExchange | None = None

    def next(self, retries: object, headers: object) -> ClientExchange | None:
        """Conclude the attempt before, by what urllib3 notes of it, and begin another with these headers.

        What lies between the two is the wait that the retry policy asks for.
        """
        self._callers_headers = headers
        history = retries.history if isinstance(retries, Retry) else ()
        if self.current is not None:
            if history and history[-1].error is not None:
                self.current.failure(history[-1].error, at=self._failed_at)
            self.current.abandon()
        self._failed_at = None
        self.current = self._tracing.begin(self._method, self._url, resend_count=len(history), context=self._context)
        return self.current

    def traced(self, headers: Any) -> Any:
        """Return the headers that urllib3 is about to send with those that hand the trace on."""
        if self.current is None:
            return headers
        if type(headers) is dict:
            headers = CaseInsensitiveDict(headers)
        elif headers is self._callers_headers:  # urllib3 has made a copy unless the request goes through a tunnel
            headers = headers.copy()
        for name, value in self.current.headers().items():
            headers[name] = value
        return headers

    def response(self, response: Any) -> None:
        """Note the response to the current attempt."""
        if self.current is not None:
            self.current.response(response.status, _VERSIONS.get(response.version))

    def failed(self) -> None:
        """Note the time at which the current attempt failed."""
        self._failed_at = None if self.current is None else self.current.now()


_VERSIONS: Final = {10: "1.0", 11: "1.1", 20: "2"}

_attempts: ContextVar[_Attempts | None] = ContextVar("tracemw-requests-attempts", default=None)


class _TracedPool(HTTPConnectionPool):
    """A connection pool that makes each attempt known: urllib3 calls `urlopen` anew for every retry."""

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
        attempts = _attempts.get()
        exchange = attempts.next(retries, self.headers if headers is None else headers) if attempts else None
        if exchange is None:
            return super().urlopen(method, url, body, headers, retries, *args, **kwargs)
        token = exchange.attach()
        try:
            return super().urlopen(method, url, body, headers, retries, *args, **kwargs)
        finally:
            exchange.detach(token)

    def _make_request(self, *args: Any, **kwargs: Any) -> Any:
        # Private to urllib3, and the one place that sees each attempt's own headers, and the response to one that is
        # going to be retried.
        attempts = _attempts.get()
        if attempts is None:
            return super()._make_request(*args, **kwargs)
        headers = kwargs.get("headers")
        if headers is not None:
            kwargs["headers"] = attempts.traced(headers)
        try:
            response = super()._make_request(*args, **kwargs)
        except BaseException:
            attempts.failed()
            raise
        attempts.response(response)
        return response


def _trace_pools(manager: PoolManager) -> None:
    # A SOCKS proxy's manager, for one, has pool classes of its own. Error messages show the name of the class.
    classes = manager.pool_classes_by_scheme
    manager.pool_classes_by_scheme = {scheme: _traced_pool(pool) for scheme, pool in classes.items()}


@functools.cache
def _traced_pool(pool: type[HTTPConnectionPool]) -> type[HTTPConnectionPool]:
    return pool if issubclass(pool, _TracedPool) else type(pool.__name__, (_TracedPool, pool), {})


class _TracedResponse(requests.Response):
    """A response that ends its attempt's span when its body has been read or closed."""

    _tracemw_exchange: ClientExchange | None = None

    def iter_content(self, chunk_size: int | None = 1, decode_unicode: bool = False) -> Iterator[Any]:
        chunks = super().iter_content(chunk_size, decode_unicode)
        exchange = self._tracemw_exchange
        return chunks if exchange is None or exchange.ended else _ending(chunks, exchange)

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self._tracemw_exchange is not None:
                self._tracemw_exchange.end()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A copied or pickled response is a plain one: its body has been read, and its reader may not have tracemw.
        return requests.Response, (), self.__getstate__()

    def __del__(self) -> None:
        if self._tracemw_exchange is not None:
            self._tracemw_exchange.abandon()


def _ending(chunks: Iterator[Any], exchange: ClientExchange) -> Iterator[Any]:
    try:
        yield from chunks
    except Exception as error:
        exchange.failure(error)
        raise
    exchange.end()

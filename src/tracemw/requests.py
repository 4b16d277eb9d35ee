"""The door for requests: `session = trace_session(requests.Session())`, or mount a `TraceAdapter` yourself.

One CLIENT span per attempt, redirects and urllib3's own retries included, ended when the body has been read or closed.
Retries carry `http.request.resend_count`; requests has no public place that would carry it over a redirect.

A session's own adapters are traced, and not replaced: each becomes one of a class derived from its own, and so do the
pool managers and pools that it uses, when it uses them. What they have been told, and do of their own, stays.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any, Final, TypeVar, Unpack

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

from tracemw._http.client import ClientExchange, ClientOptions, ClientTracing
from tracemw._otel.guard import guarded
from tracemw._process.log import log

S = TypeVar("S", bound=requests.Session)


def trace_session(session: S, **options: Unpack[ClientOptions]) -> S:
    """Trace the calls of a session and return it; its adapters stay the objects that they are.

    Adapters that are mounted later are traced too. One that is traced already is not traced twice, and takes the
    options given now. An adapter without connection pools, of a class not derived from `requests.adapters.HTTPAdapter`,
    gets one span around each `send`.

    Args:
        session: A session, of a class derived from `requests.Session` too.
        **options: See `tracemw._http.client.ClientTracing`.

    Raises:
        TypeError: for what is no session of requests, and for an unknown option.
        ValueError: for a value of an option that is not accepted.
    """
    if not isinstance(session, requests.Session):
        raise TypeError(f"tracemw.requests.trace_session takes a requests.Session, not {_shown(session)}")
    tracing = ClientTracing(**options)
    adapters = session.adapters
    for adapter in list(adapters.values()):
        _trace(adapter, tracing, options)
    if isinstance(adapters, _Adapters):
        adapters.tracing = (adapters.tracing or tracing).but(**options)
    elif type(adapters) is OrderedDict:  # and not a mapping that the session's class has made for itself
        session.adapters = _Adapters(tracing, adapters)
    return session


class _Adapters(OrderedDict[str, Any]):
    """The adapters of a traced session: each is traced as soon as it is mounted."""

    tracing: ClientTracing | None = None

    def __init__(self, tracing: ClientTracing | None = None, adapters: Mapping[str, Any] | None = None) -> None:
        self.tracing = tracing
        super().__init__(adapters or {})

    def __setitem__(self, prefix: str, adapter: Any) -> None:
        _trace(adapter, self.tracing, {})
        super().__setitem__(prefix, adapter)


def _trace(adapter: Any, tracing: ClientTracing | None, options: ClientOptions) -> None:
    """Have an adapter trace what it sends; one that does already takes the options."""
    if isinstance(adapter, _Traced):
        if options:
            adapter.tracemw_tracing = _tracing_of(adapter).but(**options)
        return
    try:
        vars(adapter)["tracemw_tracing"] = tracing
        adapter.__class__ = _traced_class(type(adapter), TraceAdapter if isinstance(adapter, HTTPAdapter) else _Sending)
    except Exception:  # a class with __slots__, a mock, ...
        log(
            logging.WARNING,
            "trace_session leaves %s alone; derive it from tracemw.requests.TraceAdapter to have it traced",
            _shown(adapter),
        )


def _traced_class(kind: Any, by: type) -> Any:
    """Return the class derived from `kind` that traces as the class `by` says, with the name that `kind` has."""
    if kind is HTTPAdapter:
        return TraceAdapter
    for derived in type.__subclasses__(kind):
        if vars(derived).get("_tracemw_of") is kind:
            return derived
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind)(kind.__name__, (by, kind), {**names, "__init__": kind.__init__, "_tracemw_of": kind})


def _shown(given: object) -> str:
    return f"{type(given).__module__}.{type(given).__qualname__}"


@functools.cache
def _by_default() -> ClientTracing:
    return ClientTracing()


def _tracing_of(adapter: _Traced) -> ClientTracing:
    return adapter.tracemw_tracing or _by_default()


class _Traced:
    """What traced adapters have in common."""

    tracemw_tracing: ClientTracing | None = None

    def __init_subclass__(cls, **options: Any) -> None:
        if "_tracemw_of" not in vars(cls):  # what is made by `_traced_class` is no news to anybody
            super().__init_subclass__(**options)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A class that is made by `_traced_class` cannot be imported where this is going to be unpickled.
        reduced = super().__reduce_ex__(protocol)
        if isinstance(reduced, str):
            return reduced
        make, arguments, *rest = reduced
        kind = vars(type(self)).get("_tracemw_of")
        if kind is not None:
            arguments = tuple(kind if argument is type(self) else argument for argument in arguments)
        return _remade, (make, arguments, self.tracemw_tracing), *rest


def _remade(make: Callable[..., Any], arguments: Iterable[Any], tracing: ClientTracing | None) -> Any:
    adapter = make(*arguments)
    if isinstance(adapter, _Traced):
        adapter.tracemw_tracing = tracing
    else:
        _trace(adapter, tracing, {})
    return adapter


class TraceAdapter(_Traced, HTTPAdapter):
    """A transport adapter that traces each attempt: `session.mount("https://", TraceAdapter())`.

    Args:
        tracer_provider: Use this provider in place of the global one.
        meter_provider: Use this provider in place of the global one.
        third_parties: Hosts whose calls are traced, and that get neither trace context nor baggage; see
            `tracemw._http.client.ClientTracing`.
        **options: The options of `requests.adapters.HTTPAdapter`, such as `max_retries`.

    Raises:
        TypeError: for an unknown option, and for one string as `third_parties`.
        ValueError: for what is no host.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        third_parties: Iterable[str] = (),
        **options: Any,
    ) -> None:
        self.tracemw_tracing = ClientTracing(
            tracer_provider=tracer_provider, meter_provider=meter_provider, third_parties=third_parties
        )
        super().__init__(**options)

    # The ways by which an adapter comes to its connection pools: its manager, the managers for proxies, its own method.

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Return the manager for a proxy, with connection pools that see each attempt."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        _trace_manager(manager)
        return manager

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return a connection pool that sees each attempt."""
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        if not isinstance(pool, _TracedPool):
            _trace_pool(pool)
        return pool

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one prepared request."""
        if not isinstance(self.poolmanager, _TracedManager):
            _trace_manager(self.poolmanager)
        attempts = _Attempts(_tracing_of(self), request.method or "GET", request.url or "")
        around, token = _attempts.get(), None
        # Both begin before anything else does: where a `try` begins, no other catches an interrupt.
        try:
            try:
                token = _attempts.set(attempts)
                response = super().send(request, *args, **kwargs)
            except BaseException as error:
                if attempts.current is not None:
                    attempts.current.failure(error)
                raise
            finally:
                if token is not None:
                    _attempts.reset(token)
        finally:
            if _attempts.get() is attempts:
                _attempts.set(around)
        if attempts.current is not None:
            _bind(response, attempts.current)
        return response


class _Sending(_Traced):
    """Traces an adapter that sends by other ways than the connection pools of urllib3."""

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Send one prepared request, in one span."""
        beneath: Any = super()
        exchange = _tracing_of(self).begin(request.method or "GET", request.url or "")
        if exchange is None:
            return beneath.send(request, *args, **kwargs)
        traced = request
        headers = exchange.headers
        if headers:
            traced = copy.copy(request)
            traced.headers = CaseInsensitiveDict({**(request.headers or {}), **headers})
        try:
            response = exchange.run(beneath.send, traced, *args, **kwargs)
        except BaseException as error:
            exchange.failure(error)
            if getattr(error, "request", None) is traced:
                error.request = request  # type: ignore[attr-defined]
            raise
        if getattr(response, "request", None) is traced:
            response.request = request
        _note(exchange, response)
        _bind(response, exchange)
        return response


@guarded
def _note(exchange: ClientExchange, response: Any) -> None:
    exchange.response(response.status_code, _VERSIONS.get(getattr(response.raw, "version", 0)))


def _bind(response: Any, exchange: ClientExchange) -> None:
    """Have the end of a response's body end the exchange."""
    content: Any = response._content if type(response) is requests.Response else None  # noqa: SLF001
    if response.raw is None or content is not False:
        exchange.end()  # a class of an adapter's own, or a body that has been read already
    else:
        response.__class__ = _TracedResponse
        response._tracemw_exchange = exchange  # noqa: SLF001


class _Attempts:
    """The attempts at one prepared request: the connection pool starts each, the adapter hears of the last."""

    __slots__ = (
        "_callers_headers",
        "_context",
        "_count",
        "_failed_at",
        "_failure",
        "_method",
        "_tracing",
        "_url",
        "current",
    )

    def __init__(self, tracing: ClientTracing, method: str, url: str) -> None:
        self._tracing = tracing
        self._method = method
        self._url = url
        self._context = otel_context.get_current()  # urllib3 makes each retry within the attempt before
        self._count = 0
        self._failed_at: int | None = None
        self._failure: BaseException | None = None
        self._callers_headers: Any = None
        self.current: ClientExchange | None = None

    def next(self, retries: object, headers: object) -> ClientExchange | None:
        """Conclude the attempt before, by what urllib3 notes of it, and begin another with these headers.

        What lies between the two is the wait that the retry policy asks for.
        """
        self._callers_headers = headers
        history = retries.history if isinstance(retries, Retry) else ()
        if self.current is not None:
            # An adapter of somebody's own may try again as well, of which urllib3 knows nothing.
            failure = (history[-1].error if history else None) or self._failure
            if failure is not None:
                self.current.failure(failure, at=self._failed_at)
            self.current.abandon()
        self._failed_at = self._failure = None
        self.current = self._tracing.begin(self._method, self._url, resend_count=self._count, context=self._context)
        self._count += 1
        return self.current

    def traced(self, headers: Any) -> Any:
        """Return the headers that urllib3 is about to send with those that hand the trace on."""
        if self.current is None:
            return headers
        if type(headers) is dict:
            headers = CaseInsensitiveDict(headers)
        elif headers is self._callers_headers:  # urllib3 has made a copy unless the request goes through a tunnel
            headers = headers.copy()
        for name, value in self.current.headers.items():
            headers[name] = value
        return headers

    def response(self, response: Any) -> None:
        """Note the response to the current attempt."""
        if self.current is not None:
            self.current.response(response.status, _VERSIONS.get(response.version))

    def failed(self, error: BaseException) -> None:
        """Note the error of the current attempt, and its time."""
        self._failed_at = None if self.current is None else self.current.now()
        self._failure = error


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
        return exchange.run(super().urlopen, method, url, body, headers, retries, *args, **kwargs)

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
        except BaseException as error:
            attempts.failed(error)
            raise
        attempts.response(response)
        return response


class _TracedManager(PoolManager):
    """A manager that gives out connection pools which make each attempt known."""

    def connection_from_pool_key(self, *args: Any, **kwargs: Any) -> Any:
        pool = super().connection_from_pool_key(*args, **kwargs)
        if not isinstance(pool, _TracedPool):
            _trace_pool(pool)
        return pool


@guarded
def _trace_manager(manager: Any) -> None:
    if isinstance(manager, PoolManager) and not isinstance(manager, _TracedManager):
        manager.__class__ = _traced_class(type(manager), _TracedManager)


@guarded
def _trace_pool(pool: Any) -> None:
    if isinstance(pool, HTTPConnectionPool):  # and no stand-in of a test
        pool.__class__ = _traced_class(type(pool), _TracedPool)


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

"""The door for requests: `session = trace_session(requests.Session())`, or mount a `TraceAdapter` yourself.

Each attempt gets a CLIENT span: redirects and the retries of urllib3 too. The span ends when the body has been read or
closed. Retries carry `http.request.resend_count`; requests has no public place that would carry it over a redirect.

A session keeps its adapters, with their settings and their own behaviour. Only the class of each adapter is replaced,
by a derived class that traces. Pool managers and pools follow when an adapter uses them.
"""

from __future__ import annotations

import copy
import functools
import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar, Unpack

try:
    import requests
except ImportError as error:
    raise ImportError("tracemw.requests needs requests: pip install 'tracemw[requests]'") from error

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict

from tracemw._http.client import ClientExchange, ClientOptions, ClientTracing
from tracemw._http.options import refuse_unknown
from tracemw._otel.context import current_context
from tracemw._otel.guard import guarded
from tracemw._process.log import log
from tracemw._urllib3.attempts import VERSIONS, Attempts
from tracemw._urllib3.chunks import ending
from tracemw._urllib3.classes import change_class, traced_class, untraced_class
from tracemw._urllib3.outgoing import AT_ONCE, Outgoing
from tracemw._urllib3.pools import PoolClasses, trace_manager, trace_pool

S = TypeVar("S", bound=requests.Session)


def trace_session(session: S, **options: Unpack[ClientOptions]) -> S:
    """Trace the calls of a session, and return it. The session keeps its adapters.

    Adapters that are mounted later are traced, too. A traced adapter is not traced twice: it takes the new options. An
    adapter whose class is not derived from `requests.adapters.HTTPAdapter` has no connection pools, and gets one span
    around each `send`.

    Args:
        session: A `requests.Session`, or an instance of a derived class.
        **options: See `tracemw.ClientOptions`.

    Raises:
        TypeError: for anything but a session of requests, and for an unknown option.
        ValueError: for an option whose value is not accepted.
    """
    if not isinstance(session, requests.Session):
        raise TypeError(f"tracemw.requests.trace_session takes a requests.Session, not {_shown(session)}")
    refuse_unknown("trace_session", options, ClientOptions)
    tracing = ClientTracing(**options)
    adapters = session.adapters
    for adapter in list(adapters.values()):
        _trace(adapter, tracing, options)
    if isinstance(adapters, _Adapters):
        adapters.tracing = (adapters.tracing or tracing).but(**options)
    elif type(adapters) is OrderedDict:  # a session's class may have a mapping of its own: that stays
        session.adapters = _Adapters(tracing, adapters)
    return session


class _Adapters(OrderedDict[str, Any]):
    """The adapters of a traced session. Each adapter is traced as soon as it is mounted."""

    tracing: ClientTracing | None = None

    def __init__(self, tracing: ClientTracing | None = None, adapters: Mapping[str, Any] | None = None) -> None:
        self.tracing = tracing
        super().__init__(adapters or {})

    def __setitem__(self, prefix: str, adapter: Any) -> None:
        _trace(adapter, self.tracing, {})
        super().__setitem__(prefix, adapter)


def _trace(adapter: Any, tracing: ClientTracing | None, options: ClientOptions) -> None:
    """Have an adapter trace what it sends. An adapter that traces already takes the options."""
    if isinstance(adapter, _Traced):
        if options:
            adapter.tracemw_tracing = _tracing_of(adapter).but(**options)
        return
    try:
        vars(adapter)["tracemw_tracing"] = tracing
        change_class(adapter, _class_that_traces(type(adapter)))
    except Exception:  # a class with __slots__, a mock, ...
        log(
            logging.WARNING,
            "trace_session leaves %s alone; derive it from tracemw.requests.TraceAdapter to have it traced",
            _shown(adapter),
        )


def _class_that_traces(kind: type) -> Any:
    if kind is HTTPAdapter:
        return TraceAdapter
    if not issubclass(kind, HTTPAdapter):
        return traced_class(kind, _Sending)
    own, usual = (getattr(each, "get_connection_with_tls_context", None) for each in (kind, HTTPAdapter))
    return traced_class(kind, TraceAdapter if own is usual else _Choosing)


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
        if untraced_class(cls) is None:  # a class that `traced_class` has made is hidden from the application's classes
            super().__init_subclass__(**options)

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Nobody can import a class that `traced_class` has made. So the pickle names the class that the adapter had.
        reduced = super().__reduce_ex__(protocol)
        if isinstance(reduced, str):
            return reduced
        make, arguments, *rest = reduced
        kind = untraced_class(type(self))
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
        third_parties: Hosts that get neither trace context nor baggage; see `tracemw.ClientOptions`.
        **options: The options of `requests.adapters.HTTPAdapter`, such as `max_retries`.

    Raises:
        TypeError: for an unknown option, and for one string as `third_parties`.
        ValueError: for a third party that is no host.
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

    # An adapter gets connection pools from its manager, from the managers for proxies, or by a method of its own; see
    # `_Choosing`.

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Return the manager for a proxy, with connection pools that see each attempt."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        trace_manager(manager)
        return manager

    def send(self, request: requests.PreparedRequest, *args: Any, **kwargs: Any) -> requests.Response:
        """Send one prepared request."""
        manager = self.poolmanager  # which may be anew, or have pools of other classes now
        if type(getattr(manager, "pool_classes_by_scheme", None)) is not PoolClasses:
            trace_manager(manager)
        attempts = Attempts(self.tracemw_tracing or _by_default(), request.method or "GET", request.url or "")
        response = attempts.run(functools.partial(super().send, request, *args, **kwargs))
        if attempts.current is not None:
            _bind(response, attempts.current)
        return response


class _Choosing(TraceAdapter):
    """Traces an adapter that has a method of its own by which it chooses a connection pool."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return a connection pool that sees each attempt."""
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        trace_pool(pool)
        return pool


class _Sending(_Traced):
    """Traces an adapter that does not send through connection pools of urllib3."""

    def send(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """Send one prepared request, in one span."""
        beneath: Any = super()
        exchange = _tracing_of(self).begin(request.method or "GET", request.url or "")
        if exchange is None:
            return beneath.send(request, *args, **kwargs)
        traced, body = request, request.body
        gives_chunks = body.__class__ not in AT_ONCE and isinstance(body, Iterator) and not hasattr(body, "read")
        if exchange.headers or gives_chunks:
            traced = copy.copy(request)
            traced.headers = CaseInsensitiveDict({**(request.headers or {}), **exchange.headers})
        if gives_chunks:  # nobody knows what the adapter does with any other body, such as a file
            traced.body = Outgoing(body, current_context())
        try:
            response = exchange.run(functools.partial(beneath.send, traced, *args, **kwargs))
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
    exchange.response(response.status_code, VERSIONS.get(getattr(response.raw, "version", 0)))


def _bind(response: Any, exchange: ClientExchange) -> None:
    """Have the end of a response's body end the exchange."""
    if exchange.has_ended():
        return
    content: Any = response._content if type(response) is requests.Response else None  # noqa: SLF001
    if response.raw is None or content is not False:
        exchange.end()  # the class is not that of requests, or the body has been read already
    else:
        response.__class__ = _TracedResponse
        response._tracemw_exchange = exchange  # noqa: SLF001


class _TracedResponse(requests.Response):
    """A response that ends its attempt's span when its body has been read or closed."""

    _tracemw_exchange: ClientExchange | None = None

    def iter_content(self, chunk_size: int | None = 1, decode_unicode: bool = False) -> Iterator[Any]:
        chunks = super().iter_content(chunk_size, decode_unicode)
        exchange = self._tracemw_exchange
        return chunks if exchange is None or exchange.has_ended() else ending(chunks, exchange)

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self._tracemw_exchange is not None:
                self._tracemw_exchange.end()

    def __reduce_ex__(self, protocol: Any) -> Any:
        # A copied or pickled response is a plain one. Its body has been read, and its reader may not have tracemw.
        return requests.Response, (), self.__getstate__()

    def __del__(self) -> None:
        if self._tracemw_exchange is not None:
            self._tracemw_exchange.abandon()

"""The options of a server door, checked once."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter, Signature, cleandoc, signature
from typing import Any, TypedDict, TypeVar

from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import Span, TracerProvider

from tracemw._http import semconv
from tracemw._http.facts import RequestFacts
from tracemw._http.proxies import X_FORWARDED_FOR, TrustedProxies
from tracemw._http.skip import Skip, SkipRule
from tracemw.config import known_methods

T = TypeVar("T")


class ServerOptions(TypedDict, total=False):
    """The keyword options that every `TraceMiddleware` takes.

    A door checks its options when it is made. An unknown option, or one of the wrong type, is a TypeError. A header
    name, `skip` rule or proxy that is not valid is a ValueError.

    Attributes:
        skip: What is not traced, beside health checks: paths (`"/internal/status"`), globs (`"/static/*"`, where `*`
            crosses slashes), predicates on `tracemw.RequestFacts`, or several of them. With None, health checks are
            traced, too.
        span_name: Names the span, in place of `{method} {route}`. Called when the request ends, with the request's
            facts and its route (None when unknown).
        response_header: The response header that tells the caller the trace id, by default `x-trace-id`. If the
            application has set that header, its value stays. None turns the header off.
        on_request: Called when the span has started, with the span and the request's facts.
        on_response: Called before the span ends, with the span, the facts and the status (None when none was sent).
        capture_request_headers: Names of request headers to record, as `http.request.header.<name>`. Headers that are
            credentials, such as `authorization` and `cookie`, show `[REDACTED]`, unless
            `init(redaction=Redaction(headers=...))` names them.
        capture_response_headers: Names of response headers to record, as `http.response.header.<name>`.
        trust_inbound: Whether the caller's trace goes on here. Say False at a public edge: a new trace starts, with a
            link to the caller's span, and the caller's baggage is dropped.
        trusted_proxies: Addresses and networks of the trusted proxies (`"10.0.0.0/8"`), `"unix"` for connections over a
            Unix socket, `"*"` for any.
        proxy_header: The one header that trusted proxies write: `x-forwarded-for`, together with `x-forwarded-proto`,
            `-host` and `-port`; `forwarded` (RFC 7239); or another header with the client's address, such as
            `cf-connecting-ip`. Name the one that your proxies write themselves. They pass on all others as the client
            sent them.
        tracer_provider: Use this provider in place of the global one.
        meter_provider: Use this provider in place of the global one.
    """

    skip: Skip
    span_name: Callable[[RequestFacts, str | None], str] | None
    response_header: str | None
    on_request: Callable[[Span, RequestFacts], object] | None
    on_response: Callable[[Span, RequestFacts, int | None], object] | None
    capture_request_headers: Iterable[str]
    capture_response_headers: Iterable[str]
    trust_inbound: bool
    trusted_proxies: str | Iterable[str]
    proxy_header: str
    tracer_provider: TracerProvider | None
    meter_provider: MeterProvider | None


def shows_options(door: type[T]) -> type[T]:
    """Have `help` show the options that a door takes, in its signature and in its docstring."""
    init: Any = door.__init__  # and not the class: a class that a user derives may take other arguments
    own = [each for each in signature(init).parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    init.__signature__ = Signature([*own, *signature(ServerSettings).parameters.values()])
    told = cleandoc(ServerOptions.__doc__ or "").partition("Attributes:\n")[2]
    door.__doc__ = cleandoc(door.__doc__ or "").replace("    **options: See `tracemw.ServerOptions`.", told.rstrip())
    return door


class ServerSettings:
    """The options of one server door (see `ServerOptions`), checked, and prepared for each request.

    Raises:
        TypeError: for an option of the wrong type.
        ValueError: for a header name, `skip` rule or proxy that is not valid.
    """

    def __init__(
        self,
        *,
        skip: Skip = (),
        span_name: Callable[[RequestFacts, str | None], str] | None = None,
        response_header: str | None = "x-trace-id",
        on_request: Callable[[Span, RequestFacts], object] | None = None,
        on_response: Callable[[Span, RequestFacts, int | None], object] | None = None,
        capture_request_headers: Iterable[str] = (),
        capture_response_headers: Iterable[str] = (),
        trust_inbound: bool = True,
        trusted_proxies: str | Iterable[str] = (),
        proxy_header: str = X_FORWARDED_FOR,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
    ) -> None:
        del tracer_provider, meter_provider  # whoever starts spans takes care of these
        for option, hook in (("span_name", span_name), ("on_request", on_request), ("on_response", on_response)):
            if hook is not None and not callable(hook):
                raise TypeError(f"{option} takes a function, not {type(hook).__name__}")
        if not isinstance(trust_inbound, bool):
            raise TypeError(f"trust_inbound takes True or False, not {trust_inbound!r}")
        if response_header is not None and not semconv.is_header_name(response_header):
            raise ValueError(
                f"response_header={response_header!r} is not accepted; use the name of an HTTP header, or None for none"
            )
        self.response_header = response_header.lower() if response_header else None
        self.response_header_octets = (self.response_header or "").encode()
        self.span_name = span_name
        self.on_request = on_request
        self.on_response = on_response
        self.has_hooks = on_request is not None or on_response is not None
        self.names_or_hooks = self.has_hooks or span_name is not None
        """Whether functions of the user's name the span, or look at the span."""
        self.known_methods = known_methods()
        self.captured_from_request = semconv.HeaderCapture("request", capture_request_headers)
        self.captured_from_response = semconv.HeaderCapture("response", capture_response_headers)
        self.captures_request = bool(self.captured_from_request)
        self.captures_response = bool(self.captured_from_response)
        self.trust_inbound = trust_inbound
        self.proxies = TrustedProxies(trusted_proxies, proxy_header) or None
        """The trusted proxies; None without any."""
        self.skips = SkipRule(skip).matches
        """Tells whether a request is not traced."""

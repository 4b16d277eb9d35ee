"""The server that is asked for traces, and whether the canary is there."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Final, NamedTuple
from urllib.error import HTTPError
from urllib.request import HTTPSHandler, Request, build_opener

from tracemw._export.exporter import Secrets
from tracemw.analysis.load.query_api import NoRedirects, QueryApi
from tracemw.analysis.load.unreadable import NoTraceError, NotTracesError, ServerError
from tracemw.analysis.model import Trace
from tracemw.config import Arguments, Config
from tracemw.config.headers import headers_for
from tracemw.config.tls import Tls
from tracemw.doctor.canary import Canary
from tracemw.doctor.diagnosis import Check, failure, ok, unknown
from tracemw.doctor.reaching import QUERY_PORT

_PAUSE: Final = 0.25
_PATIENCE: Final = 3.0
"""Seconds that one answer may take while a server is looked for."""

_ONE_ANSWER: Final = 5.0
"""Seconds that one answer may take later on."""

_LONGEST: Final = 10.0
"""Seconds until a trace that was acknowledged must be there by its id. Tempo takes 20 milliseconds."""

HOW_TO_TELL: Final = "--url names Tempo's query API, such as http://tempo:3200"


class Server(NamedTuple):
    """A server that is asked for traces."""

    api: QueryApi
    date: str | None
    """What time it says it is, as the header `Date` has it."""


def find_server(url: str | None, config: Config, tenant: str | None, deadline: float) -> Server | None:
    """Return the server that is asked for traces; None where none is known.

    Without a URL, that is the host that spans are sent to: the viewer answers on the same port, and Tempo on port 3200.

    Raises:
        ValueError: for a URL, tenant, header or certificate that is not accepted.
    """
    endpoint = config.traces.endpoint
    context = config.traces.tls.context
    if url is not None:
        api = _api(url, config, tenant, deadline)
        answer = _echo(url.rstrip("/"), context, {}, deadline)
        return Server(api, None if answer is None else answer.date)
    guesses: dict[str, Mapping[str, str]] = {}
    if config.traces.protocol != "grpc":  # who listens there has got the headers with the canary
        guesses[f"{endpoint.scheme}://{endpoint.authority}"] = config.traces.headers
    guesses.setdefault(endpoint.on_port(QUERY_PORT), {})
    for guess, headers in guesses.items():
        answer = _echo(guess, context, headers, deadline)
        if answer is not None and answer.is_echo:
            return Server(_api(guess, config, tenant, deadline), answer.date)
    return None


def _api(url: str, config: Config, tenant: str | None, deadline: float) -> QueryApi:
    headers = dict(config.traces.headers)
    if tenant is not None:
        headers |= headers_for("traces", "http/protobuf", None, tenant)
    context = config.traces.tls.context
    if context is None and url.startswith("https:"):
        context = Tls.resolve("traces", Arguments(), needs_context=True).context
    timeout = max(min(deadline - time.monotonic(), _ONE_ANSWER), 1.0)
    return QueryApi(url, headers=headers, context=context, timeout=timeout)


class _Echo(NamedTuple):
    is_echo: bool
    """Whether Tempo's query API answers."""
    date: str | None


def _echo(url: str, context: ssl.SSLContext | None, headers: Mapping[str, str], deadline: float) -> _Echo | None:
    """Return what a server says to `/api/echo`; None for no answer. Headers go to that server only."""
    opener = build_opener(NoRedirects(), *([HTTPSHandler(context=context)] if context else []))
    request = Request(f"{url}/api/echo", headers=dict(headers))  # noqa: S310  of an endpoint, or checked
    try:
        with opener.open(request, timeout=max(min(deadline - time.monotonic(), _PATIENCE), 0.1)) as response:
            return _Echo(response.read(100).strip() == b"echo", response.headers.get("Date"))
    except HTTPError as error:
        with error:
            return _Echo(is_echo=False, date=error.headers.get("Date"))
    except (OSError, HTTPException, ValueError):
        return None


def check_arrival(api: QueryApi | None, canary: Canary, config: Config, deadline: float) -> Check:
    """Ask for the canary by its id until it is there."""
    if api is None:
        return unknown(
            "arrival",
            f"nobody was asked for the span: {config.traces.endpoint.host} answers no queries on the port of spans, or "
            f"on {QUERY_PORT}",
            f"{HOW_TO_TELL}; or look for trace {canary.trace_id} in the backend",
        )
    until = min(deadline, time.monotonic() + _LONGEST)
    while True:
        try:
            trace = api.trace(canary.trace_id)
        except NoTraceError:
            if time.monotonic() + _PAUSE > until:
                return failure(
                    "arrival",
                    f"the backend has accepted span {canary.trace_id}, and does not have it",
                    "is this the right tenant and the right query URL (--tenant, --url)? Does a collector on the way "
                    "sample or drop? See the backend's tempo_discarded_spans_total",
                )
            time.sleep(_PAUSE)
        except (ServerError, NotTracesError) as error:
            said = Secrets(config.traces.headers).hidden_in(str(error))
            return failure("arrival", f"the backend cannot be asked for the span: {said}", HOW_TO_TELL)
        else:
            return _found(trace, canary, config)


def _found(trace: Trace, canary: Canary, config: Config) -> Check:
    expected, service = config.service, trace.root.service
    if expected is not None and service != expected:
        return failure(
            "arrival",
            f"trace {canary.trace_id} is there, under the service name {service!r} in place of {expected!r}",
            "a collector on the way renames services: see its processors",
        )
    return ok("arrival", f"the backend has the span: trace {canary.trace_id} of service {service}")

"""Who may have this service record: a caller from outside that sets the sampled flag has every request recorded.

The door follows the caller's trace unless it has `trust_inbound=False`, and a parent-based sampler then follows the
caller's decision (W3C Trace Context, "Sampled flag": denial of service).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator, Sequence
from ipaddress import ip_address
from typing import Any, Final, NamedTuple

from tracemw.analysis.model import SERVER, Trace
from tracemw.config import Config
from tracemw.doctor.diagnosis import Check, hint, ok, unknown, warning

_NAME: Final = "sampled flag"
_REMEDY: Final = (
    "if this service stands at a public edge, say TraceMiddleware(trust_inbound=False): a new trace starts there, with "
    "a link to the caller's"
)


def check_trust(config: Config, app: object, traces: Sequence[Trace]) -> Check:
    """Say whether callers from outside can have more recorded than the ratio says.

    Args:
        config: The settings of the process.
        app: The application; None when it is not known.
        traces: Recent traces, which tell whose requests begin a trace here.
    """
    if not config.sampler.startswith("parentbased_"):
        return ok(_NAME, "the sampler decides about each request, whatever the caller has decided")
    if config.sampler == "parentbased_always_on" or config.ratio >= 1:
        return ok(_NAME, "all new traces are sampled: a caller's sampled flag adds nothing")
    doors = list(_doors(app)) if app is not None else []
    if doors and not any(door.trusts for door in doors):
        return ok(_NAME, "the door trusts no caller: trust_inbound=False")
    outside = _from_outside(traces, config.service)
    share = f"{config.ratio:g} of new traces"
    if outside:
        return warning(
            _NAME,
            f"requests come from {outside}, which is outside: with the sampled flag in traceparent, it has all of them "
            f"recorded, and not {share}",
            _REMEDY,
        )
    if doors:
        follows = (
            f"the door follows every caller: one that sets the sampled flag has all requests recorded, not {share}"
        )
        if any(door.trusts and door.is_behind_proxies for door in doors):
            return warning(_NAME, f"{follows}; and it is behind proxies, as at an edge", _REMEDY)
        return hint(_NAME, follows, _REMEDY)
    return unknown(
        _NAME,
        f"{share} are sampled, unless the caller's flag says so; whether the door trusts callers stands in the code",
        "name the application: tracemw doctor module:app",
    )


class _Door(NamedTuple):
    trusts: bool
    """Whether the caller's trace goes on here."""
    is_behind_proxies: bool


def _doors(app: Any) -> Iterator[_Door]:
    """Give every door that the application has, or will have when its server starts."""
    for entry in getattr(app, "user_middleware", None) or ():  # Starlette and FastAPI construct them at the start
        if str(getattr(getattr(entry, "cls", None), "__module__", "")).startswith("tracemw."):
            options = getattr(entry, "kwargs", {})
            yield _Door(options.get("trust_inbound", True), bool(options.get("trusted_proxies")))
    for each in gc.get_objects():  # others construct their door at once
        kind = type(each)
        if kind.__module__ == "tracemw._http.settings" and kind.__name__ == "ServerSettings":
            yield _Door(each.trust_inbound, each.proxies is not None)


def _from_outside(traces: Sequence[Trace], service: str | None) -> str:
    """Return the address of a client on the internet that a request came from; empty for none."""
    for trace in traces:
        for span in trace.spans:
            if span.kind == SERVER and span.service == service:
                try:
                    if ip_address(str(span.attributes.get("client.address"))).is_global:
                        return str(span.attributes["client.address"])
                except ValueError:
                    continue
    return ""

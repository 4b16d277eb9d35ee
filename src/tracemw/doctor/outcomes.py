"""What the backend did with the canary, in words, and what to do about it."""

from __future__ import annotations

from typing import Final

from tracemw._export.answers import wants_tenant
from tracemw._export.connection import Reply
from tracemw._export.exporter import AttemptResult, Outcome
from tracemw.config import Backend
from tracemw.doctor.diagnosis import Check, failure, ok, warning
from tracemw.doctor.other_protocol import Listens, what_listens

_DOUBTFUL: Final = ("HTTP 404", "HTTPS")
"""Signs of a server that is not for spans: there is no such path, or it wants TLS and says so in plain HTTP."""

_NO_HTTP2: Final = "http1.x server"
"""What grpc says of a server that speaks HTTP/1, beside a status of the system's errors that may mislead."""

_SILENT: Final = "the backend may still drop what it accepts: see its log and its metrics"
_WHY: Final = "its message, or its log, says why; is this an OTLP backend?"
_LOGIN: Final = (
    "does a proxy with a login stand before the backend? Have it let /v1/traces through, or send what it asks for by "
    "OTEL_EXPORTER_OTLP_HEADERS; else name the backend's own address in the endpoint"
)


def check_canary(outcome: Outcome, seconds: float, reply: Reply | None, backend: Backend, deadline: float) -> Check:
    """Say what the backend did with the canary.

    Args:
        outcome: What the exporter makes of it.
        seconds: How long the exporter took.
        reply: The answer to a request without spans; None without one.
        backend: Where spans go.
        deadline: When further questions must have ended, by the monotonic clock.
    """
    said = f" ({outcome.error})" if outcome.error else ""
    if outcome.answer is AttemptResult.ACCEPTED:
        return _accepted(outcome, seconds, reply)
    if outcome.answer is AttemptResult.NOT_SENT and "ALERT" in outcome.error:
        wants = "wants a client certificate"
        if backend.tls.client_certificate is not None:
            wants = "does not accept the client certificate that it is shown"
        return failure("canary", f"the backend {wants}{said}", outcome.remedy)
    if wants_tenant(outcome.error):
        return failure("canary", f"the backend wants to know the tenant{said}", outcome.remedy)
    if outcome.answer is AttemptResult.BUSY:
        return _busy(outcome, said)
    known = _by_status(outcome, said) if _NO_HTTP2 not in outcome.error else None
    if known is not None and not any(sign in outcome.error for sign in _DOUBTFUL):
        return known
    if _is_late(outcome):
        return failure(
            "canary",
            f"the span was sent, and no whole answer came within {seconds:.1f} s: the backend hangs, or is very slow",
            "see the backend's load and log; init(timeout=...) gives it more time",
        )
    listens = what_listens(backend, deadline) or ("HTTP" if _NO_HTTP2 in outcome.error else "")
    mixed_up = _mixed_up(listens, outcome, backend)
    if mixed_up is not None:
        return mixed_up
    if known is not None:
        return known
    return _unanswered(outcome, said)


def _is_late(outcome: Outcome) -> bool:
    return any(sign in outcome.error for sign in ("timed out", "TimeoutError", "DEADLINE_EXCEEDED"))


def _accepted(outcome: Outcome, seconds: float, reply: Reply | None) -> Check:
    if outcome.rejected:
        why = f": {outcome.error}" if outcome.error else ", without a word why"
        return failure("canary", f"the backend takes the request, and rejects the span in it{why}", _WHY)
    if reply is not None and _is_cut_short(reply):
        return warning("canary", "the backend accepts a span, and its answer is cut short", _SILENT)
    if reply is not None and 200 <= reply.status < 300 and not _is_otlp(reply):
        return warning(
            "canary",
            f"HTTP {reply.status} came back, with a body that is no answer of OTLP: spans may go nowhere",
            "is this really a trace backend? Do endpoint and path lead to one?",
        )
    if outcome.error:
        return warning("canary", f"the backend accepts a span, and says: {outcome.error}", _SILENT)
    return ok("canary", f"the backend accepts a span, in {seconds * 1000:.0f} ms")


def _is_cut_short(reply: Reply) -> bool:
    declared = reply.headers.get("Content-Length", "")
    return declared.isdecimal() and int(declared) > len(reply.body)


def _is_otlp(reply: Reply) -> bool:
    """Tell whether a body may be an `ExportTraceServiceResponse`: empty, a partial success, or JSON."""
    return reply.body[:1] in (b"", b"\x0a", b"{")


def _busy(outcome: Outcome, said: str) -> Check:
    if "429" not in outcome.error and "RESOURCE_EXHAUSTED" not in outcome.error:
        return failure(
            "canary",
            f"the backend is not available for now{said}",
            "is it starting, or is a proxy before it without a healthy backend? See its log, and try again",
        )
    pause = f", and asks for a pause of {outcome.retry_after:g} s" if outcome.retry_after else ""
    return failure(
        "canary",
        f"the backend limits the rate: it takes no more for now{pause}{said}",
        "raise the limit there (in Tempo: rate_limit_bytes and burst_size_bytes of the overrides), or sample less",
    )


def _by_status(outcome: Outcome, said: str) -> Check | None:
    """Say what a refusal for good means, where the exporter knows."""
    error = outcome.error
    if error.startswith(("HTTP 401", "HTTP 403", "UNAUTHENTICATED", "PERMISSION_DENIED")):
        return failure(
            "canary", f"the backend lets these spans not in: credentials are missing or wrong{said}", outcome.remedy
        )
    if "HTTP 407" in error or "proxy" in error.lower():
        return failure("canary", f"the proxy lets nothing through{said}", outcome.remedy)
    if "web page" in error:
        return failure("canary", "a web page came back, as of a proxy or a login, and no answer of OTLP", _LOGIN)
    if outcome.answer is AttemptResult.TOO_LARGE:
        return failure("canary", f"the backend finds one span too large{said}", outcome.remedy)
    if outcome.remedy and "tenant" in outcome.remedy and outcome.answer is AttemptResult.REJECTED:
        return failure("canary", f"the backend does not accept the tenant{said}", outcome.remedy)
    if "which is not followed" in error:
        return failure("canary", f"the backend refuses the request{said}", _LOGIN)
    if "HTTP 404" in error:
        return failure("canary", f"there is nothing at this path{said}", outcome.remedy)
    if error.startswith("HTTP ") or outcome.answer is AttemptResult.INVALID:
        return failure("canary", f"the backend refuses the request{said}", outcome.remedy or _WHY)
    return None


def _mixed_up(listens: Listens, outcome: Outcome, backend: Backend) -> Check | None:
    """Say so where something else listens there than what the settings expect."""
    where, is_grpc = backend.endpoint.host_and_port, backend.protocol == "grpc"
    if listens == "TLS":
        return failure(
            "canary", f"{where} speaks TLS, and the endpoint is no https:// URL", "write https:// in the endpoint"
        )
    if listens == "Tempo's query API":
        return failure(
            "canary",
            f"{where} is the port of Tempo's query API, which takes no spans ({outcome.error})",
            f"send to port {'4317' if is_grpc else '4318'} of that host",
        )
    if listens == "gRPC" and not is_grpc:
        return failure(
            "canary",
            f"{where} speaks gRPC, and the protocol is http/protobuf",
            "set OTEL_EXPORTER_OTLP_PROTOCOL=grpc, or send to the HTTP port, 4318 by custom",
        )
    if listens == "HTTP" and is_grpc:
        return failure(
            "canary",
            f"{where} speaks HTTP/1.1, and the protocol is grpc",
            "set OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf, or send to the gRPC port, 4317 by custom",
        )
    return None


def _unanswered(outcome: Outcome, said: str) -> Check:
    error = outcome.error
    if any(sign in error for sign in ("reset", "Broken pipe", "RemoteDisconnected", "closed")):
        return failure(
            "canary",
            f"the connection breaks in the midst of the request, and no answer comes{said}",
            "does the backend crash, or does a proxy or load balancer on the way end connections? See their logs",
        )
    if "not HTTP" in error:
        return failure("canary", "what comes back is no HTTP", outcome.remedy)
    return failure("canary", f"the span does not arrive{said}", outcome.remedy or _WHY)

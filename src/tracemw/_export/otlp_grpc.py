"""The exporter over gRPC. To import this module loads grpc, which takes 80 ms. Only users of gRPC pay for that."""

from __future__ import annotations

import errno
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any, Final

import grpc
import grpc._channel  # else grpc loads it in the worker's thread, and a fork in the midst of that locks up the child

from tracemw._export import exporter
from tracemw._export.answers import has_wrong_tenant, is_too_large, partial_success, plain, retry_delay, wants_tenant
from tracemw._export.exporter import AttemptResult, Exporter, ExportRequest, Outcome, Secrets
from tracemw._process.forks import begin_anew_with
from tracemw._process.native import make_lock
from tracemw._version import __version__
from tracemw.config import Backend
from tracemw.config.proxy import Proxy

Certificates = tuple[bytes | None, bytes | None, bytes | None]

_METHODS: Final = {
    "traces": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}

_ANSWERED: Final = frozenset({"ABORTED", "OUT_OF_RANGE", "DATA_LOSS"})
"""Retryable statuses (OTLP specification) that only a backend gives."""

_UNANSWERED: Final = frozenset({"CANCELLED", "DEADLINE_EXCEEDED", "UNAVAILABLE"})
"""Retryable statuses that grpc itself gives, too, when a connection breaks. Then the backend's answer is unknown."""

_INVALID: Final = frozenset({"INVALID_ARGUMENT", "FAILED_PRECONDITION"})
"""The request is at fault. The reason may be one of its spans, or the trace of one."""

_NOT_CONNECTED: Final = ("failed to connect to all addresses", "errors resolving", "DNS resolution failed")
_PROXY: Final = "HTTP proxy returned response code"
_HANDSHAKE: Final = ("certificate", "handshake", "SSL", "TLS")

_OPTIONS: Final = (
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel waits for a connection as long as the old one
    ("grpc.primary_user_agent", f"tracemw/{__version__}"),
)


_LONGEST_WAIT: Final = 1.0
"""Seconds that a fork waits for a call that is under way."""

_of_parents: Final[list[grpc.Channel | None]] = []

_NEEDED_TO_START: Final = 32
"""Descriptors that must be free when grpc starts. With too few, grpc aborts the process."""

_idle: list[grpc.Channel] = []
"""A channel that nobody uses or closes. Without any channel, grpc would end, and would have to start anew."""


class OtlpGrpcExporter(Exporter):
    """Send spans, or metrics, to a backend over OTLP/gRPC.

    Args:
        backend: Where to send, and how.
        signal: `traces` or `metrics`.
        certificates: The CA certificates to trust, the client key and the client certificate, as PEM. Without the
            first, grpc's own are trusted. `backend` knows only the files, and this object is made late, when the
            process may have given up the right to read them.
    """

    def __init__(
        self, backend: Backend, *, signal: str = "traces", certificates: Certificates = (None, None, None)
    ) -> None:
        self._method = _METHODS[signal]
        self._target = backend.endpoint.host_and_port
        self._is_secure = backend.endpoint.is_secure
        self._certificates = certificates
        self._secrets = Secrets(backend.headers)
        self._metadata = tuple(backend.headers.items())
        compresses = backend.compression == "gzip"
        self._compression = grpc.Compression.Gzip if compresses else grpc.Compression.NoCompression
        self._options = (*_OPTIONS, _by_way_of(backend.proxy))
        self._channel: grpc.Channel | None = None
        self._calls = _Calls()

    def send(self, request: ExportRequest, timeout: float) -> Outcome:
        """Call once."""
        with self._calls:
            if self._channel is None:
                try:
                    _start_grpc()
                except OSError as error:
                    said = f"{error.strerror}: grpc does not start"
                    return Outcome(AttemptResult.NOT_SENT, error=said, remedy=exporter.TO_HAVE_DESCRIPTORS)
                self._channel = self._connected()
            export = self._channel.unary_unary(self._method)  # without serializers, bytes go in and come out
            try:
                answer: bytes = export(request.body, timeout, metadata=self._metadata)
            except grpc.RpcError as error:
                outcome = _outcome(error, self._secrets)
                if outcome.answer in (AttemptResult.NOT_SENT, AttemptResult.UNKNOWN):
                    self.close()  # grpc waits before an old channel connects again, and longer each time
                return outcome
        rejected, message = partial_success(answer)
        message = self._secrets.hidden_in(message)
        return Outcome(AttemptResult.ACCEPTED, rejected=min(rejected, request.spans), error=message)

    def close(self) -> None:
        """Close the channel. A further attempt would open another."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def leave_to_parent(self) -> None:
        """Let go of the connection in a process that has just been forked. The parent goes on using it."""
        _of_parents.append(self._channel)  # kept: to delete a channel takes its threads, which are in the parent
        self._channel = None

    def _connected(self) -> grpc.Channel:
        if not self._is_secure:
            return grpc.insecure_channel(self._target, self._options, self._compression)
        credentials = grpc.ssl_channel_credentials(*self._certificates)
        return grpc.secure_channel(self._target, credentials, self._options, self._compression)


def _start_grpc() -> None:
    """Start grpc, once, for as long as the process lasts.

    Raises:
        OSError: when there are too few descriptors left.
    """
    if _idle:
        return
    free: list[int] = []
    try:
        for _ in range(_NEEDED_TO_START):
            free.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))  # noqa: PERF401  what has been opened is closed
    finally:
        for descriptor in free:
            os.close(descriptor)
    _idle.append(grpc.insecure_channel("127.0.0.1:1", _OPTIONS))  # a channel connects when it is used


class _Calls:
    """Makes a fork wait a while for the end of a call. A child that is forked during a call may crash within grpc."""

    def __init__(self) -> None:
        self._lock = make_lock()
        self._forking: int | None = None
        _all_calls.add(self)

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()

    def hold(self) -> None:
        """Let a fork begin, once no call is under way."""
        if self._lock.acquire(timeout=_LONGEST_WAIT):
            self._forking = threading.get_ident()

    def go_on(self) -> None:
        """Let calls begin again, in the parent of a fork."""
        if self._forking == threading.get_ident():
            self._forking = None
            self._lock.release()

    def start_afresh(self) -> None:
        """Let calls begin in a forked child. The parent may have been within a call."""
        self._lock, self._forking = make_lock(), None


_all_calls: Final[weakref.WeakSet[_Calls]] = weakref.WeakSet()


def _for_all(step: Callable[[_Calls], None]) -> Callable[[], None]:
    def take() -> None:
        for calls in list(_all_calls):
            step(calls)

    return take


os.register_at_fork(before=_for_all(_Calls.hold), after_in_parent=_for_all(_Calls.go_on))
begin_anew_with(_for_all(_Calls.start_afresh))


def _by_way_of(proxy: Proxy | None) -> tuple[str, str | int]:
    """Return the channel's option for a proxy. Without a proxy, grpc's own variables do not count."""
    return ("grpc.http_proxy", proxy.url) if proxy else ("grpc.enable_http_proxy", 0)


def _outcome(error: Any, secrets: Secrets) -> Outcome:
    status, details = error.code().name, plain(secrets.hidden_in(error.details() or ""))
    delay = next((retry_delay(value) for key, value in _trailers(error) if key == "grpc-status-details-bin"), None)
    said = f"{status}: {details}" if details else status
    if status == "UNAVAILABLE" and details.startswith(_NOT_CONNECTED):
        is_trusted = not any(word in details for word in _HANDSHAKE)
        remedy = exporter.TO_START_ONE if is_trusted else exporter.TO_BE_TRUSTED
        if _PROXY in details:
            remedy = exporter.TO_BE_LET_THROUGH
        if "HTTP/2" in details or "http1.x" in details:
            remedy = exporter.TO_FIND_THE_WAY
        if "WRONG_VERSION_NUMBER" in details:
            remedy = exporter.TO_BE_PLAIN
        if os.strerror(errno.EMFILE) in details:
            remedy = exporter.TO_HAVE_DESCRIPTORS
        return Outcome(AttemptResult.NOT_SENT, error=said, remedy=remedy)
    if is_too_large(details):
        return Outcome(AttemptResult.TOO_LARGE, error=said, remedy=exporter.TO_BE_SMALLER)
    if wants_tenant(details) or (status in _INVALID and has_wrong_tenant(details)):
        return Outcome(AttemptResult.REJECTED, error=said, remedy=exporter.TO_NAME_THE_TENANT)
    if status in _INVALID:
        return Outcome(AttemptResult.INVALID, error=said)
    if delay is not None and (status in _UNANSWERED or status == "RESOURCE_EXHAUSTED"):
        return Outcome(AttemptResult.BUSY, retry_after=delay, error=said)
    if status in _ANSWERED:
        return Outcome(AttemptResult.BUSY, retry_after=delay or 0.0, error=said)
    if status in _UNANSWERED:
        return Outcome(AttemptResult.UNKNOWN, error=said, remedy=exporter.TO_START_ONE)
    remedy = ""
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        remedy = exporter.TO_BE_LET_IN
    elif status == "UNIMPLEMENTED":
        remedy = exporter.TO_FIND_THE_WAY
    return Outcome(AttemptResult.REJECTED, error=said, remedy=remedy)


def _trailers(error: Any) -> list[tuple[str, bytes]]:
    return list(error.trailing_metadata() or ())

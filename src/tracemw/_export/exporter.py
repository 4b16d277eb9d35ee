"""The interface of exporters. An exporter makes one attempt to send a request. Policy is for the parts before it."""

from __future__ import annotations

import enum
import re
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple, Protocol
from urllib.parse import parse_qsl

from tracemw.redaction.places import MASK

TO_START_ONE: Final = (
    "Is a trace backend running there? `tracemw view` starts one on this machine; init(endpoint=...), "
    "OTEL_EXPORTER_OTLP_ENDPOINT or TEMPO_ENDPOINT names another"
)
TO_BE_LET_IN: Final = (
    "Does the backend want credentials or a tenant? init(headers=..., tenant=...), OTEL_EXPORTER_OTLP_HEADERS or "
    "TRACEMW_TENANT names them"
)
TO_FIND_THE_WAY: Final = (
    "Do endpoint and protocol fit together? By custom, port 4318 takes http/protobuf and port 4317 takes grpc; "
    "OTEL_EXPORTER_OTLP_ENDPOINT is a base, to which /v1/traces is added"
)
TO_TAKE_METRICS: Final = (
    "Does the backend take metrics at all? Tempo does not: init(metrics=False) sends none, and "
    "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT names a backend that does, such as "
    "http://prometheus:9090/api/v1/otlp/v1/metrics"
)
TO_BE_LET_THROUGH: Final = (
    "Does the proxy want credentials, or allow no such connection? init(proxy='http://user:password@host:port'), "
    "HTTP_PROXY or HTTPS_PROXY names them; NO_PROXY names backends that need no proxy"
)
TO_BE_SMALLER: Final = (
    "The backend, or a proxy before it, takes no span of this size: raise the limit there, or record less on a span; "
    "TRACEMW_BATCH_BYTES makes requests smaller"
)
TO_NAME_THE_TENANT: Final = (
    "The backend tells tenants apart: init(tenant=...) or TRACEMW_TENANT names the tenant of these spans"
)
TO_BE_PLAIN: Final = (
    "Does the backend speak TLS at all? If not, write http:// in place of https:// in the endpoint, or for gRPC set "
    "OTEL_EXPORTER_OTLP_INSECURE=true"
)
TO_HAVE_DESCRIPTORS: Final = (
    "Are files or sockets left open? /proc/<pid>/fd lists them; `ulimit -n`, or LimitNOFILE= in systemd, says how many "
    "there may be"
)
TO_BE_TRUSTED: Final = (
    "Is the right certificate trusted, or shown? init(certificate=..., client_certificate=..., client_key=...) or "
    "OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE and _CLIENT_KEY name them"
)


class AttemptResult(enum.Enum):
    """How an attempt ended, as far as can be told."""

    ACCEPTED = enum.auto()
    """The backend has accepted the request. It may have rejected some of the spans."""

    REJECTED = enum.auto()
    """The backend has refused for good."""

    TOO_LARGE = enum.auto()
    """The backend takes no request of this size. A smaller one may be welcome."""

    INVALID = enum.auto()
    """The backend has refused the content of the request for good. One of the spans may be the reason."""

    BUSY = enum.auto()
    """The backend has refused for now."""

    NOT_SENT = enum.auto()
    """The request has not left: nobody took the connection, or the handshake failed."""

    UNKNOWN = enum.auto()
    """The request has left, at least in part, and no readable answer came."""


class Secrets:
    """The secrets of an exporter. A backend may repeat them in its answers.

    Args:
        headers: The headers that a user has given. All of their values count as secrets.
        query: The query of the endpoint, in which keys may be given.
    """

    def __init__(self, headers: Mapping[str, str], query: str = "") -> None:
        values = {*headers.values(), *(value for _, value in parse_qsl(query))}
        values |= {word for value in headers.values() for word in (*value.split(), *_of_basic(value))}
        values.discard("")
        ordered = sorted(values - _SCHEMES, key=len, reverse=True)
        # A short value may be part of words and numbers that are no secret.
        patterns = (re.escape(v) if len(v) >= _LONG else rf"(?<![\w.:/-]){re.escape(v)}(?![\w.:/-])" for v in ordered)
        self._find = re.compile("|".join(patterns)) if ordered else None

    def hidden_in(self, text: str) -> str:
        """Return a text with `[REDACTED]` in the place of each secret."""
        return self._find.sub(MASK, text) if self._find is not None else text


_LONG: Final = 8
_SCHEMES: Final = frozenset({"Basic", "Bearer", "basic", "bearer"})


def _of_basic(value: str) -> Iterable[str]:
    """Return two secrets of an `Authorization: Basic`: user and password as one text, and the password alone."""
    scheme, _, pair = value.partition(" ")
    if scheme.lower() != "basic":
        return ()
    try:
        text = b64decode(pair.strip()).decode()
    except ValueError:
        return ()
    return (text, text.partition(":")[2])


class Outcome(NamedTuple):
    """The end of a request, or of one attempt to send it."""

    answer: AttemptResult
    rejected: int = 0
    """Spans that the backend has rejected, of a request that it has accepted (OTLP's partial success)."""

    retry_after: float = 0.0
    """Seconds that the backend wants to be left alone."""

    error: str = ""
    """What went wrong, for the log, without secrets."""

    remedy: str = ""
    """What to do about it."""

    is_stale: bool = False
    """Whether an old connection failed. The backend may have closed it just then: another attempt is due at once."""

    is_uncertain: bool = False
    """Whether an attempt broke off. The backend may have accepted the spans."""

    is_final: bool = False
    """Whether there is to be no other attempt, whatever the answer."""


class ExportRequest(NamedTuple):
    """An OTLP export request."""

    body: bytes
    """The bytes that are sent."""

    spans: int
    """How many spans the request has."""


class Sender(Protocol):
    """Sends a request: an exporter, and each part of the way out that stands before one."""

    def send(self, request: ExportRequest, timeout: float) -> Outcome:
        """Send a request within `timeout` seconds."""


class Exporter(ABC):
    """Sends batches to one backend. It belongs to one thread."""

    def pack(self, body: bytes) -> bytes:
        """Return the bytes that are sent for a body: compressed ones, perhaps. All attempts send the same bytes."""
        return body

    @abstractmethod
    def send(self, request: ExportRequest, timeout: float) -> Outcome:
        """Make one attempt within `timeout` seconds, whatever the backend does."""

    @abstractmethod
    def close(self) -> None:
        """Close the connection. A further attempt would open another."""

    @abstractmethod
    def leave_to_parent(self) -> None:
        """Let go of the connection in a process that has just been forked. The parent goes on using it."""

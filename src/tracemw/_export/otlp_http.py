"""The exporter over HTTP. It posts protobuf bodies, and reads responses by the rules of the OTLP specification."""

from __future__ import annotations

import errno
import ssl
import time
import zlib
from datetime import UTC
from email.utils import parsedate_to_datetime
from http.client import BadStatusLine, HTTPException, RemoteDisconnected
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from tracemw._export import exporter
from tracemw._export.answers import has_wrong_tenant, is_too_large, message_in, partial_success, plain, wants_tenant
from tracemw._export.connection import Connection, ProxyError, Reply
from tracemw._export.exporter import AttemptResult, Exporter, ExportRequest, Outcome, Secrets
from tracemw._version import __version__
from tracemw.config import Backend

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
"""The statuses that the OTLP specification calls retryable."""

_INVALID: Final = frozenset({400, 422})
"""The request is at fault. The reason may be one of its spans."""

_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE"})
"""What OpenSSL says when the other side does not speak TLS."""

_GZIP: Final = 16 + zlib.MAX_WBITS
_FASTEST: Final = 1
"""The level of compression. Even the lowest shrinks a batch of spans to a tenth."""


class OtlpHttpExporter(Exporter):
    """Post spans, or metrics, to a backend over OTLP/HTTP.

    Args:
        backend: Where to post to, and how.
    """

    def __init__(self, backend: Backend) -> None:
        self._compresses = backend.compression == "gzip"
        self._connection = Connection(backend.endpoint, context=backend.tls.context, proxy=backend.proxy)
        self._secrets = Secrets(backend.headers, backend.endpoint.query)
        self._headers = {"user-agent": f"tracemw/{__version__}", **backend.headers}
        self._headers["content-type"] = "application/x-protobuf"
        if self._compresses:
            self._headers["content-encoding"] = "gzip"

    def pack(self, body: bytes) -> bytes:
        """Return the bytes that are sent for a body."""
        if not self._compresses:
            return body
        deflate = zlib.compressobj(_FASTEST, wbits=_GZIP)
        return deflate.compress(body) + deflate.flush()

    def send(self, request: ExportRequest, timeout: float) -> Outcome:
        """Post once."""
        connection, deadline = self._connection, time.monotonic() + timeout
        is_kept = connection.is_open
        try:
            if not is_kept:
                connection.open(deadline)
        except (OSError, HTTPException, UnicodeError) as error:
            return Outcome(AttemptResult.NOT_SENT, error=_text_of(error), remedy=_remedy(error))
        try:
            reply = connection.post(request.body, self._headers, deadline)
        except (OSError, HTTPException) as error:
            has_sent = connection.has_sent and not (_is_alert(error) and not is_kept)
            connection.close()
            is_stale = is_kept and not isinstance(error, TimeoutError)
            kind = AttemptResult.UNKNOWN if has_sent else AttemptResult.NOT_SENT
            return Outcome(kind, error=_text_of(error), remedy=_remedy(error), is_stale=is_stale)
        return _outcome(reply, request.spans, self._secrets)

    def close(self) -> None:
        """Close the connection. A further attempt would open another."""
        self._connection.close()

    def leave_to_parent(self) -> None:
        """Let go of the connection in a process that has just been forked. The parent goes on using it."""
        self._connection.leave_to_parent()


def _outcome(reply: Reply, spans: int, secrets: Secrets) -> Outcome:
    status = reply.status
    if 200 <= status < 300:
        if reply.body and reply.headers.get_content_type() == "text/html":
            error = f"HTTP {status} with a web page, which no trace backend sends"
            return Outcome(AttemptResult.REJECTED, error=error, remedy=exporter.TO_FIND_THE_WAY)
        rejected, message = partial_success(reply.body)
        return Outcome(AttemptResult.ACCEPTED, rejected=min(rejected, spans), error=secrets.hidden_in(message))
    said = plain(secrets.hidden_in(message_in(reply.body, reply.headers.get_content_charset())))
    error = f"HTTP {status}: {said}" if said else f"HTTP {status}"
    if status == 413 or is_too_large(said):
        return Outcome(AttemptResult.TOO_LARGE, error=error, remedy=exporter.TO_BE_SMALLER)
    if wants_tenant(said) or (status in _INVALID and has_wrong_tenant(said)):
        return Outcome(AttemptResult.REJECTED, error=error, remedy=exporter.TO_NAME_THE_TENANT)
    if status in _INVALID:
        return Outcome(AttemptResult.INVALID, error=error)
    if status in _RETRYABLE:
        retry_after = _seconds(reply.headers.get("Retry-After", ""))
        return Outcome(AttemptResult.BUSY, retry_after=retry_after, error=error)
    if status in (301, 302, 303, 307, 308):
        error = f"HTTP {status} to {_without_secrets(reply.headers.get('Location', ''))}, which is not followed"
    remedy = exporter.TO_FIND_THE_WAY
    if status in (401, 403):
        remedy = exporter.TO_BE_LET_IN
    elif status == 407:
        remedy = exporter.TO_BE_LET_THROUGH
    elif status not in (301, 302, 303, 307, 308, 404, 405, 415):
        remedy = ""
    return Outcome(AttemptResult.REJECTED, error=error, remedy=remedy)


def _seconds(value: str) -> float:
    """Return the seconds that a `Retry-After` asks for, as a number or as a date (RFC 9110, 10.2.3)."""
    if value.isascii() and value.isdecimal():
        return float(value)
    try:
        date = parsedate_to_datetime(value)
        return max((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp() - time.time(), 0.0)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _without_secrets(url: str) -> str:
    try:
        parts = urlsplit(url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))[:200]
    except ValueError:
        return "an address that is no URL"


def _text_of(error: Exception) -> str:
    if isinstance(error, BadStatusLine) and not isinstance(error, RemoteDisconnected):
        return "the answer is not HTTP/1.1"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def _is_alert(error: Exception) -> bool:
    """Tell whether the backend has ended the handshake. With TLS 1.3, a client sees that only when it reads."""
    return isinstance(error, ssl.SSLError) and "ALERT" in (error.reason or "")


def _remedy(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return exporter.TO_HAVE_DESCRIPTORS
    if isinstance(error, ProxyError):
        return exporter.TO_BE_LET_THROUGH
    if isinstance(error, ssl.SSLError):
        return exporter.TO_BE_PLAIN if error.reason in _NO_TLS else exporter.TO_BE_TRUSTED
    if isinstance(error, BadStatusLine) and not isinstance(error, RemoteDisconnected):
        return exporter.TO_FIND_THE_WAY
    return exporter.TO_START_ONE

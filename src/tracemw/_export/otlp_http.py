"""The exporter: batches of spans, posted as OTLP/HTTP with protobuf bodies."""

from __future__ import annotations

import logging
import random
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Final

import requests
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from tracemw._export.encoding import SpanEncoder
from tracemw._version import __version__

_logger = logging.getLogger("tracemw")

_RETRYABLE: Final = frozenset({429, 502, 503, 504})
"""What the OTLP specification calls retryable among the statuses of HTTP; a failed connection is, too."""

_FIRST_PAUSE: Final = 1.0
_GZIP: Final = 16 + zlib.MAX_WBITS
_FASTEST: Final = 1
"""The level of compression: a batch of spans shrinks to a tenth at the lowest already."""


class OtlpHttpExporter(SpanExporter):
    """Post spans to an OTLP/HTTP endpoint. It belongs to one thread, but for `shutdown`.

    Args:
        endpoint: The URL to post to.
        headers: Headers of each request.
        timeout: Seconds that one export may take, its retries included.
        compress: Whether bodies are sent as gzip.
        certificate: Path of the CA certificate to trust, in place of the well-known ones.
        client_certificate: Path of the certificate to show, or paths of the certificate and its key.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        headers: Mapping[str, str],
        timeout: float,
        compress: bool = False,
        certificate: str | None = None,
        client_certificate: str | tuple[str, str] | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._timeout = timeout
        self._compress = compress
        self._encoder = SpanEncoder()
        self._session = requests.Session()
        self._session.headers.update({"User-Agent": f"tracemw/{__version__}", **headers})
        self._session.headers["Content-Type"] = "application/x-protobuf"
        if compress:
            self._session.headers["Content-Encoding"] = "gzip"
        self._certificate = certificate
        self._session.cert = client_certificate
        self._session.auth = _as_it_is  # else a .netrc would replace the Authorization header that was asked for
        self._closing = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Post spans, again if need be; tell whether the backend has accepted them within the timeout."""
        body = self._encoder.encode(spans)
        if not body:  # none of them could be encoded
            return SpanExportResult.FAILURE
        if self._compress:
            deflate = zlib.compressobj(_FASTEST, wbits=_GZIP)
            body = deflate.compress(body) + deflate.flush()
        deadline = time.monotonic() + self._timeout
        for pause in _pauses():
            accepted, retry_after = self._post(body, deadline - time.monotonic())
            if accepted:
                return SpanExportResult.SUCCESS
            if retry_after is None:
                break
            pause = max(pause, retry_after)
            if time.monotonic() + pause >= deadline or self._closing.wait(pause):
                break
        return SpanExportResult.FAILURE

    def _post(self, body: bytes, timeout: float) -> tuple[bool, float | None]:
        """Post once; tell whether that was accepted, and if not, after how many seconds to try again, if at all."""
        try:
            answer = self._session.post(
                self._endpoint,
                data=body,
                timeout=max(timeout, 0.001),
                allow_redirects=False,
                verify=self._certificate,  # said of the session, REQUESTS_CA_BUNDLE would win over it
            )
        except requests.RequestException as error:
            _logger.debug("no answer from %s: %s", self._endpoint, error)
            return False, 0.0 if isinstance(error, requests.ConnectionError) else None
        if 200 <= answer.status_code < 300:
            return True, None
        _logger.debug("%s answers %d: %r", self._endpoint, answer.status_code, answer.content[:200])
        if answer.status_code not in _RETRYABLE:
            return False, None
        return False, _retry_after(answer.headers.get("Retry-After", ""))

    def shutdown(self) -> None:
        """End the wait between two attempts, and try no more."""
        self._closing.set()


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _retry_after(value: str) -> float:
    """Return the seconds that a `Retry-After` asks for, which is a number of them or a date (RFC 9110, 10.2.3)."""
    if value.isdecimal():
        return float(value)
    try:
        return max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0)
    except ValueError:
        return 0.0


def _pauses() -> Iterator[float]:
    """Yield the seconds between two attempts: doubled each time, and spread, lest all services come at once."""
    pause = _FIRST_PAUSE
    while True:
        yield pause * random.uniform(0.8, 1.2)  # noqa: S311  no secret
        pause *= 2

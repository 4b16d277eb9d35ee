"""Traces by id and by search, from Tempo or from `tracemw view`, over HTTP.

Source: grafana.com/docs/tempo/latest/api_docs.
"""

from __future__ import annotations

import json
import math
import re
import ssl
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Final, NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from tracemw.analysis.load.reading import read_traces
from tracemw.analysis.load.unreadable import NoTraceError, NotTracesError, ServerError
from tracemw.analysis.model import Trace

_LARGEST: Final = 256 * 1024 * 1024
_ERASING: Final = 120.0
"""Seconds that erasing may take: the viewer writes its file anew."""
_ID: Final = re.compile(r"[0-9a-fA-F]{1,32}")


class SearchHit(NamedTuple):
    """What a search tells of one trace."""

    trace_id: str
    """Hex digits."""

    milliseconds: float
    """How long the trace took; 0 for less than one, which a server leaves out."""


class QueryApi:
    """One server that answers Tempo's query API.

    Args:
        url: Where it is, such as `http://tempo:3200`.
        headers: What goes with each request, such as the tenant. It goes to this server only: redirects are errors.
        context: Whom to trust over TLS; None for whom the system trusts.
        timeout: Seconds that one answer may take.

    Raises:
        ValueError: for anything but an http:// or https:// URL.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        context: ssl.SSLContext | None = None,
        timeout: float = 30.0,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise ValueError("the URL is not accepted; use an http:// or https:// URL such as http://tempo:3200")
        self._url = url.rstrip("/")
        self._headers = dict(headers or {})
        self._timeout = timeout
        self._opener = build_opener(NoRedirects(), *([HTTPSHandler(context=context)] if context else []))

    def trace(self, trace_id: str) -> Trace:
        """Return a trace by its id in hex.

        Raises:
            NoTraceError: if the server has no such trace.
            QueryError: if the id is no hex, or the server cannot be asked or refuses.
            NotTracesError: if the answer is no trace.
        """
        if not _ID.fullmatch(trace_id):
            raise ServerError(f"{trace_id!r} is no trace id; use up to 32 hex digits")
        body = self._get(f"/api/v2/traces/{quote(trace_id)}")
        if body is None:
            body = self._get(f"/api/traces/{quote(trace_id)}")
        missing = NoTraceError(
            f"{self._url} has no trace {trace_id}; check the id and the tenant, and wait some seconds for a new trace"
        )
        if not body:
            raise missing
        try:
            traces = read_traces(body)
        except NoTraceError:
            raise missing from None
        return traces[0]

    def search(self, query: str, *, start: int, end: int, limit: int) -> list[str]:
        """Return the ids of the traces that a TraceQL query finds. See `search_summaries`."""
        return [found.trace_id for found in self.search_summaries(query, start=start, end=end, limit=limit)]

    def search_summaries(self, query: str, *, start: int, end: int, limit: int) -> list[SearchHit]:
        """Return what a search tells of the traces that a TraceQL query finds, the newest first.

        Args:
            query: TraceQL.
            start: Seconds since the epoch, where the range begins.
            end: Seconds since the epoch, where the range ends.
            limit: How many traces at most.

        Raises:
            QueryError: if the server cannot be asked, or refuses the query.
        """
        parameters = {"q": query, "start": start, "end": end, "limit": limit, "spss": 1}
        body = self._get(f"/api/search?{urlencode(parameters)}")
        if body is None:
            raise ServerError(
                f"{self._url} has no /api/search; use the URL of Tempo's query API, such as http://tempo:3200"
            )
        try:
            answer: Any = json.loads(body)
            return [
                SearchHit(str(each["traceID"]), float(each.get("durationMs", 0))) for each in answer.get("traces") or ()
            ]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ServerError(
                f"{self._url} answers a search with something else; use the URL of Tempo's query API"
            ) from None

    def metrics(self, query: str, *, start: int, end: int) -> list[tuple[dict[str, Any], float]]:
        """Return the series of a TraceQL metrics query: labels, and the one value over the whole range.

        Args:
            query: TraceQL that ends in a function such as `count_over_time()`.
            start: Seconds since the epoch, where the range begins.
            end: Seconds since the epoch, where the range ends.

        Raises:
            QueryError: if the server cannot be asked, has no metrics, or refuses the query.
        """
        parameters = {"q": query, "start": start, "end": end}
        body = self._get(f"/api/metrics/query?{urlencode(parameters)}")
        if body is None:
            step = f"{max(end - start, 1)}s"
            body = self._get(f"/api/metrics/query_range?{urlencode({**parameters, 'step': step, 'exemplars': 0})}")
        if body is None:
            raise ServerError(f"{self._url} has no TraceQL metrics")
        try:
            return [found for series in json.loads(body).get("series") or () for found in _one_value(series)]
        except (ValueError, TypeError, KeyError, AttributeError):
            raise ServerError(f"{self._url} answers a metrics query with something else") from None

    def build(self) -> tuple[str, str]:
        """Return the version and the revision of the server; both empty if it does not tell.

        Raises:
            QueryError: if the server cannot be asked.
        """
        body = self._get("/api/status/buildinfo")
        try:
            told: Any = json.loads(body or "{}")
            return str(told.get("version", "")), str(told.get("revision", ""))
        except (ValueError, AttributeError):
            return "", ""

    def erase(self, trace_ids: Sequence[str]) -> None:
        """Have `tracemw view` erase traces by their ids in hex. No other server does.

        Raises:
            QueryError: if the server cannot be asked, or refuses.
        """
        if self._get("/viewer/erase", json.dumps({"traceIds": list(trace_ids)}).encode()) is None:
            raise ServerError(f"{self._url} erases nothing; use the tracemw view of this version of tracemw")

    def _get(self, target: str, sent: bytes | None = None) -> bytes | None:
        """Return a body; None for 404. What is `sent`, as JSON, makes it a POST."""
        headers = {"accept": "application/json", "content-type": "application/json", **self._headers}
        request = Request(self._url + target, sent, headers)  # noqa: S310  checked
        try:
            with self._opener.open(request, timeout=self._timeout if sent is None else _ERASING) as response:
                body: bytes = response.read(_LARGEST + 1)
        except HTTPError as error:
            with error:
                if error.code == 404:
                    return None
                said = error.read(2000).decode(errors="replace").strip()
                if sent is not None and said:
                    raise ServerError(f"{self._url} refuses: {said}") from None
                raise self._refused(error.code, said) from None
        except URLError as error:
            raise self._unreachable(error.reason) from None
        except (OSError, HTTPException) as error:
            raise self._unreachable(error) from None
        if len(body) > _LARGEST:
            raise NotTracesError("the answer has more than 256 MiB; use a narrower query")
        return body

    def _refused(self, status: int, said: str) -> ServerError:
        if "no org id" in said:
            return ServerError(
                f"{self._url} needs a tenant ({said}); use --tenant or TRACEMW_TENANT where this command starts"
            )
        if status in (401, 403):
            reason = f": {said}" if said and status == 403 else ""
            return ServerError(
                f"{self._url} answers {status}{reason}; put an authorization into OTEL_EXPORTER_OTLP_HEADERS where "
                "this command starts, such as Authorization=Bearer%20<token>"
            )
        if status == 400:
            return ServerError(f"{self._url} refuses the question: {said or 'no reason given'}")
        return ServerError(
            f"{self._url} answers {status}: {said or 'no reason given'}; look into its log, and try again"
        )

    def _unreachable(self, reason: object) -> ServerError:
        return ServerError(
            f"{self._url} cannot be reached ({reason}); see whether it runs, or start this command with another --url"
        )


def _one_value(series: dict[str, Any]) -> Iterator[tuple[dict[str, Any], float]]:
    """Give the labels and the value of a series.

    A range may be cut at its steps. Of two parts there is no quantile of the whole, so such a series is left out.
    """
    samples = series.get("samples", [series])
    values = [float(sample["value"]) for sample in samples if sample.get("value") not in (None, 0, "NaN")]
    if len(values) == 1 and math.isfinite(values[0]):
        labels = {each["key"]: next(iter(each["value"].values()), None) for each in series.get("labels") or ()}
        yield labels, values[0]


class NoRedirects(HTTPRedirectHandler):
    """Headers may be secrets, and are for the server that was named."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """Return None: the redirect is an error."""
        del req, fp, code, msg, headers, newurl
        return None

"""Traces from bytes, in whichever format they are."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tracemw.analysis.load.jaeger_json import spans_of_jaeger
from tracemw.analysis.load.otlp_binary import spans_of_bytes
from tracemw.analysis.load.otlp_json import spans_of
from tracemw.analysis.load.unreadable import NoTraceError, NotTracesError
from tracemw.analysis.load.zipkin_json import spans_of_zipkin
from tracemw.analysis.model import Span, Trace

_OF_ZIPKIN: Final = {"traceId", "id"}
_GZIP: Final = b"\x1f\x8b"
_LARGEST: Final = 1 << 30
"""Bytes of a file once it is decompressed."""

_KNOWN: Final = "use JSON or protobuf of OTLP, or JSON of Tempo, Jaeger or Zipkin"


def read_traces(*files: bytes) -> list[Trace]:
    """Return the traces of files, whose format is told by their content. A trace may have spans in several of them.

    Raises:
        NotTracesError: for anything else, and for half a file.
        NoTraceError: if there are no spans.
    """
    return at_least_one(group(span for data in files for span in read_spans(data)))


def read_spans(data: bytes) -> Iterator[Span]:
    """Give the spans of a file, whose format is told by its content. It may be compressed by gzip.

    Raises:
        NotTracesError: for anything else, and for half a file.
    """
    if data.startswith(_GZIP):
        data = _decompressed(data)
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    try:
        yield from _of_json(start) if start[:1] in (b"{", b"[") else spans_of_bytes(data)
    except NotTracesError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise NotTracesError(f"a span cannot be read ({type(error).__name__}: {error}); {_KNOWN}") from error


def at_least_one(traces: list[Trace]) -> list[Trace]:
    """Return the traces.

    Raises:
        NoTraceError: if there are none.
    """
    if not traces:
        raise NoTraceError("there are no spans; check the query, the time range, or how the file was made")
    return traces


def group(spans: Iterable[Span]) -> list[Trace]:
    """Return the traces that spans belong to."""
    by_trace: dict[str, list[Span]] = {}
    for span in spans:
        by_trace.setdefault(span.trace_id, []).append(span)
    return [Trace(each) for each in by_trace.values()]


def _decompressed(data: bytes) -> bytes:
    try:
        with gzip.open(io.BytesIO(data)) as file:
            found = file.read(_LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise NotTracesError(f"the file is compressed, and broken or cut off ({error}); fetch it once more") from None
    if len(found) > _LARGEST:
        raise NotTracesError("the file has more than 1 GiB when it is decompressed; analyse a part of it")
    return found


def _of_json(data: bytes) -> Iterator[Span]:
    try:
        whole = json.loads(data)
    except RecursionError:
        raise NotTracesError(f"the JSON is nested too deep; {_KNOWN}") from None
    except ValueError as error:  # the collector's file exporter writes one document a line
        for line in io.BytesIO(data):
            if line.strip():
                yield from _of_document(_of_line(line, error))
    else:
        yield from _of_document(whole)


def _of_line(line: bytes, first: ValueError) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        raise NotTracesError(f"the JSON is broken or cut off ({first}); fetch the trace once more") from None


def _of_document(document: Any) -> Iterator[Span]:
    if isinstance(document, list):
        if all(isinstance(each, dict) and not each.keys() & _OF_ZIPKIN for each in document):
            return (span for each in document for span in _of_document(each))
        return spans_of_zipkin(document)
    if not isinstance(document, dict):
        raise NotTracesError(f"this JSON holds no traces; {_KNOWN}")
    for around in ("trace", "result"):  # Tempo, and version 3 of Jaeger's API
        if isinstance(document.get(around), dict):
            document = document[around] or {"resourceSpans": []}
    if "resourceSpans" in document or "batches" in document:
        return spans_of(document)
    if "scopeSpans" in document:  # OpenTelemetry's SDK for Java logs one resource a line
        return spans_of({"resourceSpans": [document]})
    if isinstance(document.get("data"), list):
        return spans_of_jaeger(document["data"])
    if "spans" in document and "processes" in document:
        return spans_of_jaeger([document])
    if isinstance(document.get("traces"), list):
        raise NotTracesError("this is the result of a search, without the spans; use --query to fetch its traces")
    if not document:
        return iter(())
    raise NotTracesError(f"this JSON is none of traces; {_KNOWN}")

"""Texts of a trace that hold a secret, or a value that a test names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tracemw.analysis.model import Span, Trace
from tracemw.redaction.detectors import secrets


def leaks_in(trace: Trace, values: Sequence[str]) -> Iterator[str]:
    """Give a line for each text that holds one of the values, or what looks like a secret, which is not repeated."""
    for span in trace.spans:
        for where, text in _texts(span):
            found = [f"{value!r}" for value in values if value in text]
            found += [f"what looks like {place.kind}" for place in secrets(text)]
            if found:
                yield f"{where} of the span {span.name!r} holds {' and '.join(found)}"


def _texts(span: Span) -> Iterator[tuple[str, str]]:
    yield "the name", span.name
    yield "the status", span.status_message
    yield from _within("the attribute", span.attributes)
    yield from _within("the resource's attribute", span.resource.attributes)
    for event in span.events:
        yield f"the name of the event {event.name!r}", event.name
        yield from _within(f"the event {event.name!r}, attribute", event.attributes)


def _within(where: str, attributes: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in attributes.items():
        yield f"{where} {key!r}", key
        for text in _flat(value):
            yield f"{where} {key!r}", text


def _flat(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, Mapping):
            pending += [*each.keys(), *each.values()]
        elif isinstance(each, (list, tuple)):
            pending += each
        elif each is not None:
            yield each.decode(errors="replace") if isinstance(each, bytes) else str(each)

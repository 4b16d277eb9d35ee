"""Ended spans without what may not leave, for processors and exporters of others."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status
from opentelemetry.trace.span import TraceState

from tracemw._db.conforming import conformed, is_of_database
from tracemw._db.statements import Parameterised
from tracemw._otel.cleaning import shown
from tracemw.redaction.in_use import in_use
from tracemw.redaction.policy import RedactionPolicy
from tracemw.redaction.users_rule import Redaction, Where


class RedactedSpans:
    """Makes copies of ended spans that hold only what may leave. Database spans leave by the conventions of now.

    Args:
        policy: What may leave.
    """

    def __init__(self, policy: RedactionPolicy) -> None:
        self._policy = policy
        # The latest of each, with its copy. A process has one resource, and few scopes.
        self._resource: tuple[object, Any] = (None, None)
        self._scope: tuple[object, Any] = (None, None)

    def __call__(self, span: ReadableSpan) -> ReadableSpan:
        """Return a copy of a span. The span stays as it is: the application may read it."""
        policy = self._policy
        made = copy.copy(span)
        name, attributes = span.name, dict(span.attributes or {})
        if span.kind is not SpanKind.SERVER and is_of_database(attributes):
            name, attributes, _ = conformed(name, attributes)
        kept = policy.attributes(attributes, "attribute")
        text = attributes.get("db.query.text")
        if type(text) is Parameterised:
            kept["db.query.text"] = str(text)
        made._name = policy.text(shown(name), "name")
        made._attributes = _contained(kept, span._attributes)
        made._events = _listed([self._event(event) for event in span.events], span._events)
        made._links = _listed([self._link(link) for link in span.links], span._links)
        made._context = self._span_context(span.context)
        made._parent = self._span_context(span.parent)
        status = span.status
        if status.description:
            made._status = Status(status.status_code, policy.text(status.description, "status"))
        if self._resource[0] is not span.resource:
            said = policy.attributes(span.resource.attributes, "resource")
            self._resource = (span.resource, Resource(said, span.resource.schema_url))
        made._resource = self._resource[1]
        scope = span.instrumentation_scope
        if scope is not None and scope.attributes:
            if self._scope[0] is not scope:
                said = policy.attributes(scope.attributes, "scope")
                self._scope = (scope, InstrumentationScope(scope.name, scope.version, scope.schema_url, said))
            made._instrumentation_scope = self._scope[1]
        return made

    def _event(self, event: Any) -> Event:
        kept = self._kept(event.attributes, "event")
        name = self._policy.text(shown(event.name), "name")
        return Event(name, _contained(kept, event.attributes), event.timestamp)

    def _link(self, link: Any) -> Link:
        return Link(
            self._span_context(link.context) or link.context,
            _contained(self._kept(link.attributes, "link"), link.attributes),
        )

    def _kept(self, attributes: Mapping[str, Any] | None, where: Where) -> dict[str, Any]:
        return self._policy.attributes(attributes or {}, where)

    def _span_context(self, context: SpanContext | None) -> Any:
        if context is None or not context.trace_state:
            return context
        items = [(key, self._policy.text(value, "tracestate")) for key, value in context.trace_state.items()]
        if items == list(context.trace_state.items()):
            return context
        return SpanContext(context.trace_id, context.span_id, context.is_remote, context.trace_flags, TraceState(items))


class RedactingExporter(SpanExporter):
    """An exporter that gets spans without what may not leave, for a tracer provider that is not tracemw's.

    tracemw's own provider needs no such exporter: every processor and exporter that is added there sees redacted spans
    anyway.

    Args:
        exporter: The exporter to call.
        allow: Further keys and globs, as for `tracemw.init`.
        redaction: A rule of your own, as for `tracemw.init`.

    Without `allow` and `redaction`, what the latest `tracemw.init` has said holds.
    """

    def __init__(
        self, exporter: SpanExporter, *, allow: Iterable[str] = (), redaction: Redaction | None = None
    ) -> None:
        if isinstance(allow, str):
            raise TypeError(f"allow takes several keys, such as ({allow!r},), not one string")
        keys = tuple(allow)
        self._exporter = exporter
        self._redact = RedactedSpans(RedactionPolicy(keys, redaction) if keys or redaction is not None else in_use())

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Hand redacted copies of spans to the exporter."""
        return self._exporter.export([self._redact(span) for span in spans])

    def shutdown(self) -> None:
        """Shut the exporter down."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Have the exporter deliver what it has."""
        return self._exporter.force_flush(timeout_millis)


def _contained(attributes: dict[str, Any], like: Any) -> BoundedAttributes:
    contained = BoundedAttributes(attributes=attributes, immutable=True)
    contained.dropped = getattr(like, "dropped", 0)
    return contained


def _listed(items: list[Any], like: Any) -> Any:
    listed = BoundedList.from_seq(len(items), items)
    listed.dropped = getattr(like, "dropped", 0)
    return listed

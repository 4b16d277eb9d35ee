"""How processors are shown spans, where it is not enough to hand out the ended span itself."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.trace import SpanContext

from tracemw._otel.cleaning import items_of
from tracemw._otel.recorder import is_ours
from tracemw._recording.books import KEPT
from tracemw._recording.processors import Processors
from tracemw._recording.span import NO_TYPES, Span
from tracemw.sampling.threshold import with_threshold

if TYPE_CHECKING:
    from tracemw._recording.held_span import HeldSpan


def hand_to(
    span: Span, ending: tuple[SpanProcessor, ...], ended: tuple[SpanProcessor, ...], *, copies: bool = False
) -> ReadableSpan:
    """Hand a span to processors, as a copy if a foreign one is among them. Return what they got.

    The copy holds only what may leave, if there is a policy: a foreign processor may export it.
    """
    readable: ReadableSpan = span
    for each in ended:
        copies = copies or not is_ours(each)
    if copies or ending:
        span.expose()
    for each in ending:
        try:
            each._on_ending(span)
        except Exception as error:
            span._tracer.note(each, "_on_ending", error)
    if copies:
        readable = span._readable_span()
        if span._tracer.redact is not None:
            readable = span._tracer.redact(readable)
    for each in ended:
        try:
            each.on_end(readable)
        except Exception as error:
            span._tracer.note(each, "on_end", error)
    return readable


def start_again(span: HeldSpan, why: str) -> Span | None:
    """Show the start of a kept span to the processors that hear only of kept spans. Return the copy they saw."""
    processor = span._tracer.span_processor
    started_in = vars(span).pop("started_in", None)  # `pop` is one step: of two threads, one gets the contexts
    if started_in is None or type(processor) is not Processors:
        return None
    ran_in, context = started_in
    seen = span.reopened(KEPT, why)
    for each in processor.later:
        if each in processor.starting:
            try:
                ran_in.run(each.on_start, seen, parent_context=context)
            except Exception as error:
                span._tracer.note(each, "on_start", error)
    return seen


def end_again(seen: Span, end_time: int | None) -> ReadableSpan:
    """Show the end of a kept span to the processors that `start_again` has shown its start."""
    processor = seen._tracer.span_processor
    vars(seen).pop("_open", None)
    seen._end_time = end_time
    seen._plain = NO_TYPES
    later = processor.later if type(processor) is Processors else ()
    ending = processor.ending if type(processor) is Processors else ()
    return hand_to(seen, tuple(each for each in later if each in ending), later, copies=True)


def marked(span: ReadableSpan, key: str, value: str) -> ReadableSpan:
    """Return a copy of an ended span with one more attribute. No limit keeps this attribute out.

    The copy has no sampling threshold: the span is not there by the chance that the caller's threshold stands for.
    """
    # A copy, since other processors, and the application, may have the span, too.
    made = span._readable_span() if isinstance(span, Span) else copy.copy(span)
    attributes: Any = made._attributes
    if isinstance(attributes, BoundedAttributes):
        contained = BoundedAttributes(immutable=False)
        contained._dict = {**attributes, key: value}
        contained.dropped = attributes.dropped
        made._attributes = contained
    else:
        made._attributes = {**dict(items_of(attributes)), key: value}
    context = made._context
    if context is not None and context.trace_state:
        made._context = SpanContext(*context[:4], with_threshold(context.trace_state, None))
    return made

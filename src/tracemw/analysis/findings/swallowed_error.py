"""A failure that no caller shows: `swallowed-error`."""

from __future__ import annotations

from collections.abc import Iterator

from tracemw.analysis.conventions import http_status, is_cancelled
from tracemw.analysis.findings.attempts_of_calls import what_is_tried
from tracemw.analysis.findings.error_source import chain_of, failure_of, line_of_failure
from tracemw.analysis.findings.finding import Finding, at, failing, line_of, quoted
from tracemw.analysis.findings.hidden_failures import hidden_cause, line_of_handler, swallowing_span
from tracemw.analysis.model import (
    CLIENT,
    CONSUMER,
    INTERNAL,
    PRODUCER,
    SERVER,
    Span,
    Trace,
    ancestors,
    descendants,
    milliseconds,
)
from tracemw.analysis.shapes import call_label, without_numbers


def find_swallowed(trace: Trace) -> Iterator[Finding]:
    """Give a finding for each failure beneath a span that looks fine, and for a 5xx without any failure on record.

    A retry that succeeded makes up for a failure. A fallback on purpose looks the same as a swallowed error, so another
    call that served makes the finding a hint.
    """
    if not trace.failed:
        return
    found: dict[tuple[str, str, str], Finding] = {}
    for span in trace.failed:
        if span.kind == SERVER and _came_from_nowhere(span, trace):
            finding = _without_exception(span)
        elif span.parent is not None and not span.parent.failed and _is_swallowed(span, span.parent, trace):
            finding = _swallowed(span, span.parent)
        else:
            continue
        found.setdefault((finding.service, finding.title, finding.severity), finding)
    yield from found.values()


def _is_swallowed(span: Span, parent: Span, trace: Trace) -> bool:
    if not span.failed_hard or parent.kind == PRODUCER or span.kind == CONSUMER:
        return False
    if is_cancelled(span.error_type) or (span.start >= parent.end and span.service == parent.service):
        return False
    status = http_status(span.attributes)
    told = span.exception or span.error_type or span.status_message or "rpc.grpc.status_code" in span.attributes
    if not told and (status is None or status < 500):
        return False
    if _is_answered(span):
        return False
    return (not _root_failed(parent, trace) or _brought_down(span)) and not _was_retried(span, parent)


def _is_answered(span: Span) -> bool:
    """Return whether an exception of the service's own became an answer such as 404, which the client gets."""
    if span.kind != INTERNAL or span.is_database or any(each.failed for each in descendants(span)):
        return False
    served = next((each for each in ancestors(span) if each.kind == SERVER), None)
    status = http_status(served.attributes) if served is not None and served.service == span.service else None
    return status is not None and 400 <= status < 500


def _brought_down(span: Span) -> bool:
    """Return whether a failed request has no other cause than this failure, of which its caller shows nothing."""
    above = next((each for each in ancestors(span) if each.failed), None)
    return above is not None and hidden_cause(above) is span and swallowing_span([above, *chain_of(span)]) is not None


def _root_failed(span: Span, trace: Trace) -> bool:
    """Return whether the request failed in which a span is; where the spans between are lost, the whole trace's."""
    while span.parent is not None:
        span = span.parent
    return span.failed or (bool(span.parent_id) and span.kind == INTERNAL and trace.root.failed)


def _was_retried(span: Span, parent: Span) -> bool:
    """Return whether the same call, or the same work around it, succeeded later beneath the same parent.

    Work that has succeeded before is of another thing each time, as the items of a batch are.
    """
    tried = what_is_tried(span)
    if tried is not None:
        name = without_numbers(span.name)
        later = (other for other in parent.children if other.start >= span.end and not other.failed)
        return any(without_numbers(other.name) == name and what_is_tried(other) == tried for other in later)
    good = [other for other in parent.children if other.name == span.name and not other.failed]
    return bool(good) and all(other.start >= span.end for other in good)


def _came_from_nowhere(span: Span, trace: Trace) -> bool:
    """Return whether a request failed though each of its calls succeeded, and no exception says why.

    Statuses such as 503 are answers on purpose. A span that calls nobody tells nothing, since many tracers record no
    exceptions.
    """
    if span.exception is not None or (span.error_type and not span.error_type.isdigit()):
        return False
    if http_status(span.attributes) not in (500, None) or "rpc.grpc.status_code" in span.attributes:
        return False
    below = descendants(span)
    return (
        any(each.kind == CLIENT for each in below)
        and not any(each.failed for each in below)
        and _root_failed(span, trace)
    )


def _swallowed(span: Span, parent: Span) -> Finding:
    chain = chain_of(span)
    source = chain[-1]
    thrown, swallowed = line_of_failure(chain), line_of_handler(parent)
    served = [
        other
        for other in parent.children
        if other is not span and not other.failed and other.start >= span.end and (other.kind == CLIENT)
    ]
    hint = " (a call that followed served, so this may be a fallback on purpose)" if served else ""
    return Finding(
        code="swallowed-error",
        severity="hint" if served else "warning",
        title=(
            f"{failure_of(source)}, thrown in {call_label(source)} of {source.service}{at(thrown)}, "
            f"is swallowed in {parent.name} of {parent.service}{at(swallowed)}{hint}"
        ),
        trace_id=span.trace_id,
        span_ids=(*(each.span_id for each in chain[::-1]), parent.span_id),
        service=parent.service,
        remedy="set the span's status where the exception is caught, or let it rise if the answer is wrong without it",
        query=(
            f"{{ resource.service.name = {quoted(parent.service)} && name = {quoted(parent.name)} && status != error }}"
            f" > {{ name = {quoted(span.name)} && status = error }}"
        ),
        numbers={"failure": failure_of(source), "thrown_in": source.service, "swallowed_in": parent.service},
        line=swallowed or thrown,
    )


def _without_exception(span: Span) -> Finding:
    line = line_of((span,))
    return Finding(
        code="swallowed-error",
        severity="hint",
        title=(
            f"{call_label(span)} of {span.service} failed with {failure_of(span)}, "
            f"and no exception is on record{at(line)}"
        ),
        trace_id=span.trace_id,
        span_ids=(span.span_id,),
        service=span.service,
        remedy="find the handler that turns the exception into this answer, and have it record the exception",
        query=failing(span),
        numbers={"failure": failure_of(span), "duration_ms": milliseconds(span.duration)},
        line=line,
    )

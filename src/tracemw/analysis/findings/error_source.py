"""The span that brought a request down: `error-source`.

From a failed root, the failed children that brought it down lead to the source. A child did if its exception or status
shows in its parent, or if nothing else went on after it. An error that was caught and handled is not followed. Times of
siblings come from one clock, so "after" holds there. Where the way ends without an exception, it may go on beneath
children that look fine (`hidden_failures`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from tracemw.analysis.conventions import callee_name, http_status, is_cancelled, is_proxy
from tracemw.analysis.critical_path import critical_path
from tracemw.analysis.findings.finding import Finding, at, failing, line_of
from tracemw.analysis.findings.hidden_failures import hidden_cause, line_of_handler, swallowing_span
from tracemw.analysis.model import CLIENT, CONSUMER, INTERNAL, MILLISECOND, PRODUCER, SERVER, Span, Trace, milliseconds
from tracemw.analysis.shapes import call_label, is_statement
from tracemw.analysis.stack_lines import line_of_stack

_TIMEOUTS: Final = ("timeout", "timed out", "deadline")
_MOST_ROOTS: Final = 5
_APART: Final = 10 * MILLISECOND
_ITS_END: Final = 0.1
"""The share of a request's time that counts as its end."""


def find_error_sources(trace: Trace) -> Iterator[Finding]:
    """Give a finding for each failed root. An orphan counts as one if a service begins with it."""
    if not trace.failed:
        return
    roots = [root for root in trace.roots if root.failed_hard and not root.is_message and _is_entry(root, trace)]
    explained: set[Span] = set()
    for root in sorted(roots, key=lambda root: root is not trace.root)[:_MOST_ROOTS]:
        if root not in explained:
            chain = chain_of(root, _failed_orphans(trace))
            explained.update(chain)
            yield _finding(chain)


def _is_entry(root: Span, trace: Trace) -> bool:
    return root is trace.root or not root.parent_id or root.kind in (SERVER, CONSUMER)


def _failed_orphans(trace: Trace) -> list[Span]:
    """Return the failed spans that would be beneath a lost one, but for those of single messages."""
    found = list(trace.orphans)
    for orphan in trace.orphans:
        if not orphan.failed:
            found += [*orphan.children, *_within_unmarked(orphan)]
    return [span for span in found if span.failed_hard and not span.is_message]


def chain_of(root: Span, orphans: Sequence[Span] = ()) -> list[Span]:
    """Return the failed spans from a root down to the source. Where a link is lost, a failed orphan goes on."""
    chain = [root]
    while True:
        last = chain[-1]
        cause = _cause(last) or hidden_cause(last) or _beyond(last, orphans)
        if cause is None or cause in chain:
            return chain
        chain.append(cause)


def _beyond(span: Span, orphans: Sequence[Span]) -> Span | None:
    """Return the failed orphan that was beneath a span until a span between them was lost."""
    is_call = not span.children and (span.kind == CLIENT or is_proxy(span.attributes))
    if not is_call and span.kind == CLIENT:
        return None
    near = [
        orphan
        for orphan in orphans
        if orphan is not span
        and (
            (span.start - _APART <= orphan.start and orphan.end <= span.end + _APART)
            or (is_call and callee_name(span.attributes) == orphan.service)  # its clock may be another
        )
    ]
    shown = next((orphan for orphan in near if _shows_in(orphan, span)), None)
    return shown or (near[0] if near and is_call and not _is_timeout(span) else None)


def _cause(span: Span) -> Span | None:
    """Return the child that brought a span down; None if the span is the source."""
    failed = _failed(span, span.children)
    hidden = [] if failed else _failed(span, _within_unmarked(span))
    shown = [child for child in failed or hidden if _shows_in(child, span)]
    if shown:
        return _first_at_its_time(shown)
    if hidden and hidden[0].failed_hard and span.end - hidden[0].end < _ITS_END * span.duration:
        return hidden[0]
    if not failed:
        return None
    if span.kind == CLIENT:
        return None if _is_timeout(span) and http_status(span.attributes) is None else failed[0]
    hard = [child for child in failed if child.failed_hard]
    last = _first_at_its_time(hard) if hard else None
    if last is None:  # a 404 and its like are normal unless the caller shows it
        return None if span.exception or _went_on(failed[0], span) else failed[0]
    if span.exception is None:
        return None if _succeeded_later(last, span) else last
    return None if _went_on(last, span) else last


def _failed(span: Span, candidates: Iterable[Span]) -> list[Span]:
    """Return those that failed while a span was waiting for them, the last to end first, those cancelled at the end."""
    found = [
        each
        for each in candidates
        if each.failed
        and not (span.kind == PRODUCER or each.kind == CONSUMER)
        and not (each.start >= span.end and each.service == span.service)
    ]
    return sorted(found, key=lambda each: (not is_cancelled(each.error_type), each.end, each.start), reverse=True)


def _first_at_its_time(failed: Sequence[Span]) -> Span:
    """Return the last that failed, or, if several ran side by side then, the one of these that failed first."""
    last = failed[0]
    at_once = [each for each in failed if each.end > last.start and not is_cancelled(each.error_type)]
    return min(at_once, key=lambda each: each.end, default=last)


def _within_unmarked(span: Span) -> list[Span]:
    """Return what is within spans of the same service that are not marked as failed, as many tracers leave them."""
    within: list[Span] = []
    pending = list(span.children)
    while pending:
        child = pending.pop()
        if not child.failed and child.kind == INTERNAL and child.service == span.service:
            within += child.children
            pending += child.children
    return within


def _shows_in(child: Span, parent: Span) -> bool:
    """Return whether a parent's failure tells of the child's: the exception, its message, or the status."""
    event, above = child.exception, parent.exception
    if event is not None:
        kind = _short(str(event.attributes.get("exception.type") or ""))
        message = str(event.attributes.get("exception.message") or "")
        if kind and kind == _short(parent.error_type):
            return True
        told = _told_by(parent)
        if told and ((len(message) > 3 and message in told) or (len(kind) > 3 and kind in told)):
            return True
    elif above is not None:
        kind = _short(child.error_type)
        if kind and not kind.isdigit() and (kind == _short(parent.error_type) or kind in _told_by(parent)):
            return True
    status = http_status(child.attributes)
    if status is None or status < 400:
        return False
    return str(status) in _told_by(parent) or (above is None and status == http_status(parent.attributes))


def _told_by(span: Span) -> str:
    event = span.exception
    if event is None:
        return span.status_message
    names = ("exception.type", "exception.message", "exception.stacktrace")
    return " ".join((span.status_message, *(str(event.attributes.get(name) or "") for name in names)))


def _went_on(child: Span, parent: Span) -> bool:
    """Return whether other work began and succeeded after a failure, which therefore was handled.

    What a request does at its very end, such as a rollback or an error page, is no other work.
    """
    if (parent.end - child.end) < _ITS_END * parent.duration:
        return False
    return any(
        other.start >= child.end
        and not other.failed
        and other.duration
        and (is_statement(other) or not other.is_database)
        for other in parent.children
    )


def _succeeded_later(child: Span, parent: Span) -> bool:
    label = call_label(child)
    return any(
        other.start >= child.end and not other.failed and call_label(other) == label and other.name == child.name
        for other in parent.children
    )


def _is_timeout(span: Span) -> bool:
    told = f"{span.error_type} {_told_by(span)}".lower()
    return any(word in told for word in _TIMEOUTS)


def _short(error_type: str) -> str:
    return error_type.rpartition(".")[2]


def failure_of(span: Span) -> str:
    """Return what went wrong in a span, in a few words."""
    event = span.exception
    status = http_status(span.attributes)
    if event is not None:
        message = str(event.attributes.get("exception.message") or "").splitlines()
        return ": ".join(filter(None, (span.error_type, message[0][:200] if message else "")))
    if span.error_type and not span.error_type.isdigit():
        return span.error_type
    if status is not None:
        return f"HTTP {status}"
    return span.status_message.splitlines()[0][:200] if span.status_message else "an error"


def _finding(chain: list[Span]) -> Finding:
    root, source = chain[0], chain[-1]
    line = line_of_failure(chain)
    through = [span.service for span in chain[::-1]]
    services = list(dict.fromkeys(through))
    way = f", through {' > '.join(services[1:-1])}" if len(services) > 2 else ""
    where = "" if source is root else f", from {call_label(source)} of {source.service}"
    remedy = _remedy(root, source)
    swallowing = swallowing_span(chain)
    if swallowing is not None:
        way += f"; it is swallowed in {swallowing.name} of {swallowing.service}{at(line_of_handler(swallowing))}"
        remedy = f"look at the source first, and have {swallowing.name} record what it catches"
    return Finding(
        code="error-source",
        severity="error",
        title=f"{call_label(root)} of {root.service} failed with {failure_of(source)}{where}{at(line)}{way}",
        trace_id=root.trace_id,
        span_ids=tuple(span.span_id for span in chain[::-1]),
        service=source.service,
        remedy=(
            "nobody waits for this any longer: see why the caller gave up"
            if is_cancelled(source.error_type)
            else remedy
        ),
        query=failing(source),
        numbers={
            "failure": failure_of(source),
            "chain": [f"{span.service}: {call_label(span)}" for span in chain[::-1]],
            "duration_ms": milliseconds(root.duration),
        },
        cost_ms=milliseconds(root.duration),
        line=line,
    )


def _remedy(root: Span, source: Span) -> str:
    if source is root and source.exception is None:
        return f"nothing beneath it failed, and no exception is on record: look into the log of {root.service}"
    if source is root:
        return "nothing beneath it failed: the fault is in its own code"
    slowest = _slowest_beneath(source) if _is_timeout(source) else None
    if slowest is None:
        return "look at the source first; what failed above only passed the error on"
    where = f"{call_label(slowest)} of {slowest.service}{at(line_of((slowest,)))}"
    return f"{where} took {milliseconds(slowest.duration):.0f} ms: look at that first, then at the timeout"


def _slowest_beneath(call: Span) -> Span | None:
    """Return the span beneath a call that took most of its time; None if no single one did."""
    served = max(call.children, key=lambda child: child.duration, default=None)
    if served is None:
        return None
    slowest, part = max(critical_path(served).items(), key=lambda each: each[1])
    return slowest if part * 2 >= call.duration else None


def line_of_failure(chain: list[Span]) -> str:
    """Return the line of code where a chain of failures began, as the nearest span or stack trace tells."""
    source = chain[-1]
    near = dict.fromkeys([source, *([source.parent] if source.parent else []), *reversed(chain)])
    return next((line for span in near if (line := _line_in(span))), "")


def _line_in(span: Span) -> str:
    own, event = line_of((span,)), span.exception
    if ":" in own or event is None:
        return own
    return line_of_stack(str(event.attributes.get("exception.stacktrace") or "")) or own  # a function alone says less

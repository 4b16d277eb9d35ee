"""What must hold of every trace: each check is a pure function that names the faults it finds."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from examples.demo.traces import Span, Trace
from examples.demo.traffic import Answer


@dataclass(frozen=True)
class Fault:
    """Something wrong, and the trace it is wrong in (None when a request has left no trace id)."""

    trace_id: str | None
    what: str

    def __str__(self) -> str:
        """Read as one line."""
        return f"trace {self.trace_id or '(none)'}: {self.what}"


def check(traces: Iterable[Trace], answers: Iterable[Answer]) -> list[Fault]:
    """Return the faults of all ``traces``, held against the ``answers`` of the requests that made them."""
    traces = list(traces)
    answers = list(answers)
    inside = [Fault(trace.trace_id, what) for trace in traces for rule in RULES for what in rule(trace)]
    return [*inside, *check_answers(traces, answers)]


def check_answers(traces: Iterable[Trace], answers: Iterable[Answer]) -> Iterator[Fault]:
    """Find requests that went wrong, traces that are missing or incomplete, and traces nobody asked for."""
    by_id = {trace.trace_id: trace for trace in traces}
    asked_for = set()
    for answer in answers:
        request = answer.request
        if answer.status is None:
            yield Fault(None, f"GET {request.path} was not answered")
            continue
        if answer.status != request.status:
            yield Fault(answer.trace_id, f"GET {request.path} answered {answer.status}, not {request.status}")
        if not request.traced:
            continue
        asked_for.add(answer.trace_id)
        trace = by_id.get(answer.trace_id or "")
        if trace is None:
            yield Fault(answer.trace_id, f"missing, though GET {request.path} was answered")
        elif absent := request.touches - trace.services:
            yield Fault(answer.trace_id, f"GET {request.path} has no span of {', '.join(sorted(absent))}")
    for trace in by_id.values():
        if trace.trace_id not in asked_for:
            names = ", ".join(_title(span) for span in trace.spans)
            yield Fault(trace.trace_id, f"no traced request began it: {names}")


def one_root(trace: Trace) -> Iterator[str]:
    """Find a trace without one root that is the SERVER span of its request."""
    if len(trace.roots) != 1:
        yield f"{len(trace.roots)} roots: {', '.join(_title(root) for root in trace.roots)}"
    for root in trace.roots:
        if root.kind != "SERVER":
            yield f"the root {_title(root)} is no SERVER span"


def no_missing_parent(trace: Trace) -> Iterator[str]:
    """Find spans whose parent is not in the trace."""
    for span in trace.spans:
        if span.parent_id is not None and trace.parent(span) is None:
            yield f"the parent {span.parent_id} of {_title(span)} is missing"


def one_server_span_per_request(trace: Trace) -> Iterator[str]:
    """Find a SERVER span right below another of its service, and two below one CLIENT span."""
    for span in trace.spans:
        if span.kind != "SERVER":
            continue
        parent = trace.parent(span)
        if parent is not None and parent.kind == "SERVER" and parent.service == span.service:
            yield f"a second SERVER span for one request: {_title(span)} in {_title(parent)}"
    below = Counter(span.parent_id for span in trace.spans if span.kind == "SERVER")
    for span in trace.spans:
        if span.kind == "CLIENT" and below[span.span_id] > 1:
            yield f"{below[span.span_id]} SERVER spans for one request, all below {_title(span)}"


def server_spans_below_their_caller(trace: Trace) -> Iterator[str]:
    """Find an inner SERVER span whose parent is not the CLIENT span of the service that called."""
    for span in trace.spans:
        parent = trace.parent(span)
        if span.kind != "SERVER" or parent is None:
            continue
        if parent.kind != "CLIENT" or parent.service == span.service:
            yield f"the parent of {_title(span)} is {_title(parent)}, not the CLIENT span of its caller"


def no_health_check(trace: Trace) -> Iterator[str]:
    """Find spans of health checks, which ought to leave none."""
    for span in trace.spans:
        places = (span.name, *(span.attributes.get(key) for key in ("http.route", "url.path", "url.full")))
        if any("/health" in str(place) for place in places):
            yield f"a health check was traced: {_title(span)}"


RULES: tuple[Callable[[Trace], Iterator[str]], ...] = (
    one_root,
    no_missing_parent,
    one_server_span_per_request,
    server_spans_below_their_caller,
    no_health_check,
)


def _title(span: Span) -> str:
    return f"{span.kind} span '{span.name}' of {span.service}"

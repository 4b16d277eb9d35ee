"""The one sentence on a trace: the finding that explains most, or where the time went when nothing is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tracemw.analysis.critical_path import critical_path
from tracemw.analysis.findings.error_source import failure_of
from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.model import CONSUMER, INTERNAL, Span, Trace, milliseconds
from tracemw.analysis.shapes import call_label


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What is to be said of a trace first."""

    sentence: str
    """Cause, service, span, line, and what to do."""

    finding: Finding | None
    """The finding that explains most; None if nothing is wrong."""


def judge(trace: Trace, findings: Sequence[Finding]) -> Verdict:
    """Return the verdict on a trace, from its findings, worst first."""
    if not findings or (findings[0].severity == "hint" and findings[0].code == "broken-trace" and not findings[1:]):
        return Verdict(sentence=_nothing_wrong(trace, findings), finding=None)
    first = findings[0]
    sentence = first.title
    if first.code in ("error-source", "swallowed-error"):
        sentence += _retried(findings)
    sentence += f"; {first.remedy}"
    total = milliseconds(trace.root.duration)
    if first.saving_ms and first.saving_ms >= 1:
        sentence += f": saves up to {min(first.saving_ms, total):.0f} of {total:.0f} ms"
    return Verdict(sentence=sentence, finding=first)


def _retried(findings: Sequence[Finding]) -> str:
    storms = [finding for finding in findings if finding.code == "retry-storm"]
    if not storms:
        return ""
    storm = max(storms, key=lambda finding: int(finding.numbers["attempts_in_all"]))
    return f" (retries made {storm.numbers['attempts_in_all']} calls of one: {storm.numbers['call']})"


def _nothing_wrong(trace: Trace, findings: Sequence[Finding]) -> str:
    root = trace.root
    total = root.duration
    text = f"nothing is wrong with {call_label(root)} of {root.service}: it took {milliseconds(total):.1f} ms"
    parts: dict[tuple[str, str], int] = {}
    for span, part in critical_path(root).items():
        key = (span.service, call_label(span))
        parts[key] = parts.get(key, 0) + part
    (service, name), most = max(parts.items(), key=lambda each: each[1])
    if total and len(parts) > 1:
        text += f", of which {milliseconds(most):.1f} ms ({most / total:.0%}) in {name} of {service}"
    later = next((span for span in trace.failed if span.failed_hard and _is_later(span, root)), None)
    if later is not None:
        text += f"; but {call_label(later)} of {later.service} failed afterwards with {failure_of(later)}"
    return text + ("; but parts of the trace are missing or its clocks are apart" if findings else "")


def _is_later(span: Span, root: Span) -> bool:
    """Return whether a span is work that the request has left to others: a message, or a task after the response."""
    return span.kind == CONSUMER or (span.kind == INTERNAL and span.start >= root.end)

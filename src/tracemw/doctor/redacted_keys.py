"""Keys whose values were redacted in recent traces, and what would let them pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from tracemw.analysis.model import Span, Trace
from tracemw.doctor.diagnosis import Check, ok, unknown, warning
from tracemw.redaction.places import MASK
from tracemw.redaction.policy import RedactionPolicy
from tracemw.redaction.remedy import remedy_for

_NAME: Final = "redaction"
_MOST: Final = 10
"""Keys that are told, the most frequent first."""


def check_redacted(traces: Sequence[Trace], service: str | None) -> list[Check]:
    """Say which keys of a service's spans had no value in recent traces."""
    if not traces:
        return [unknown(_NAME, "there are no recent traces to look at")]
    counts = Counter(
        key for trace in traces for span in trace.spans if service in (None, span.service) for key in _redacted_of(span)
    )
    if not counts:
        return [ok(_NAME, "no key of recent spans is redacted")]
    policy = RedactionPolicy()
    checks = [
        warning(
            _NAME, f"the values of {key!r} are redacted, in {count} recent spans or events", remedy_for(policy.of(key))
        )
        for key, count in counts.most_common(_MOST)
    ]
    if len(counts) > _MOST:
        checks.append(
            warning(
                _NAME, f"{len(counts) - _MOST} more keys are redacted", "tracing.stats().redacted counts all of them"
            )
        )
    return checks


def _redacted_of(span: Span) -> Iterator[str]:
    """Give the keys whose whole value was redacted. What was masked within a text was a secret."""
    for attributes in (span.attributes, *(event.attributes for event in span.events)):
        yield from (key for key, value in attributes.items() if _is_redacted(value))


def _is_redacted(value: Any) -> bool:
    if isinstance(value, str):
        return value == MASK
    return isinstance(value, Iterable) and not isinstance(value, dict) and MASK in value

"""The rules that one file can answer: each takes a source, and gives the spots that it has found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from tracemw.lint.codes import Spot
from tracemw.lint.rules.contexts import lost_contexts
from tracemw.lint.rules.metric_labels import trace_ids_in_labels
from tracemw.lint.rules.span_rules import names_from_data, spans_across_yields, spans_without_end
from tracemw.lint.rules.swallowing import swallowed_exceptions
from tracemw.lint.rules.untraced_clients import ClientRules, instrumented_by
from tracemw.lint.rules.what_is_recorded import AttributeRules
from tracemw.lint.source import SourceModule

Rule = Callable[[SourceModule], Iterator[Spot]]

RULES: Final[tuple[Rule, ...]] = (
    names_from_data,
    spans_without_end,
    spans_across_yields,
    lost_contexts,
    swallowed_exceptions,
    trace_ids_in_labels,
)

__all__ = ["RULES", "AttributeRules", "ClientRules", "Rule", "instrumented_by"]

"""One trace of a test, and what can be asserted about it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import NamedTuple

from tracemw.analysis.critical_path import critical_path
from tracemw.analysis.evidence import Evidence
from tracemw.analysis.findings.finders import CODES, find
from tracemw.analysis.findings.finding import Finding
from tracemw.analysis.findings.repetition import find_n_plus_one
from tracemw.analysis.model import MILLISECOND, Span, Trace
from tracemw.analysis.report.tree import tree_lines
from tracemw.analysis.shapes import query_label
from tracemw.testing.count import Count
from tracemw.testing.leaking import leaks_in
from tracemw.testing.snapshot import snapshot_of


class Step(NamedTuple):
    """A span on the critical path."""

    name: str
    """The span's name; of a statement, its summary."""

    service: str

    milliseconds: float
    """The time that only this span held up the end of the trace."""


class RecordedTrace:
    """One trace of a test. The assertions show its tree when they fail.

    Made by `Traces` only.
    """

    def __init__(self, trace: Trace) -> None:
        self._trace = trace

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return self._trace.trace_id

    @property
    def name(self) -> str:
        """The name of the root span, such as `GET /orders/{id}`."""
        return self._trace.root.name

    @property
    def spans(self) -> list[Span]:
        """All spans, each with `name`, `kind`, `service`, `attributes`, `events`, `failed`, `parent` and `children`."""
        return list(self._trace.spans)

    def span(self, name: str) -> Span:
        """Return the one span of a name.

        Raises:
            AssertionError: for none, and for several.
        """
        __tracebackhide__ = True
        found = [span for span in self._trace.spans if name in (span.name, query_label(span))]
        if len(found) != 1:
            raise AssertionError(f"expected one span {name!r}, found {len(found)} in\n{self.tree()}")
        return found[0]

    @property
    def queries(self) -> Count:
        """How many statements and commands were sent to databases."""
        return self._count("queries", (span for span in self._trace.spans if span.is_database))

    @property
    def calls(self) -> Count:
        """How many calls were made to other services."""
        return self._count("calls", (span for span in self._trace.spans if span.is_call))

    @property
    def failures(self) -> Count:
        """How many spans have failed."""
        return self._count("failed spans", (span for span in self._trace.spans if span.failed))

    @cached_property
    def findings(self) -> list[Finding]:
        """What `tracemw analyze` would say of the trace, worst first."""
        return find(self._trace)

    def assert_no_findings(self, *codes: str, but: Iterable[str] = ()) -> None:
        """Assert that analysis finds nothing wrong.

        Args:
            *codes: The findings that must not be there, such as `swallowed-error`; none means all of them.
            but: Findings that are accepted.

        Raises:
            AssertionError: for a finding; it shows what is wrong, the line of code, and the remedy.
            TypeError: for a string in place of several codes.
            ValueError: for a code that there is not.
        """
        __tracebackhide__ = True
        if isinstance(but, str):
            raise TypeError(f"but={but!r} is not accepted; use a list of codes, such as but=[{but!r}]")
        unwanted = (_checked(codes) or set(CODES)) - _checked(but)
        self._refuse([finding for finding in self.findings if finding.code in unwanted])

    def assert_no_n_plus_one(self) -> None:
        """Assert that no query or call repeats five times or more beneath one span, however fast each one is.

        Raises:
            AssertionError: for such a repetition; it shows what repeats, and from which line.
        """
        __tracebackhide__ = True
        self._refuse(list(find_n_plus_one(Evidence(self._trace), together=0)))

    def assert_no_secrets(self, *values: str) -> None:
        """Assert that nothing secret would have left: no text that looks like a secret, and none of some values.

        Texts are what a backend would have received, after redaction.

        Args:
            *values: Values that must not leave, such as the card number that the test has sent.

        Raises:
            AssertionError: for such a text; it shows where that is.
            ValueError: for an empty value, which every text holds.
        """
        __tracebackhide__ = True
        for value in values:
            if not value:
                raise ValueError(f"{value!r} is not accepted; use strings that must not leave, such as a card number")
        if leaks := list(leaks_in(self._trace, values)):
            raise AssertionError("\n".join([*leaks, "", self.tree()]))

    def critical_path(self) -> list[Step]:
        """Return the spans that held up the end of the trace, by their start. Their times sum to its duration."""
        held = critical_path(self._trace.root)
        return [
            Step(query_label(span), span.service, own / MILLISECOND)
            for span, own in sorted(held.items(), key=lambda each: each[0].start)
        ]

    def snapshot(self, *attributes: str) -> str:
        """Return the tree of spans without times and ids, to compare with what it was.

        Args:
            *attributes: The keys of attributes to show, such as `http.response.status_code`.
        """
        return snapshot_of(self._trace, attributes)

    def tree(self) -> str:
        """Return the tree of spans with times, as `tracemw analyze` shows it."""
        return "\n".join(line.text for line in tree_lines(self._trace, frozenset()))

    def _count(self, what: str, spans: Iterable[Span]) -> Count:
        return Count.of(what, spans, self.tree())

    def _refuse(self, findings: Sequence[Finding]) -> None:
        __tracebackhide__ = True
        if findings:
            told = "\n".join(f"{found.code}: {found.title}\n    {found.remedy}" for found in findings)
            raise AssertionError(f"{told}\n\n{self.tree()}")

    def __repr__(self) -> str:
        return f"<{self.name}, {len(self._trace.spans)} spans>"


def _checked(codes: Iterable[str]) -> set[str]:
    if unknown := set(codes) - set(CODES):
        raise ValueError(f"{min(unknown)!r} is not accepted; use some of {', '.join(CODES)}")
    return set(codes)

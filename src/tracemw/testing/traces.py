"""All traces of a test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

from tracemw.analysis.load.otlp_binary import spans_of_bytes
from tracemw.analysis.load.reading import group
from tracemw.testing.count import Count
from tracemw.testing.trace import RecordedTrace

if TYPE_CHECKING:
    from tracemw._setup.rehearsal import Rehearsal

_PAUSE: Final = 0.005
_NONE: Final = "  (no trace: is the middleware added, and the request not skipped?)"


class Traces:
    """The traces that a test has recorded: those whose spans have ended. The fixture `traces` makes it.

    They are what a backend would have received: names, attributes, redaction and folding included.
    """

    def __init__(self, rehearsal: Rehearsal) -> None:
        self._rehearsal = rehearsal

    @property
    def all(self) -> list[RecordedTrace]:
        """Every trace, in the order of their start."""
        self._rehearsal.flush()
        found = group(span for request in self._rehearsal.requests for span in spans_of_bytes(request))
        return [RecordedTrace(trace) for trace in sorted(found, key=lambda trace: trace.root.start)]

    def one(self, *, within: float = 0.0) -> RecordedTrace:
        """Return the one trace.

        Args:
            within: Seconds to wait for it, where a server in another thread may still be at work.

        Raises:
            AssertionError: for none, and for several; it shows them.
            TypeError: if `within` is no number.
        """
        __tracebackhide__ = True
        return self._only(lambda _: True, "one trace", within)

    def named(self, name: str, *, within: float = 0.0) -> RecordedTrace:
        """Return the one trace whose root span has a name, such as `GET /orders/{id}`.

        Args:
            name: The name.
            within: Seconds to wait for it.

        Raises:
            AssertionError: for none, and for several; it shows all traces.
            TypeError: if `within` is no number.
        """
        __tracebackhide__ = True
        return self._only(lambda trace: trace.name == name, f"one trace named {name!r}", within)

    @property
    def queries(self) -> Count:
        """How many statements and commands were sent to databases, in all traces."""
        found = self.all
        spans = (span for trace in found for span in trace.spans if span.is_database)
        return Count.of("queries", spans, _shown(found))

    def assert_no_findings(self, *codes: str, but: Iterable[str] = ()) -> None:
        """Assert that analysis finds nothing wrong with any trace: see `RecordedTrace.assert_no_findings`."""
        __tracebackhide__ = True
        for trace in self.all:
            trace.assert_no_findings(*codes, but=but)

    def assert_no_n_plus_one(self) -> None:
        """Assert that no query or call repeats in any trace: see `RecordedTrace.assert_no_n_plus_one`."""
        __tracebackhide__ = True
        for trace in self.all:
            trace.assert_no_n_plus_one()

    def assert_no_secrets(self, *values: str) -> None:
        """Assert that nothing secret would have left with any trace: see `RecordedTrace.assert_no_secrets`."""
        __tracebackhide__ = True
        for trace in self.all:
            trace.assert_no_secrets(*values)

    def clear(self) -> None:
        """Forget what has been recorded so far, such as the test's own preparations."""
        self._rehearsal.flush()
        self._rehearsal.requests.clear()

    def _only(self, is_meant: Callable[[RecordedTrace], bool], what: str, within: float) -> RecordedTrace:
        __tracebackhide__ = True
        if isinstance(within, bool) or not isinstance(within, int | float):
            raise TypeError(f"within={within!r} is not accepted; use seconds, such as within=1.0")
        deadline = time.monotonic() + within
        while True:
            found = self.all
            meant = [trace for trace in found if is_meant(trace)]
            if len(meant) == 1:
                return meant[0]
            if time.monotonic() >= deadline:
                raise AssertionError(f"expected {what}, found {len(meant)}:\n{_shown(found)}")
            time.sleep(_PAUSE)

    def __iter__(self) -> Iterator[RecordedTrace]:
        return iter(self.all)

    def __len__(self) -> int:
        return len(self.all)

    def __repr__(self) -> str:
        return f"<traces: {', '.join(trace.name for trace in self.all) or 'none'}>"


def _shown(traces: Iterable[RecordedTrace]) -> str:
    return (
        "\n".join(trace.tree() for trace in traces)
        or "  (no trace: is the middleware added, and the request not skipped?)"
    )

"""The pytest plugin: the fixture `traces`, and how pytest shows an assertion about a number of spans that fails."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # each run of pytest loads this module, whether or not a test asks for traces
    from tracemw.testing import Traces


@pytest.fixture
def traces() -> Iterator[Traces]:
    """What the test has recorded: see `tracemw.testing.Traces`. Nothing is sent, and afterwards all is as before."""
    from tracemw._setup.rehearsal import rehearsing
    from tracemw.testing import Traces

    with rehearsing() as rehearsal:
        yield Traces(rehearsal)


def pytest_assertrepr_compare(op: str, left: object, right: object) -> list[str] | None:
    """Show the spans that were counted, where an assertion about their number fails."""
    from tracemw.testing.count import Count

    counted = left if isinstance(left, Count) else right
    return counted.explain(f"{left!r} {op} {right!r}") if isinstance(counted, Count) else None

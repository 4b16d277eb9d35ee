"""Traces with the findings that belong to them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tracemw.analysis.load.reading import read_traces
from tracemw.analysis.model import Trace

Codes = Mapping[str, frozenset[str]]
"""Codes, each with the spans one of which a finding has to name; none of them when any span is right."""


@dataclass(frozen=True, kw_only=True)
class Labelled:
    """One or several traces, and what is wrong with them."""

    name: str
    """What happens in them, such as `n-plus-one: orm, just below`."""

    document: Mapping[str, Any]
    """The spans, as OTLP in JSON."""

    expected: Codes = field(default_factory=dict)
    """What has to be found."""

    allowed: frozenset[str] = frozenset()
    """What may be found or not: the description leaves it open, or it says the same in other words."""

    causes: tuple[str, ...] = ()
    """The codes of which one has to come first. Empty where nothing is wrong, or nothing comes first."""

    over_all: bool = False
    """Whether the labels are of the traces together, and not of each."""

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong."""
        return not self.expected

    def traces(self) -> list[Trace]:
        """Return the traces, newly read."""
        return read_traces(json.dumps(self.document).encode())

"""How many requests one trace stands for."""

from __future__ import annotations

import re
from typing import Final

from tracemw.analysis.model import Trace

_THRESHOLD: Final = re.compile(r"(?:^|[,;])\s*ot=(?:[^,]*;)?th:([0-9a-f]{1,14})(?![0-9a-f])")
_FULL: Final = 1 << 56


def weight(trace: Trace) -> float:
    """Return how many requests a trace stands for, by the threshold in its trace state; 1 if there is none.

    0 is for traces that are no sample of the traffic: kept since they failed or were slow, or there for a spike.
    Source: opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling.
    """
    root = trace.root
    if "tracemw.kept" in root.attributes or "tracemw.spike" in root.attributes:
        return 0.0
    found = _THRESHOLD.search(root.trace_state)
    rejected = int(found[1].ljust(14, "0"), 16) if found else 0
    return _FULL / (_FULL - rejected)

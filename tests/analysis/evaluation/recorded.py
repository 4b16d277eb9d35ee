"""Traces of real services, with their labels: see ``recording/``."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

from analysis.evaluation.labelled import Labelled

RECORDED = Path(__file__).parent / "recorded"


def read_recorded() -> Iterator[Labelled]:
    """Give each recorded trace."""
    for file in sorted(RECORDED.glob("*.json.gz")):
        document = json.loads(gzip.decompress(file.read_bytes()))
        for label in document["labels"]:
            groups = [
                {
                    **group,
                    "scopeSpans": [
                        {**scope, "spans": [span for span in scope["spans"] if span["traceId"] == label["trace_id"]]}
                        for scope in group["scopeSpans"]
                    ],
                }
                for group in document["resourceSpans"]
            ]
            expected = {code: frozenset(spans) for code, spans in label["expected"].items()}
            yield Labelled(
                name=f"{'' if expected else 'healthy: '}recorded {label['path']} ({file.name.partition('.')[0]})",
                document={"resourceSpans": groups},
                expected=expected,
                allowed=frozenset(label["allowed"]) - set(expected),
                causes=tuple(label["causes"]),
            )

"""Many traces as a page shows them: the findings, the routes of services, and the map of who calls whom."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tracemw.analysis.grouping import FindingGroup, Survey
from tracemw.analysis.latencies import Exemplar, Latencies
from tracemw.analysis.model import milliseconds
from tracemw.analysis.report.as_json import of_many
from tracemw.analysis.traffic import Node, Traffic
from tracemw.analysis.verdict import Verdict


def survey_document(made: Survey, verdict: Verdict, groups: list[FindingGroup], traffic: Traffic) -> dict[str, Any]:
    """Return what `analyze --json` says of many traces, and more.

    * `routes`: `service`, `name`, the numbers of `calls` and of those that `failed`, `p50`, `p95`, `p99`, and the
      `bars` of a histogram; those that take most time in all come first
    * `ways`: the map, as `caller` and `called` (each with `kind` and `name`), with the same numbers

    A quantile is a call that took about so long: `ms`, `trace_id` and `span_id`; or null, if no trace is a sample of
    the traffic. A bar has `low_ms`, `high_ms`, `calls`, `failed` and `exemplars`.
    """
    routes = sorted(traffic.routes.items(), key=lambda each: -each[1].total)
    return {
        **of_many(made, verdict, groups),
        "routes": [
            {
                "service": route.service,
                "name": route.name,
                **_numbers(latencies),
                "bars": [
                    {
                        "low_ms": milliseconds(bar.low),
                        "high_ms": milliseconds(bar.high),
                        "calls": round(bar.calls, 3),
                        "failed": round(bar.failed, 3),
                        "exemplars": [_exemplar(each) for each in bar.exemplars],
                    }
                    for bar in latencies.bars()
                ],
            }
            for route, latencies in routes
        ],
        "ways": [
            {"caller": _place(way.caller), "called": _place(way.called), **_numbers(latencies)}
            for way, latencies in traffic.ways().items()
        ],
    }


def _numbers(latencies: Latencies) -> Mapping[str, Any]:
    return {
        "seen": latencies.seen,
        "calls": round(latencies.calls, 3),
        "failed": round(latencies.failed, 3),
        **{f"p{percent}": _exemplar(latencies.quantile(percent / 100)) for percent in (50, 95, 99)},
    }


def _exemplar(call: Exemplar | None) -> Mapping[str, Any] | None:
    return None if call is None else {"ms": milliseconds(call.took), "trace_id": call.trace_id, "span_id": call.span_id}


def _place(place: Node) -> Mapping[str, str]:
    return {"kind": place.kind, "name": place.name}

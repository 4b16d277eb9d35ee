"""Queries of the stack: the series and labels that PromQL names, and the attributes that TraceQL names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import promql_parser

from deploy.stack import dashboards, data_sources, loaded, panels

_VARIABLES: Final = {
    "$__rate_interval": "5m",
    "$__range": "1h",
    "$$__tags": 'service_name="storefront", http_route="/orders"',
    "$service": "storefront",
    "$route": "/orders/{number}",
    "$slow": "1s",
}
"""What Grafana puts in place."""

OTHERS: Final[Mapping[str, frozenset[str]]] = {
    name: frozenset(labels.split())
    for name, labels in {
        "otelcol_receiver_accepted_spans_total": "receiver transport",
        "otelcol_receiver_refused_spans_total": "receiver transport",
        "otelcol_exporter_send_failed_spans_total": "exporter",
        "otelcol_exporter_send_failed_log_records_total": "exporter",
        "otelcol_exporter_send_failed_metric_points_total": "exporter",
        "otelcol_exporter_queue_size": "exporter",
        "otelcol_exporter_queue_capacity": "exporter",
        "tempo_discarded_spans_total": "tenant reason",
        "tempo_distributor_spans_received_total": "tenant",
        "tempo_distributor_bytes_received_total": "tenant",
        "probe_success": "",
        "probe_ssl_earliest_cert_expiry": "",
        "alertmanager_notifications_failed_total": "integration reason",
        "node_filesystem_avail_bytes": "mountpoint",
        "node_filesystem_size_bytes": "mountpoint",
        "kubelet_volume_stats_available_bytes": "namespace persistentvolumeclaim",
        "kubelet_volume_stats_capacity_bytes": "namespace persistentvolumeclaim",
        "up": "",
        "ALERTS": "alertstate alertname severity team",
    }.items()
}
"""The series that are not tracemw's, as the programs that emit them have documented them."""


class Query(NamedTuple):
    """One query, and where it stands."""

    where: str
    text: str


def promql() -> Iterator[Query]:
    """Every query of PromQL: of panels, alerts, and links from traces."""
    for where, panel in panels():
        yield from (Query(where, _filled(each["expr"])) for each in panel["targets"] if _is(each, "prometheus"))
    for rule in alerts():
        yield Query(f"alert {rule['alert']}", rule["expr"])
    for source in (source for sources in data_sources().values() for source in sources):
        for query in source["jsonData"].get("tracesToMetrics", {}).get("queries", ()):
            yield Query(f"{source['name']}: {query['name']}", _filled(query["query"]))


def looked_up() -> Iterator[tuple[Query, str]]:
    """What the variables of dashboards look up: series, and the label whose values they are."""
    for name, board in dashboards().items():
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                asked = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"]["query"])
                assert asked is not None, variable["query"]
                yield Query(f"{name}: ${variable['name']}", _filled(asked[1])), asked[2]


def traceql() -> Iterator[Query]:
    """Every query of TraceQL."""
    for where, panel in panels():
        yield from (Query(where, _filled(each["query"])) for each in panel["targets"] if _is(each, "tempo"))


def alerts() -> list[dict[str, Any]]:
    """Every alert."""
    return [rule for group in loaded("prometheus/alerts.yaml")["groups"] for rule in group["rules"]]


def selectors(query: str) -> list[promql_parser.VectorSelector]:
    """The series that a query of PromQL reads."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.MatrixSelector):
            node = node.vector_selector
        if isinstance(node, promql_parser.VectorSelector) and node not in found:
            found.append(node)

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def labels(query: str) -> set[str]:
    """The labels by which a query of PromQL chooses and groups."""
    grouped = re.findall(r"\b(?:by|without|on|ignoring) *\(([^)]*)\)", query)
    chosen = {matcher.name for selector in selectors(query) for matcher in selector.matchers.matchers}
    return chosen | {name.strip() for names in grouped for name in names.split(",") if name}


def _filled(text: str) -> str:
    for name, value in _VARIABLES.items():
        text = text.replace(name, value)
    return text


def _is(target: Mapping[str, Any], kind: str) -> bool:
    return bool(target["datasource"]["type"] == kind)

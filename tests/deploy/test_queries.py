"""Dashboards and alerts ask for what tracemw emits."""

from __future__ import annotations

import re

import promql_parser
import pytest

from deploy.emitted import OF_THE_STACK, Emitted
from deploy.queries import OTHERS, Query, labels, looked_up, promql, selectors, traceql
from deploy.stack import dashboards, data_sources, loaded, panels, texts
from tracemw.viewer.querying.traceql import parse_traceql

PROMQL = list(promql())
TRACEQL = list(traceql())
INTRINSICS = {"name", "status", "kind", "duration"}


def where(query: Query) -> str:
    return query.where


@pytest.mark.parametrize("query", PROMQL, ids=where)
def test_prometheus_could_parse_a_query(query: Query) -> None:
    promql_parser.parse(query.text)


@pytest.mark.parametrize("query", PROMQL, ids=where)
def test_a_query_names_series_and_labels_that_there_are(query: Query, emitted: Emitted) -> None:
    known = {name: set(found) | OF_THE_STACK for name, found in OTHERS.items()} | emitted.series
    names = {str(selector.name) for selector in selectors(query.text)}
    assert names
    assert names - set(known) == set()
    assert labels(query.text) - {"le"} <= set().union(*(known[name] for name in names))
    for selector in selectors(query.text):
        assert {matcher.name for matcher in selector.matchers.matchers} <= known[str(selector.name)]


def test_variables_of_dashboards_look_up_labels_that_there_are(emitted: Emitted) -> None:
    found = list(looked_up())
    assert found
    for query, label in found:
        for selector in selectors(query.text):
            labels_of_it = emitted.series[str(selector.name)]
            assert {label, *(matcher.name for matcher in selector.matchers.matchers)} <= labels_of_it, query


def test_rates_errors_and_durations_come_from_metrics_of_requests_and_not_from_kept_spans() -> None:
    (board,) = (board for board in dashboards().values() if board["uid"] == "tracemw-requests")
    kinds = {target["datasource"]["type"] for panel in board["panels"] for target in panel["targets"]}
    assert kinds == {"prometheus", "loki"}
    assert not any("traces_spanmetrics" in query.text for query in PROMQL)


def test_durations_have_exemplars_and_their_series_do_too(emitted: Emitted) -> None:
    asked = [
        target["expr"]
        for _, panel in panels()
        for target in panel["targets"]
        if target.get("exemplar") and target["datasource"]["type"] == "prometheus"
    ]
    assert asked
    for expr in asked:
        assert set(re.findall(r"\bhttp_\w+_bucket", expr)) <= emitted.exemplars


@pytest.mark.parametrize("query", TRACEQL, ids=where)
def test_tempo_could_parse_a_query(query: Query) -> None:
    parse_traceql(query.text)


@pytest.mark.parametrize("query", TRACEQL, ids=where)
def test_a_query_names_attributes_that_spans_have(query: Query, emitted: Emitted) -> None:
    bare = re.sub(r'"[^"]*"', "", query.text)
    assert set(re.findall(r"\bspan\.([\w.]+)", bare)) - {"tracemw.spike"} <= emitted.attributes
    assert set(re.findall(r"\bresource\.([\w.]+)", bare)) <= emitted.resource


def test_what_counts_spans_leaves_kept_ones_out_and_asks_for_their_sampling() -> None:
    counting = [query.text for query in TRACEQL if parse_traceql(query.text).metrics is not None]
    assert counting
    for text in counting:
        assert "span.tracemw.kept = nil" in text
        assert "span.tracemw.spike = nil" in text
        assert "with (extrapolate=true)" in text


def test_the_reasons_that_a_dashboard_asks_for_are_reasons(emitted: Emitted) -> None:
    asked = {reason for query in TRACEQL for reason in re.findall(r'span\.tracemw\.kept = "(\w+)"', query.text)}
    assert asked
    assert asked <= emitted.kept
    assert emitted.kept == {"error", "slow", "manual"}


def test_every_metric_of_tracemw_stands_on_a_dashboard(emitted: Emitted) -> None:
    shown = {str(selector.name) for query in PROMQL for selector in selectors(query.text)}
    own = {re.sub(r"_(bucket|sum|count)$", "", name) for name in emitted.series if not name.startswith("db_")}
    assert own - {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown} == set()


@pytest.mark.parametrize("name", dashboards())
def test_a_dashboard_is_what_grafana_expects(name: str) -> None:
    board = dashboards()[name]
    assert board["uid"] == f"tracemw-{name.removesuffix('.json')}"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    places = [panel["gridPos"] for panel in board["panels"]]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    cells = [(place["x"] + x, place["y"] + y) for place in places for x in range(place["w"]) for y in range(place["h"])]
    assert len(set(cells)) == len(cells), "panels lie one upon the other"


def test_a_dashboard_asks_data_sources_and_variables_that_there_are() -> None:
    there = {source["uid"] for sources in data_sources().values() for source in sources}
    for board in dashboards().values():
        variables = {variable["name"]: variable for variable in board["templating"]["list"]}
        for panel in board["panels"]:
            for asked in (panel["datasource"], *(target["datasource"] for target in panel["targets"])):
                if asked is None:
                    continue
                variable = re.fullmatch(r"\$\{(\w+)\}", asked["uid"])
                if variable is None:
                    assert asked["uid"] in there
                else:
                    assert variables[variable[1]]["query"] == asked["type"]
            named = {name for target in panel["targets"] for name in re.findall(r"\$(\w+)", str(target)) if name}
            assert {name for name in named if not name.startswith("__")} <= set(variables)


def test_links_lead_to_dashboards_and_hand_on_variables_that_these_have() -> None:
    boards = {board["uid"]: {each["name"] for each in board["templating"]["list"]} for board in dashboards().values()}
    links = [text for text in texts(dashboards()) if text.startswith("/d/")]
    assert links
    for link in links:
        uid, _, query = link.removeprefix("/d/").partition("?")
        handed = set(re.findall(r"var-(\w+)=", query)) | set(re.findall(r"\$\{(\w+):queryparam\}", query))
        assert handed <= boards[uid]


def test_tempo_leaves_kept_spans_out_of_its_metrics_and_counts_sampled_ones_by_their_weight() -> None:
    generator = loaded("tempo/tempo.yaml")["overrides"]["defaults"]["metrics_generator"]
    assert set(generator["processors"]) == {"span-metrics", "service-graphs"}
    for processor in (generator["processor"]["span_metrics"], generator["processor"]["service_graphs"]):
        assert processor["enable_tracestate_span_multiplier"] is True
        assert processor["dimensions"] == ["team"]
        left_out = [policy["exclude"] for policy in processor["filter_policies"]]
        assert all(each["match_type"] == "regex" for each in left_out)
        keys = [attribute["key"] for each in left_out for attribute in each["attributes"]]
        assert keys == ["span.tracemw.kept", "span.tracemw.spike"]

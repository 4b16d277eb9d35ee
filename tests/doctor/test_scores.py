"""The Instrumentation Score of traces that are made by hand, and of a viewer's."""

from __future__ import annotations

import time
from typing import Any

import pytest

from analysis.building import Builder, exception
from doctor.examined import diagnose
from tracemw.analysis.model import Resource, Trace
from tracemw.doctor.instrumentation_score import Score, scores_of
from tracemw.doctor.score_rules import RULES, WEIGHTS
from viewer.running import viewer
from viewer.samples import SECOND, Spans, span

GOOD = {"service.name": "shop", "service.instance.id": "a", "deployment.environment.name": "production"}


def trace(built: Builder, **resource: Any) -> Trace:
    """A trace of one process, whose resource has further attributes, written with `__` in place of dots."""
    attributes = {**GOOD, **{key.replace("__", "."): value for key, value in resource.items()}}
    attributes = {key: value for key, value in attributes.items() if value is not None}
    made = Resource(str(attributes.get("service.name", "")), attributes)
    for each in built.spans:
        each.resource = made
    return built.trace()


def request(trace_id: str = "0a" * 16, **more: Any) -> Builder:
    """A request being served."""
    built = Builder(trace_id)
    built.request(0, 100, **more)
    return built


def broken(*traces: Trace) -> set[str]:
    """The ids of the rules that the one service of traces breaks."""
    (score,) = scores_of(traces)
    return {each.rule.id for each in score.judged if each.violation}


def test_a_service_that_keeps_all_rules_has_100_and_is_excellent() -> None:
    (score,) = scores_of([trace(request())])
    assert (score.service, score.value, score.category, score.traces) == ("shop", 100, "excellent", 1)


@pytest.mark.parametrize(
    ("rule", "resource"),
    [
        ("RES-001", {"service__instance__id": None}),
        ("RES-003", {"k8s__pod__name": "shop-1"}),
        ("RES-004", {"http__request__method": "GET"}),
        ("RES-005", {"service__name": None}),
        ("RES-006", {"service__criticality": "HIGH"}),
        ("RES-007", {"deployment__environment__name": ""}),
        ("RES-010", {"process__command_args": ["java", "-Dspring.datasource.password=hunter2-hunter2"]}),
    ],
)
def test_a_resource_breaks_a_rule_and_no_other(rule: str, resource: dict[str, Any]) -> None:
    assert broken(trace(request(), **resource)) == {rule}


def test_two_pods_that_share_an_instance_id_break_a_rule() -> None:
    pods = [
        trace(request(trace_id), k8s__pod__name=f"shop-{number}", k8s__pod__uid=f"uid-{number}")
        for number, trace_id in enumerate(("0a" * 16, "0b" * 16))
    ]
    assert broken(*pods) == {"RES-002"}
    assert broken(pods[0]) == set()


def _internal(count: int, milliseconds: float = 8) -> Builder:
    built = Builder()
    root = built.request(0, 100)
    for _ in range(count):
        built.add(root, "step", 1, 1 + milliseconds)
    return built


def test_more_than_ten_internal_spans_of_a_service_break_a_rule() -> None:
    assert broken(trace(_internal(10))) == set()
    assert broken(trace(_internal(11))) == {"SPA-001"}


def test_more_than_twenty_spans_below_five_milliseconds_break_a_rule() -> None:
    built = Builder()
    root = built.request(0, 100)
    for _ in range(20):
        built.query(root, 1, 2)
    assert broken(trace(built)) == set()
    built = Builder()
    root = built.request(0, 100)
    for _ in range(21):
        built.query(root, 1, 2)
    assert broken(trace(built)) == {"SPA-005"}


def test_a_span_whose_parent_is_not_there_breaks_a_rule() -> None:
    built = request()
    built.add("f" * 16, "lost", 1, 2)
    assert broken(trace(built)) == {"SPA-002"}


def test_names_that_differ_in_values_only_break_a_rule() -> None:
    def named(count: int) -> Trace:
        built = Builder()
        root = built.request(0, 100)
        for number in range(count):
            built.add(root, f"order {number}", 1, 9)
        return trace(built)

    assert broken(named(4)) == set()
    assert broken(named(5)) == {"SPA-003"}


def test_a_client_span_at_the_root_breaks_a_rule() -> None:
    built = Builder()
    built.add(None, "GET", 0, 10, kind="CLIENT")
    assert broken(trace(built)) == {"SPA-004"}


@pytest.mark.parametrize(
    "attributes",
    [
        {"note": "write to alice@example.com"},
        {"db__query__text": "SELECT 1 WHERE card = 4111 1111 1111 1111"},
        {"api_key": "anything"},
        {"card": 4111111111111111},
        {"words": ["a", "Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9"]},
    ],
)
def test_a_secret_in_an_attribute_breaks_a_rule(attributes: dict[str, Any]) -> None:
    assert broken(trace(request(**attributes))) == {"SPA-006"}


def test_a_secret_in_an_event_or_a_message_breaks_a_rule() -> None:
    assert broken(trace(request(events=(exception("ValueError", "password=hunter2-hunter2"),)))) == {"SPA-006"}
    assert broken(trace(request(message="mail to alice@example.com failed"))) == {"SPA-006"}


def test_redacted_values_break_no_rule() -> None:
    assert broken(trace(request(api_key="[REDACTED]", note="mail to [REDACTED]"))) == set()


@pytest.mark.parametrize(("key", "is_wrong"), [("service__name", True), ("service__peer__name", False)])
def test_what_describes_the_process_does_not_stand_on_a_span(key: str, is_wrong: bool) -> None:
    assert ("RES-004" in broken(trace(request(**{key: "stock"})))) == is_wrong


def test_the_score_is_the_share_of_the_weights_as_the_specification_has_it() -> None:
    (score,) = scores_of([trace(request(), service__name=None, service__instance__id=None)])
    all_of_them = sum(WEIGHTS[rule.impact] for rule in RULES)
    assert score.value == pytest.approx(100 * (all_of_them - 40 - 20) / all_of_them)
    assert score.category == "good"


@pytest.mark.parametrize(
    ("kept", "category"), [(14, "excellent"), (11, "good"), (8, "needs improvement"), (1, "poor"), (0, "poor")]
)
def test_a_value_has_its_category(kept: int, category: str) -> None:
    (whole,) = scores_of([trace(request())])
    judged = [each for each in whole.judged if each.rule.impact == "important"]
    parts = (judged * 3)[:14]
    cut = tuple(type(each)(each.rule, "" if number < kept else "broken") for number, each in enumerate(parts))
    assert Score("shop", 1, cut).category == category


def test_each_service_has_its_own_score() -> None:
    built = Builder()
    root = built.request(0, 100, service="shop")
    built.add(built.call(root, 1, 50), "GET /items", 2, 40, service="stock", kind="SERVER")
    first, second = scores_of([built.trace()])
    assert (first.service, second.service) == ("shop", "stock")
    assert first.value == second.value < 100


def test_the_command_scores_the_traces_of_a_viewer_and_names_keys_that_were_redacted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with viewer() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
        now = int(time.time() * SECOND)
        spans = [span(7, number, name=f"order {number}", start=now, order__id="[REDACTED]") for number in range(1, 7)]
        assert running.send(Spans("shop", tuple(spans))).status_code == 200
        diagnosed = diagnose()
    (score,) = diagnosed.document["scores"]
    assert score["service"] == "shop"
    failed = {rule["id"] for rule in score["rules"] if not rule["passed"]}
    assert {"RES-001", "RES-007", "SPA-003"} <= failed
    assert not score["is_complete"]
    check = diagnosed.check("redaction")
    assert check["status"] == "warning"
    assert "'order.id'" in check["sentence"]
    assert "allow={'order.id'}" in check["remedy"]

"""The rules of the Instrumentation Score that traces can tell of.

Source: github.com/instrumentation-score/spec, `specification.md` and `rules/`, version 0.1. Ids, impacts and
criteria are those of the specification. Where a criterion has no number (SPA-003) or lists examples (RES-004, SPA-006,
RES-010), the function says what is taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from tracemw.analysis.model import CLIENT, INTERNAL, MILLISECOND
from tracemw.analysis.shapes import without_numbers
from tracemw.doctor.telemetry import Telemetry
from tracemw.redaction.detectors import secrets
from tracemw.redaction.pairs import is_telling
from tracemw.redaction.places import MASK

Impact = Literal["critical", "important", "normal", "low"]

WEIGHTS: Final[dict[Impact, int]] = {"critical": 40, "important": 30, "normal": 20, "low": 10}
"""How much a rule counts, by its impact."""

_MOST_INTERNAL: Final = 10
_MOST_SHORT: Final = 20
_SHORT: Final = 5 * MILLISECOND
_MANY_NAMES: Final = 5
"""Names that differ in nothing but numbers, from which on their number has no bound."""

_CRITICALITIES: Final = ("mission_critical", "high", "medium", "low")
_WORKLOAD: Final = ("k8s.pod.uid", "k8s.pod.name", "container.id", "host.name")
"""Attributes that tell one workload from another."""

_OF_RESOURCES: Final = ("service.", "deployment.", "telemetry.sdk.", "k8s.", "host.", "container.", "process.runtime.")
_PEER: Final = "service.peer."
"""Who is called stands on the span."""

_OF_SPANS: Final = (
    *("http.", "url.", "db.", "rpc.", "messaging.", "exception.", "network.", "client.", "server.", "code."),
    "thread.",
)


@dataclass(frozen=True)
class ScoreRule:
    """One rule."""

    id: str
    impact: Impact
    says: str
    """What it asks for."""

    remedy: str
    violation: Callable[[Telemetry], str]
    """Says how a service breaks it; empty where the service does not."""


def _without_name(told: Telemetry) -> str:
    return "" if told.service else "there is no service.name"


def _without_instance(told: Telemetry) -> str:
    return _missing(told, "service.instance.id")


def _without_environment(told: Telemetry) -> str:
    return _missing(told, "deployment.environment.name")


def _missing(told: Telemetry, key: str) -> str:
    without = sum(not str(attributes.get(key) or "") for attributes in told.resources)
    return f"{without} of {len(told.resources)} resources have no {key}" if without else ""


def _shared_instance(told: Telemetry) -> str:
    """Find two workloads with one id: an attribute that tells workloads apart differs."""
    seen: dict[Any, dict[str, Any]] = {}
    for attributes in told.resources:
        instance = attributes.get("service.instance.id")
        if not instance:
            continue
        first = seen.setdefault(instance, attributes)
        for key in _WORKLOAD:
            if key in first and key in attributes and first[key] != attributes[key]:
                return f"{first[key]} and {attributes[key]} ({key}) share the service.instance.id {instance}"
    return ""


def _pod_without_uid(told: Telemetry) -> str:
    without = [
        attributes
        for attributes in told.resources
        if any(key.startswith("k8s.") for key in attributes) and not attributes.get("k8s.pod.uid")
    ]
    return (
        f"{len(without)} of {len(told.resources)} resources are of Kubernetes, and have no k8s.pod.uid"
        if without
        else ""
    )


def _wrong_level(told: Telemetry) -> str:
    """Look at namespaces that the conventions have for resources only, or for spans only."""
    for attributes in told.resources:
        for key in attributes:
            if key.startswith(_OF_SPANS):
                return f"{key} is an attribute of the resource"
    for span in told.spans:
        for key in span.attributes:
            if key.startswith(_OF_RESOURCES) and not key.startswith(_PEER):
                return f"{key} is an attribute of the span {span.name!r}"
    return ""


def _wrong_criticality(told: Telemetry) -> str:
    for attributes in told.resources:
        value = attributes.get("service.criticality")
        if value is not None and value not in _CRITICALITIES:
            return f"service.criticality is {value!r}"
    return ""


def _secret_in_resource(told: Telemetry) -> str:
    for attributes in told.resources:
        key = _secret_key(attributes)
        if key is not None:
            return f"{key} of the resource holds what looks like a secret"
    return ""


def _secret_in_span(told: Telemetry) -> str:
    """Look at names, messages, attributes and events with the detectors that redact."""
    for span in told.spans:
        if secrets(span.name) or secrets(span.status_message):
            return f"the name or message of a span in trace {span.trace_id} holds what looks like a secret"
        for attributes in (span.attributes, *(event.attributes for event in span.events)):
            key = _secret_key(attributes)
            if key is not None:
                return f"{key} in trace {span.trace_id} holds what looks like a secret"
    return ""


def _secret_key(attributes: dict[str, Any]) -> str | None:
    return next((key for key, value in attributes.items() if _holds_secret(key, value)), None)


def _holds_secret(key: str, value: Any) -> bool:
    return any(text != MASK and (is_telling(key) or bool(secrets(text))) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    """Give every text and whole number within a value."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, (list, tuple)):
        for each in value:
            yield from _texts(each)


def _many_internal(told: Telemetry) -> str:
    def count(trace_id: str) -> int:
        return sum(span.kind == INTERNAL for span in told.traces[trace_id])

    worst = max(told.traces, key=count)
    return f"{count(worst)} INTERNAL spans are in trace {worst}" if count(worst) > _MOST_INTERNAL else ""


def _orphans(told: Telemetry) -> str:
    if not told.orphans:
        return ""
    first = told.orphans[0]
    return (
        f"{len(told.orphans)} spans have a parent that is not there, such as {first.name!r} in trace {first.trace_id}"
    )


def _many_names(told: Telemetry) -> str:
    """Find names that differ in nothing but numbers, UUIDs and hashes. The rule itself gives no number."""
    names: defaultdict[str, set[str]] = defaultdict(set)
    for span in told.spans:
        names[without_numbers(span.name)].add(span.name)
    shape = max(names, key=lambda each: len(names[each]))
    if len(names[shape]) < _MANY_NAMES:
        return ""
    return f"{len(names[shape])} span names are alike but for values, such as {min(names[shape])!r}"


def _client_root(told: Telemetry) -> str:
    for span in told.spans:
        if span.kind == CLIENT and not span.parent_id:
            return f"the root of trace {span.trace_id} is the CLIENT span {span.name!r}"
    return ""


def _many_short(told: Telemetry) -> str:
    def count(trace_id: str) -> int:
        return sum(span.duration < _SHORT for span in told.traces[trace_id])

    worst = max(told.traces, key=count)
    return f"{count(worst)} spans of trace {worst} are shorter than 5 ms" if count(worst) > _MOST_SHORT else ""


RULES: Final = (
    ScoreRule(
        "RES-005",
        "critical",
        "service.name is present",
        "pass a name to tracemw.init(), or set OTEL_SERVICE_NAME",
        _without_name,
    ),
    ScoreRule(
        "RES-010",
        "critical",
        "resource attributes hold no sensitive data",
        "take it out of OTEL_RESOURCE_ATTRIBUTES and of resource detectors",
        _secret_in_resource,
    ),
    ScoreRule(
        "SPA-006",
        "critical",
        "spans hold no sensitive data",
        "find the place with `tracemw lint`; what tracemw exports is redacted, unless allow= names the key",
        _secret_in_span,
    ),
    ScoreRule(
        "RES-002",
        "important",
        "service.instance.id is unique",
        "leave service.instance.id out of OTEL_RESOURCE_ATTRIBUTES: tracemw makes one for each process",
        _shared_instance,
    ),
    ScoreRule(
        "RES-003",
        "important",
        "k8s.pod.uid is present on Kubernetes",
        "put k8s.pod.uid=$(POD_UID) into OTEL_RESOURCE_ATTRIBUTES by the downward API, or have a collector add it",
        _pod_without_uid,
    ),
    ScoreRule(
        "RES-004",
        "important",
        "attributes of the semantic conventions are at the right level",
        "put what describes the process into OTEL_RESOURCE_ATTRIBUTES, and what describes a request on its span",
        _wrong_level,
    ),
    ScoreRule(
        "RES-007",
        "important",
        "deployment.environment.name is present",
        "pass environment= to tracemw.init(), or set ENVIRONMENT",
        _without_environment,
    ),
    ScoreRule(
        "SPA-003",
        "important",
        "span names have bounded cardinality",
        "name the span for what it does, and put the value into an attribute: span('order', **{'order.id': 7})",
        _many_names,
    ),
    ScoreRule(
        "SPA-004",
        "important",
        "root spans are no CLIENT spans",
        "trace what makes the call: a door around the application, or with tracemw.span('job') around a script's work",
        _client_root,
    ),
    ScoreRule(
        "SPA-005",
        "important",
        "no trace has more than 20 spans below 5 ms",
        "leave out spans around little work; for queries, `tracemw analyze` names the N+1",
        _many_short,
    ),
    ScoreRule(
        "RES-001",
        "normal",
        "service.instance.id is present",
        "tracemw.init() sets one for each process; another SDK needs its detector, or OTEL_RESOURCE_ATTRIBUTES",
        _without_instance,
    ),
    ScoreRule(
        "RES-006",
        "normal",
        "service.criticality is one of the values it may have",
        f"use one of {', '.join(_CRITICALITIES)}",
        _wrong_criticality,
    ),
    ScoreRule(
        "SPA-001",
        "normal",
        "no trace has more than 10 INTERNAL spans of a service",
        "leave out spans around little work, and put what they tell into attributes of the span around them",
        _many_internal,
    ),
    ScoreRule(
        "SPA-002",
        "normal",
        "traces have no orphan spans",
        "see that every service on the way exports, and samples by the caller's decision; at a public edge, "
        "trust_inbound=False",
        _orphans,
    ),
)
"""All rules that traces tell of, by their impact. Those about metrics, logs and the SDK are not among them."""

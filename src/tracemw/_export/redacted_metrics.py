"""Metrics without what may not leave.

An attribute whose key is not allowed would tell series apart only to show the same text on each. So the measurement is
counted without it. Texts under allowed keys are looked at when metrics are sent, and so is what exemplars tell.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from opentelemetry.sdk.metrics.export import MetricsData

from tracemw.redaction.policy import RedactionPolicy


class AllowedLabels(set[str]):
    """The keys of attributes that a view of the SDK lets through: those that the policy allows.

    Args:
        policy: What may leave.
    """

    def __init__(self, policy: RedactionPolicy) -> None:
        super().__init__()
        self._policy = policy

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._policy.allows_label(key)


def redact_metrics(data: MetricsData, policy: RedactionPolicy) -> MetricsData:
    """Return metrics with only what may leave."""
    return replace(data, resource_metrics=[_of_resource(each, policy) for each in data.resource_metrics])


def _of_resource(told: Any, policy: RedactionPolicy) -> Any:
    resource = type(told.resource)(policy.attributes(told.resource.attributes, "resource"), told.resource.schema_url)
    return replace(told, resource=resource, scope_metrics=[_of_scope(each, policy) for each in told.scope_metrics])


def _of_scope(told: Any, policy: RedactionPolicy) -> Any:
    return replace(told, metrics=[_of_metric(each, policy) for each in told.metrics])


def _of_metric(told: Any, policy: RedactionPolicy) -> Any:
    points = [_of_point(each, policy) for each in told.data.data_points]
    return replace(told, data=replace(told.data, data_points=points))


def _of_point(point: Any, policy: RedactionPolicy) -> Any:
    exemplars = [
        replace(each, filtered_attributes=policy.attributes(each.filtered_attributes or {}, "metric"))
        for each in point.exemplars or ()
    ]
    return replace(point, attributes=policy.attributes(point.attributes or {}, "metric"), exemplars=exemplars)

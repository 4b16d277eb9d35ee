"""The endpoints that explain: what analysis says of one trace, and of many, as the page shows it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

from anyio import to_thread
from google.protobuf import json_format  # type: ignore[import-untyped]
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from starlette.requests import Request
from starlette.responses import Response

from tracemw.analysis.grouping import Survey, judge_all, look_at
from tracemw.analysis.load.otlp_binary import spans_of_message
from tracemw.analysis.model import Span as AnalysedSpan
from tracemw.analysis.model import Trace
from tracemw.analysis.report.explanation import explain
from tracemw.analysis.report.overview import survey_document
from tracemw.analysis.shapes import call_label
from tracemw.analysis.traffic import Traffic
from tracemw.viewer.allowance import Allowance
from tracemw.viewer.answering import Answers
from tracemw.viewer.budget import Budget, BudgetError
from tracemw.viewer.querying.fields import attribute_values, value_text
from tracemw.viewer.querying.literals import QueryError
from tracemw.viewer.querying.parameters import parse_list, parse_trace_id
from tracemw.viewer.querying.search import find
from tracemw.viewer.storing.store import Store
from tracemw.viewer.storing.summaries import TraceSummary

_MOST_SURVEYED = 1_000  # traces
_LARGEST_JUDGED = 5_000  # spans of a trace whose cause a list tells; a larger one is looked at when somebody opens it
_REMEMBERED = 20_000  # traces of which is remembered what a list tells
_MOST_MATCHES = 10_000


class _Told(NamedTuple):
    """What a list tells of a trace."""

    label: str
    """What a reader calls it."""

    cause: Mapping[str, str] | None
    """The finding behind the verdict, if it is more than a hint."""


class Explanations:
    """The endpoints that explain. Each answer has a `version`; who names it as ``known`` is told if it still holds."""

    def __init__(self, store: Store, allowance: Allowance) -> None:
        self._store = store
        self._answers = Answers(allowance.search_seconds)
        self._told: dict[tuple[bytes, int, int, int], _Told] = {}

    async def trace(self, request: Request) -> Response:
        """``GET /viewer/trace/{id}``: one trace as the page shows it; null if it is not there."""
        trace_id = parse_trace_id(request.path_params["trace_id"])
        version = await to_thread.run_sync(self._store.version, trace_id)
        if version is None:
            return Response(b"null", media_type="application/json")
        if request.query_params.get("known") == str(version):
            return Response(status_code=204)

        def make(budget: Budget) -> bytes:
            trace = self._trace(trace_id, budget)
            return _json(trace and {"version": version, **explain(trace, *look_at(trace))})

        return await self._answers.respond(request, (trace_id, version), make)

    async def span(self, request: Request) -> Response:
        """``GET /viewer/trace/{id}/span/{id}``: all that one span has, in OTLP's JSON; null if it is not there."""
        trace_id = parse_trace_id(request.path_params["trace_id"])
        span_id = request.path_params["span_id"]

        def make(budget: Budget) -> bytes:
            for resource, scope, span in self._spans(trace_id, budget):
                if span.span_id.hex() == span_id:
                    return _json(
                        {
                            "resource": json_format.MessageToDict(resource.resource),
                            "scope": json_format.MessageToDict(scope.scope),
                            "span": json_format.MessageToDict(span),
                        }
                    )
            return _json(None)

        return await self._answers.respond(request, None, make)

    async def matches(self, request: Request) -> Response:
        """``GET /viewer/trace/{id}/matches``: the ids of spans with every word of ``text`` in names or attributes."""
        trace_id = parse_trace_id(request.path_params["trace_id"])
        words = request.query_params.get("text", "").lower().split()

        def make(budget: Budget) -> bytes:
            found = (
                span.span_id.hex() for resource, _, span in self._spans(trace_id, budget) if _has(words, resource, span)
            )
            return _json({"spans": list(islice(found, _MOST_MATCHES))})

        return await self._answers.respond(request, None, make)

    async def causes(self, request: Request) -> Response:
        """``GET /viewer/causes``: what is wrong with each trace of a list, by trace id. Parameters are the list's.

        `labels` has what a reader calls a trace, where that is not the name of its root: ``GET stock/items/{id}`` for
        a trace that begins with the call ``GET``.
        """
        parameters = {name: value for name, value in request.query_params.items() if name != "known"}
        search = parse_list(parameters)
        version = self._store.totals().arrival
        if request.query_params.get("known") == str(version):
            return Response(status_code=204)

        def make(budget: Budget) -> bytes:
            causes, labels = {}, {}
            try:
                for found in find(self._store, search, budget):
                    told = self._tell(found.summary, budget)
                    trace_id = found.summary.trace_id.hex()
                    if told.cause is not None:
                        causes[trace_id] = told.cause
                    if told.label != (found.summary.root_name or ""):
                        labels[trace_id] = told.label
            except BudgetError:
                pass  # the next look goes on from here
            return _json({"version": version, "causes": causes, "labels": labels})

        return await self._answers.respond(request, ("causes", version, *sorted(parameters.items())), make)

    def forget(self) -> None:
        """Let go of all answers: some may be of traces that have been erased."""
        self._answers.forget()
        self._told.clear()

    def _tell(self, summary: TraceSummary, budget: Budget) -> _Told:
        unknown = _Told(summary.root_name or "", None)
        if summary.spans > _LARGEST_JUDGED:
            return unknown
        key = (summary.trace_id, summary.spans, summary.errors, summary.end)
        with suppress(KeyError):  # not `in`: another thread may let go of all meanwhile
            return self._told[key]
        trace = self._trace(summary.trace_id, budget)
        if trace is None:
            return unknown
        finding = look_at(trace)[0].finding
        cause = None
        if finding is not None and finding.severity != "hint":
            cause = {"code": finding.code, "severity": finding.severity, "title": finding.title}
        if len(self._told) >= _REMEMBERED:
            self._told.clear()
        label = unknown.label if summary.root_service is None else call_label(trace.root)
        told = self._told[key] = _Told(label, cause)
        return told

    async def survey(self, request: Request) -> Response:
        """``GET /viewer/survey``: findings, routes and map of the newest traces. Parameters are those of the list."""
        parameters = {name: value for name, value in request.query_params.items() if name != "known"}
        search = parse_list({"limit": "200", **parameters})
        if search.limit > _MOST_SURVEYED:
            raise QueryError(f"limit={search.limit} is not accepted; use a whole number from 1 to {_MOST_SURVEYED}")
        version = self._store.totals().arrival
        if request.query_params.get("known") == str(version):
            return Response(status_code=204)

        def make(budget: Budget) -> bytes:
            survey, traffic = Survey(), Traffic()
            try:
                for found in find(self._store, search, budget):
                    trace = self._trace(found.summary.trace_id, budget)
                    if trace is not None:
                        survey.add(trace)
                        traffic.add(trace)
            except BudgetError:
                if not survey.traces:
                    raise
            groups = survey.groups()
            document = survey_document(survey, judge_all(survey, groups), groups, traffic)
            return _json({"version": version, "complete": not budget.is_spent(), **document})

        return await self._answers.respond(request, (version, *sorted(parameters.items())), make)

    def _trace(self, trace_id: bytes, budget: Budget) -> Trace | None:
        spans: list[AnalysedSpan] = []
        for part in self._store.trace(trace_id):
            spans += spans_of_message(part)
            budget.check()
        return Trace(spans) if spans else None

    def _spans(self, trace_id: bytes, budget: Budget) -> Iterator[tuple[ResourceSpans, ScopeSpans, Span]]:
        for part in self._store.trace(trace_id):
            budget.check()
            for resource in part.resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        yield resource, scope, span


def _has(words: list[str], resource: ResourceSpans, span: Span) -> bool:
    texts = [span.name, *_pairs(span.attributes), *_pairs(resource.resource.attributes)]
    for event in span.events:
        texts += [event.name, *_pairs(event.attributes)]
    text = "\n".join(texts).lower()
    return all(word in text for word in words)


def _pairs(attributes: Any) -> Iterator[str]:
    attribute: KeyValue
    for attribute in attributes:
        for value in attribute_values(attribute.value):
            yield f"{attribute.key}={value_text(value)}"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")

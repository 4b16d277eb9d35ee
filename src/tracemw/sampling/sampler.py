"""The sampler: one decision at the root of each trace. Its policy is immutable, and replaced as a whole."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
from opentelemetry.trace import Link, SpanKind, TraceState, get_current_span

from tracemw._otel.attributes import LazyAttributes
from tracemw.config import Config
from tracemw.config.patterns import RequestPattern
from tracemw.sampling.rules import Rule
from tracemw.sampling.threshold import ENTRY, NEVER, encoded, randomness_of, threshold_of, with_threshold
from tracemw.spikes import LONGEST, Spike

SPIKE_ATTRIBUTE: Final = "tracemw.spike"
"""The attribute on the root of a trace that only a spike had sampled: the spike's ratio."""


def sampler_for(config: Config, rules: Iterable[Rule] = ()) -> ConsistentSampler:
    """Return the sampler for a configuration and the rules of `init`."""
    kind = config.sampler.removeprefix("parentbased_")
    ratio = {"always_on": 1.0, "always_off": 0.0}.get(kind, config.ratio)
    return ConsistentSampler(ratio, rules, follows_callers=kind != config.sampler)


class Odds(NamedTuple):
    """A ratio, prepared for the decision."""

    threshold: int
    """A trace is sampled when its randomness is not below the threshold."""

    trace_state: TraceState | None
    """The trace state of a new trace that is sampled."""

    @classmethod
    def of(cls, ratio: float) -> Odds:
        """Return the odds that a ratio stands for."""
        threshold = threshold_of(ratio)
        return cls(threshold, None if threshold == NEVER else TraceState([(ENTRY, f"th:{encoded(threshold)}")]))


class Boost:
    """A spike, prepared for the decision.

    Args:
        ratio: The share of new traces to sample.
        path: The pattern of requests that the spike covers; None for all.
        deadline: The end by the monotonic clock, in seconds.
        until: The end by the wall clock, in seconds since the epoch. A spike is over when either end has come.
    """

    __slots__ = ("_deadline", "_until", "odds", "path", "pattern", "ratio", "threshold")

    def __init__(self, ratio: float, path: str | None, deadline: float, until: float = math.inf) -> None:
        self.ratio = ratio
        self.odds = Odds.of(ratio)
        self.threshold = self.odds.threshold
        self.path = path
        self.pattern = None if path is None else RequestPattern(path)
        self._deadline = deadline
        self._until = until

    def is_over(self) -> bool:
        """Tell whether the spike has ended."""
        return time.monotonic() >= self._deadline or time.time() >= self._until


@dataclass(frozen=True, slots=True)
class SamplingPolicy:
    """All that a decision at the root of a trace depends on. A policy is immutable, and replaced as a whole.

    Our recorder reads the policy, and decides without calling the sampler. If `is_plain`, a new trace is sampled when
    `trace_id & 0xFFFFFFFFFFFFFF >= threshold`, and gets `trace_state`. If not, `ConsistentSampler.choose` decides.
    """

    threshold: int
    """The threshold of the general ratio, for requests that no rule matches."""

    trace_state: TraceState | None
    """The trace state of a new trace that is sampled at `threshold`."""

    rules: tuple[tuple[RequestPattern, Odds], ...]
    boosts: tuple[Boost, ...]
    """Active spikes, the highest ratio first."""

    is_plain: bool
    """Whether there are neither rules nor spikes."""

    needs_request: bool
    """Whether a decision depends on method and path. If not, lazy attributes are not made."""


class Choice(NamedTuple):
    """The decision at the root of a trace."""

    is_sampled: bool
    trace_state: TraceState | None
    spike: float | None = None
    """The ratio of the spike that had the trace sampled. None when the trace would be sampled without a spike."""

    def marked(self, attributes: Mapping[str, Any] | LazyAttributes | None) -> Mapping[str, Any]:
        """Return the attributes of a root, with the mark that only a spike had the trace sampled."""
        known = attributes.made() if isinstance(attributes, LazyAttributes) else attributes or {}
        return {**known, SPIKE_ATTRIBUTE: self.spike}


class ConsistentSampler(Sampler):
    """Decides at roots by ratio, rules and spikes. A span with a parent follows its parent's decision.

    There are no locks that a decision could wait for: the policy is replaced as a whole.

    Args:
        ratio: The share of new traces to sample.
        rules: Exceptions from the ratio, by request.
        follows_callers: Whether a caller's decision holds for its whole trace. If not, each request gets a decision of
            its own, as if it began the trace. The spans within the request follow that decision.
    """

    is_tracemw = True

    def __init__(self, ratio: float, rules: Iterable[Rule] = (), *, follows_callers: bool = True) -> None:
        self.follows_callers = follows_callers
        self.ratio = ratio
        rules = tuple(rules)
        self._description = f"tracemw{{ratio={ratio},rules={[(rule.pattern, rule.ratio) for rule in rules]}}}"
        self._odds = Odds.of(ratio)
        self._rules = tuple((RequestPattern(rule.pattern), Odds.of(rule.ratio)) for rule in rules)
        self._own: dict[Boost, None] = {}
        self._shared: tuple[Boost, ...] = ()
        self._ends: dict[Spike, float] = {}
        """When each shared spike ends at the latest, by the monotonic clock, in seconds."""
        self.policy = self._policy_with(())

    def spike(self, ratio: float, *, seconds: float, path: str | None = None) -> None:
        """Raise sampling in this process. A spike of the same path, if there is one, ends."""
        new = Boost(ratio, path, time.monotonic() + seconds)
        others = [boost for boost in tuple(self._own) if boost.path == path]
        self._own[new] = None
        for other in others:
            self._own.pop(other, None)
        self._renew()

    def end_spike(self, path: str | None = None) -> None:
        """End this process's own spike of a path, if there is one."""
        for boost in [boost for boost in tuple(self._own) if boost.path == path]:
            self._own.pop(boost, None)
        self._renew()

    def share(self, spikes: Iterable[Spike]) -> None:
        """Replace the shared spikes, which several processes read from one file.

        A shared spike ends by the wall clock, and somebody may set that clock. So each spike also ends by the monotonic
        clock, after the time that it had left when it was first seen, 24 hours at most. To see it again adds nothing.
        """
        now, on_the_wall, ends = time.monotonic(), time.time(), self._ends
        given = tuple(spikes)
        new = {spike: now + min(spike.until - on_the_wall, LONGEST) for spike in given if spike not in ends}
        # The ends of spikes that are gone are remembered, too: they could come back when the wall clock is set back.
        long_ago = now - LONGEST
        self._ends = ends = {spike: end for spike, end in (ends | new).items() if end > long_ago or spike in given}
        self._shared = tuple(Boost(spike.ratio, spike.path, ends[spike], spike.until) for spike in given)
        self._renew()

    def _renew(self) -> SamplingPolicy:
        for boost in [boost for boost in tuple(self._own) if boost.is_over()]:
            self._own.pop(boost, None)
        while True:
            sources = (self._shared, tuple(self._own))
            boosts = [boost for boost in (*sources[0], *sources[1]) if not boost.is_over()]
            policy = self.policy = self._policy_with(boosts)
            if sources == (self._shared, tuple(self._own)):  # else this policy lacks the change of another thread
                return policy

    def _policy_with(self, boosts: Iterable[Boost]) -> SamplingPolicy:
        ordered = tuple(sorted(boosts, key=lambda boost: boost.threshold))
        return SamplingPolicy(
            threshold=self._odds.threshold,
            trace_state=self._odds.trace_state,
            rules=self._rules,
            boosts=ordered,
            is_plain=not (self._rules or ordered),
            needs_request=bool(self._rules) or any(boost.pattern is not None for boost in ordered),
        )

    def choose(
        self,
        trace_id: int,
        trace_state: TraceState | None,
        kind: SpanKind | None,
        attributes: Mapping[str, Any] | LazyAttributes | None,
    ) -> Choice:
        """Decide upon a trace at its root. Lazy attributes are made only if the decision depends on them.

        Args:
            trace_id: The id of the trace.
            trace_state: The trace state of a caller whose decision is not followed; None for a new trace.
            kind: The kind of the root span.
            attributes: The attributes that the root span starts with.
        """
        policy = self.policy
        if policy.boosts and any(boost.is_over() for boost in policy.boosts):
            policy = self._renew()
        odds = self._odds
        method = path = None
        if policy.needs_request and kind is SpanKind.SERVER and attributes is not None:
            known = attributes.made() if isinstance(attributes, LazyAttributes) else attributes
            method, path = known.get("http.request.method"), known.get("url.path")
            odds = next((odds for pattern, odds in policy.rules if pattern.matches(method, path)), odds)
        randomness = randomness_of(trace_id, trace_state)
        usual, spike = odds.threshold, None
        for boost in policy.boosts:  # the highest ratio first
            if boost.threshold >= usual:
                break
            if boost.pattern is None or boost.pattern.matches(method, path):
                # Every trace that the spike covers is sampled at the spike's ratio now, so all of them carry its `th`.
                odds = boost.odds
                spike = boost.ratio if randomness < usual else None
                break
        if randomness >= odds.threshold:
            with_th = with_threshold(trace_state, encoded(odds.threshold)) if trace_state else odds.trace_state
            return Choice(True, with_th, spike)
        return Choice(False, with_threshold(trace_state, None) if trace_state else trace_state)

    def should_sample(
        self,
        parent_context: Context | None,
        trace_id: int,
        name: str,  # noqa: ARG002  the interface is the SDK's
        kind: SpanKind | None = None,
        attributes: Mapping[str, Any] | None = None,
        links: Sequence[Link] | None = None,  # noqa: ARG002
        trace_state: TraceState | None = None,  # noqa: ARG002
    ) -> SamplingResult:
        """Decide as OpenTelemetry's `Sampler` says. The trace state of a parent that is followed stays as it is."""
        parent = get_current_span(parent_context).get_span_context()
        if not parent.is_valid:
            choice = self.choose(trace_id, None, kind, attributes)
        elif parent.is_remote and not self.follows_callers:
            choice = self.choose(trace_id, parent.trace_state, kind, attributes)
        else:
            choice = Choice(parent.trace_flags.sampled, parent.trace_state)
        if not choice.is_sampled:
            return SamplingResult(Decision.DROP, None, choice.trace_state)
        if choice.spike is not None:
            attributes = choice.marked(attributes)
        return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes, choice.trace_state)

    def get_description(self) -> str:
        """Return the ratio and the rules."""
        return self._description

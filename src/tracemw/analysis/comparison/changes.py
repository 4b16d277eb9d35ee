"""What a comparison says: records, free of how they were found and of how they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tracemw.analysis.comparison.intervals import Estimate
from tracemw.analysis.findings.finding import Finding

MEASURES = ("p50_ms", "p95_ms", "p99_ms", "error_rate")
"""What is compared of a route: three quantiles in milliseconds, and the share of requests that failed."""


@dataclass(frozen=True, kw_only=True)
class SideSummary:
    """One set of traces."""

    name: str
    traces: int
    """Traces that count as traffic."""
    kept: int
    """Traces that do not: kept since they failed or were slow, or there for a spike."""
    requests: float
    """Requests that the traces stand for, as they were sampled."""
    versions: Sequence[str]
    """Every `service.version`, the most frequent first."""


@dataclass(frozen=True, kw_only=True)
class RouteNumbers:
    """One route on one side."""

    count: float
    """Requests, as they were sampled."""
    measures: Mapping[str, Estimate]
    spans: float
    """Requests that were looked at, of which some may stand for several."""
    measured_by: str = "traces"
    """`traces` that were fetched, or `metrics` of the backend over all traffic."""


@dataclass(frozen=True, kw_only=True)
class RouteChange:
    """One route on both sides."""

    service: str
    route: str
    is_entry: bool
    """Whether traces begin with such requests."""
    before: RouteNumbers | None
    """None if there are no such requests."""
    after: RouteNumbers | None
    worse: Sequence[str] = ()
    """The measures that are worse by more than chance and by enough to matter."""
    better: Sequence[str] = ()
    chances: Mapping[str, float] = field(default_factory=dict)
    """By measure: how likely chance alone makes it so much worse, corrected for the number of questions."""
    edges_ms: Sequence[float] = ()
    """The edges of classes of durations, for a picture."""
    shares_before: Sequence[float] = ()
    """The share of requests in each class."""
    shares_after: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class GroupNumbers:
    """A group of spans on one side, in an average request of the route."""

    count: float
    own_ms: float
    """In which these spans run, and none beneath them."""
    on_path_ms: float
    """In which these spans hold the end of the request."""


@dataclass(frozen=True, kw_only=True)
class GroupChange:
    """Spans of one service and name at one position, on both sides."""

    entry: tuple[str, str]
    """The service and the route with which the traces begin."""
    service: str
    name: str
    position: tuple[str, ...]
    line: str
    is_call: bool
    before: GroupNumbers
    after: GroupNumbers
    share_of_growth: float | None
    """How much of what the requests take longer is due to the group, from 0 to 1; None if they take no longer."""
    chance: float
    """How likely chance alone makes a growth so large, corrected for the number of questions."""
    grew: bool
    """Whether the growth is more than chance, and enough to matter."""
    shrank: bool

    @property
    def growth_ms(self) -> float:
        """Milliseconds of own time that an average request has more than before."""
        return self.after.own_ms - self.before.own_ms


@dataclass(frozen=True, kw_only=True)
class FindingChange:
    """A finding that the traces after have more often than those before."""

    finding: Finding
    traces_before: int
    traces_after: int
    share_before: float
    share_after: float
    chance: float | None
    """How likely chance alone makes it so much more frequent, corrected; None where that cannot be computed."""
    is_new: bool
    """Whether it was not there before, and is there by more than chance."""
    is_more: bool
    """Whether it was there before, and is more frequent by more than chance."""


@dataclass(frozen=True, kw_only=True)
class AttributeChange:
    """A value of an attribute that sets the two sides apart."""

    attribute: str
    """With its scope, as in TraceQL: `span.http.request.method`, `resource.deployment.environment.name`."""
    value: str
    share_before: float
    share_after: float
    chance: float


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All that a comparison says."""

    before: SideSummary
    after: SideSummary
    confidence: float
    """Of each interval. All intervals together have the truth in 95 of 100 comparisons."""
    routes: Sequence[RouteChange]
    groups: Sequence[GroupChange]
    findings: Sequence[FindingChange]
    attributes: Sequence[AttributeChange]
    notes: Sequence[str]
    """What a reader must know to trust the numbers."""

    @property
    def worse_routes(self) -> list[RouteChange]:
        """The routes that got slower or fail more."""
        return [route for route in self.routes if route.worse]

    @property
    def grown_groups(self) -> list[GroupChange]:
        """The groups that grew, with the largest growth first."""
        return [group for group in self.groups if group.grew]

    @property
    def new_findings(self) -> list[FindingChange]:
        """The findings that are new, or more frequent."""
        return [change for change in self.findings if change.is_new or change.is_more]

    @property
    def is_regression(self) -> bool:
        """Whether a route got slower or fails more, or a group of spans grew."""
        return bool(self.worse_routes or self.grown_groups)

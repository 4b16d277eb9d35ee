"""The settings of sampling: a ratio, rules by request, and which unsampled traces are kept."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracemw.config.parsers import to_ratio
from tracemw.config.patterns import RequestPattern


@dataclass(frozen=True)
class Rule:
    """The ratio of some requests, in place of the general one.

    A rule names paths, since the route is not known yet when the decision falls.

    Raises:
        ValueError: for a pattern or ratio that is not accepted.
        TypeError: for a pattern that is no string.
    """

    pattern: str
    """Which requests: `"POST /checkout/*"`, or `"/checkout/*"` for every method. `*` crosses slashes."""

    ratio: float
    """The share of those requests to sample, 0 to 1."""

    def __post_init__(self) -> None:
        try:
            RequestPattern(self.pattern)
        except (ValueError, TypeError) as error:
            raise type(error)(f"Rule: {error}") from None
        object.__setattr__(self, "ratio", to_ratio("Rule ratio", self.ratio))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What `tracemw.init(sampling=...)` takes, where a ratio alone is not enough.

    Raises:
        ValueError: for a ratio or another number that is not accepted.
        TypeError: for a value of the wrong type, such as a rule that is no `Rule`.
    """

    ratio: float | None = None
    """The share of new traces to sample, 0 to 1. With None, `OTEL_TRACES_SAMPLER` decides, or else the environment."""

    rules: Sequence[Rule] = ()
    """Exceptions from the ratio. The first rule that matches a request counts."""

    keep_errors: bool = True
    """Whether this process records unsampled traces, too. One is kept when a span has failed, when the request was
    slow, or when `tracemw.keep` asks for it. With False, unsampled traces are not recorded, which is cheapest. The same
    holds under `OTEL_TRACES_SAMPLER=always_off` and `parentbased_always_off`."""

    show_unsampled: bool = False
    """Whether foreign span processors hear of all spans of unsampled traces. With False, a processor that acts at the
    end of spans, and so may export, hears of such a span only when the trace is kept: first of its start, in the
    context of that time, then of its end. A processor that acts only at starts hears of each start in any case."""

    keep_slow: float | None = 5.0
    """Seconds from which a request is slow, and kept; None for never. A request is measured to the first byte of its
    response, and any other local trace to its end. An ASGI server sends the first byte with the head of the response, a
    WSGI server with the first chunk of the body that is not empty (PEP 3333). A WebSocket is never slow. The clock is
    monotonic, so nothing looks slow when somebody sets the wall clock."""

    keep_rate: float = 100.0
    """Unsampled traces that this process keeps in a second at most, those of `tracemw.keep` included: an outage must
    not become a flood. Slow ones get half of the rate, and at least one. The rest is for errors and `tracemw.keep`. 0
    keeps none."""

    stack_after: float | None = 1.0
    """Seconds after which a request without an answer tells where it is. The stacks of its thread, or of its tasks down
    the chain of awaits, become an event `tracemw.stack` of its SERVER span. More follow after twice that time, four
    times, and so on, five at most. The events are there in each trace that is sampled or kept. None for never."""

    def __post_init__(self) -> None:
        if self.ratio is not None:
            object.__setattr__(self, "ratio", to_ratio("Sampling ratio", self.ratio))
        if not isinstance(self.keep_errors, bool):
            raise TypeError(f"keep_errors takes True or False, not {self.keep_errors!r}")
        if not isinstance(self.show_unsampled, bool):
            raise TypeError(f"show_unsampled takes True or False, not {self.show_unsampled!r}")
        for name in ("keep_slow", "keep_rate", "stack_after"):
            value: object = getattr(self, name)
            if value is None and name != "keep_rate":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} takes a number, not {value!r}")
            if name == "stack_after":
                is_accepted, accepted = 0 < value < math.inf, "a number of seconds above 0, or None for no stacks"
            else:
                is_accepted, accepted = 0 <= value < math.inf, "a number that is 0 or more"
            if not is_accepted:
                raise ValueError(f"{name}={value!r} is not accepted; use {accepted}")
        given: object = self.rules
        rules = tuple(given) if isinstance(given, Iterable) else (None,)
        if not all(isinstance(rule, Rule) for rule in rules):
            raise TypeError(f"rules takes rules such as [Rule('GET /path*', 0.5)], not {given!r}")
        object.__setattr__(self, "rules", rules)

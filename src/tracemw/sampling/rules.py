"""What a user says about sampling: a ratio, and rules by request."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tracemw.config.parsers import to_ratio
from tracemw.config.patterns import RequestPattern


@dataclass(frozen=True)
class Rule:
    """The ratio of some requests, in place of that of all traces.

    The route is not known yet when the decision falls, so that a rule names paths.

    Raises:
        ValueError: for a pattern or ratio that is not accepted.
        TypeError: for one of the wrong type.
    """

    pattern: str
    """Which requests: `"POST /checkout/*"`, or `"/checkout/*"` for every method; `*` crosses slashes."""

    ratio: float
    """The share of them to sample, 0 to 1."""

    def __post_init__(self) -> None:
        try:
            RequestPattern(self.pattern)
        except (ValueError, TypeError) as error:
            raise type(error)(f"Rule: {error}") from None
        object.__setattr__(self, "ratio", to_ratio("Rule ratio", self.ratio))


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """What `tracemw.init(sampling=...)` takes when a ratio is not all.

    Raises:
        ValueError: for a ratio or another number that is not accepted.
        TypeError: for rules that are none, and for a value of the wrong type.
    """

    ratio: float | None = None
    """The share of new traces to sample, 0 to 1; None is `OTEL_TRACES_SAMPLER`, else the environment's."""

    rules: Sequence[Rule] = ()
    """Exceptions from the ratio; the first that matches a request counts."""

    keep_errors: bool = True
    """Whether unsampled traces are recorded too, in this process, and kept when a span of theirs has failed, when they
    were slow, or when `tracemw.keep` asks for it. False gives the cheapest unsampled request: nothing is recorded.
    Nor is it with `OTEL_TRACES_SAMPLER=always_off` or `parentbased_always_off`."""

    show_unsampled: bool = False
    """Whether span processors of somebody else hear of all spans of unsampled traces, when they start and when they
    end. Unless asked, one that does something at the end, and so may export, hears of such a span once it is kept: of
    its start, in the context in which it has started, and of its end. One that only looks at starts hears of each."""

    keep_slow: float | None = 5.0
    """Seconds to the first byte of the response, or to the end of what is no request, from which on it is kept for
    being slow; None for never. The first byte is when the server sends it: an ASGI server with the head of the
    response, a WSGI server with the first chunk of the body that is not empty (PEP 3333). A WebSocket is never slow.
    It is measured by a monotonic clock, so that setting the wall clock makes nothing look slow."""

    keep_rate: float = 100.0
    """How many unsampled traces this process keeps in a second, `tracemw.keep` included: an outage is not to become a
    flood. Slow ones get half of it, or one, and leave the rest to errors and to what is asked for. 0 is none."""

    def __post_init__(self) -> None:
        if self.ratio is not None:
            object.__setattr__(self, "ratio", to_ratio("Sampling ratio", self.ratio))
        if not isinstance(self.keep_errors, bool):
            raise TypeError(f"keep_errors takes True or False, not {self.keep_errors!r}")
        if not isinstance(self.show_unsampled, bool):
            raise TypeError(f"show_unsampled takes True or False, not {self.show_unsampled!r}")
        for name in ("keep_slow", "keep_rate"):
            value: object = getattr(self, name)
            if value is None and name == "keep_slow":
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} takes a number, not {value!r}")
            if not 0 <= value < math.inf:
                raise ValueError(f"{name}={value!r} is not accepted: a number that is 0 or more")
        given: object = self.rules
        rules = tuple(given) if isinstance(given, Iterable) else (None,)
        if not all(isinstance(rule, Rule) for rule in rules):
            raise TypeError(f"rules takes several of Rule('GET /path*', 0.5), not {given!r}")
        object.__setattr__(self, "rules", rules)

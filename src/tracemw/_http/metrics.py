"""The HTTP metrics of the semantic conventions v1.44: durations at both ends, and the requests being served.

The metrics are on when a meter provider is set, globally or by option. Without one, a request pays one look-up.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final
from weakref import ref

from opentelemetry import metrics
from opentelemetry.context import Context
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation, _internal

from tracemw._otel.guard import guarded
from tracemw._otel.providers import SCHEMA_URL, is_silent
from tracemw._process.forks import begin_anew_with
from tracemw._version import __version__

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

# Read in place of get_meter_provider(), which looks into the environment each time until a provider is set.
_API: Final = vars(_internal)

Labels = Mapping[str, str | int]


@guarded
def _load_named_provider() -> None:
    metrics.get_meter_provider()  # sets the one that OTEL_PYTHON_METER_PROVIDER names, if any


class Instruments:
    """The instruments of one provider for one end, shared by all doors that use it.

    The requests being served stand in a dictionary here, and are counted when somebody collects. Two additions to a
    counter would cost each request as much as all the rest.
    """

    __slots__ = ("_duration", "_seen", "_serving")

    def __init__(self, provider: MeterProvider, end: str) -> None:
        meter = provider.get_meter("tracemw", __version__, SCHEMA_URL)
        self._duration = meter.create_histogram(
            f"http.{end}.request.duration",
            unit="s",
            description=f"Duration of HTTP {end} requests.",
            explicit_bucket_boundaries_advisory=_SECONDS,
        )
        # There is no lock: the interpreter does each step on these two atomically.
        self._serving: dict[int, tuple[str | int, str | int]] = {}
        self._seen: dict[tuple[str | int, str | int], None] = {}
        if end == "server":
            meter.create_observable_up_down_counter(
                "http.server.active_requests",
                [self._observe],
                unit="{request}",
                description="Number of active HTTP server requests.",
            )

    def began(self, request: object, labels: Labels) -> None:
        """Count a request as being served, by its method and scheme."""
        kind = labels["http.request.method"], labels["url.scheme"]
        self._seen[kind] = None
        self._serving[id(request)] = kind

    def ended(self, request: object) -> None:
        """Count a request as served."""
        self._serving.pop(id(request), None)

    def lasted(self, seconds: float, labels: Labels, context: Context) -> None:
        """Record a duration; `context` has the request's span, for exemplars."""
        self._duration.record(seconds, labels, context=context)

    def forget(self) -> None:
        """Forget all requests: a forked child does not serve those of its parent."""
        self._serving.clear()

    def _observe(self, options: CallbackOptions) -> list[Observation]:
        del options
        serving = Counter(list(self._serving.values()))
        return [
            Observation(serving[kind], {"http.request.method": kind[0], "url.scheme": kind[1]})
            for kind in list(self._seen)
        ]


_lock = threading.Lock()
# By identity: a foreign provider may have no hash, or may not be equal to itself.
_made: Final[dict[int, tuple[Callable[[], MeterProvider | None], dict[str, Instruments]]]] = {}


def _instruments_of(provider: MeterProvider) -> dict[str, Instruments]:
    """Return the instruments that a provider has made so far, by end."""
    found = _made.get(id(provider))
    if found is not None and found[0]() is provider:
        return found[1]
    number = id(provider)
    ends: dict[str, Instruments] = {}

    def forget(_: object) -> None:
        if number in _made and _made[number][1] is ends:
            del _made[number]

    try:
        _made[number] = (ref(provider, forget), ends)
    except TypeError:  # no weak reference to this provider is possible, so it stays
        _made[number] = (lambda: provider, ends)
    return ends


def _after_fork() -> None:
    global _lock
    _lock = threading.Lock()
    for _, ends in list(_made.values()):
        for instruments in ends.values():
            instruments.forget()


begin_anew_with(_after_fork)


class MeterSource:
    """The instruments of one provider, or of the provider that is the global one at the time of the call.

    Args:
        end: The end that is measured: `server` or `client`.
        provider: Use this provider in place of the global one.
    """

    __slots__ = ("_end", "_instruments", "_instruments_of", "_provider")

    def __init__(self, end: str, provider: MeterProvider | None = None) -> None:
        self._end = end
        self._provider = provider
        self._instruments: Instruments | None = None
        self._instruments_of: MeterProvider | None = None
        _load_named_provider()

    @property
    def follows_the_global_one(self) -> bool:
        """Whether no provider was given."""
        return self._provider is None

    def get(self) -> Instruments | None:
        """Return the instruments; None while no meter provider is set."""
        provider = self._provider
        if provider is None:
            try:
                provider = _internal._METER_PROVIDER  # noqa: SLF001  see `_API`
            except AttributeError:  # another version of the API keeps it elsewhere
                provider = metrics.get_meter_provider()
        if provider is not self._instruments_of:
            self._instruments = self._made_by(provider)
            self._instruments_of = provider
        return self._instruments

    def _made_by(self, provider: MeterProvider | None) -> Instruments | None:
        if provider is None or is_silent(provider):
            return None
        with _lock:
            ends = _instruments_of(provider)
            if self._end not in ends:
                ends[self._end] = Instruments(provider, self._end)
            return ends[self._end]

"""The metrics of pools: `db.client.connection.*` of the semantic conventions v1.44, while a meter provider is set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

from tracemw._otel.guard import guarded
from tracemw._otel.providers import SCHEMA_URL, installed_meter_provider, is_silent
from tracemw._version import __version__

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation

_POOL: Final = "db.client.connection.pool.name"
_STATE: Final = "db.client.connection.state"


class Watched(Protocol):
    """A pool that is watched."""

    name: str
    pool: Any
    pending: int

    @property
    def held(self) -> int:
        """How many connections are taken, and not given back."""


class PoolInstruments:
    """The instruments of one meter provider. All engines share them: each pool is known by its name."""

    def __init__(self, provider: MeterProvider) -> None:
        from opentelemetry.metrics import Observation

        self._observation = Observation
        self.pools: WeakSet[Any] = WeakSet()
        meter = provider.get_meter("tracemw", __version__, SCHEMA_URL)

        def duration(name: str, description: str) -> Any:
            return meter.create_histogram(f"db.client.connection.{name}", unit="s", description=description)

        self._wait_time = duration("wait_time", "How long it took to get a connection from the pool.")
        self._use_time = duration("use_time", "How long a connection was held.")
        self._create_time = duration("create_time", "How long it took to open a connection.")
        self._timeouts = meter.create_counter(
            "db.client.connection.timeouts", unit="{timeout}", description="Waits for a connection that timed out."
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.count", [self._count], "{connection}", "Connections of the pool, by their state."
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.pending_requests", [self._pending], "{request}", "Waits for a connection now."
        )
        meter.create_observable_up_down_counter(
            "db.client.connection.max", [self._max], "{connection}", "Connections that the pool opens at most."
        )

    @guarded
    def waited(self, pool: Watched, nanoseconds: int) -> None:
        """Record how long it took to get a connection."""
        self._wait_time.record(nanoseconds / 1e9, {_POOL: pool.name})

    @guarded
    def used(self, pool: Watched, nanoseconds: int) -> None:
        """Record how long a connection was held."""
        self._use_time.record(nanoseconds / 1e9, {_POOL: pool.name})

    @guarded
    def opened(self, pool: Watched, nanoseconds: int) -> None:
        """Record how long it took to open a connection."""
        self._create_time.record(nanoseconds / 1e9, {_POOL: pool.name})

    @guarded
    def timed_out(self, pool: Watched) -> None:
        """Count a wait that timed out."""
        self._timeouts.add(1, {_POOL: pool.name})

    def _count(self, _options: CallbackOptions) -> Iterable[Observation]:
        for each in list(self.pools):
            yield self._observation(each.held, {_POOL: each.name, _STATE: "used"})
            idle = getattr(each.pool, "checkedin", None)
            if idle is not None:
                yield self._observation(idle(), {_POOL: each.name, _STATE: "idle"})

    def _pending(self, _options: CallbackOptions) -> Iterable[Observation]:
        for each in list(self.pools):
            yield self._observation(each.pending, {_POOL: each.name})

    def _max(self, _options: CallbackOptions) -> Iterable[Observation]:
        for each in list(self.pools):
            overflow = getattr(each.pool, "_max_overflow", -1)
            if overflow >= 0:  # otherwise the pool has no limit, or is none that keeps connections
                yield self._observation(each.pool.size() + overflow, {_POOL: each.name})


_made: Final[WeakKeyDictionary[Any, PoolInstruments]] = WeakKeyDictionary()


class PoolMeters:
    """The instruments of one meter provider, or of the one that is the global one at the time of the call."""

    def __init__(self, provider: MeterProvider | None) -> None:
        self._provider = provider
        self._latest: MeterProvider | None = None
        self._instruments: PoolInstruments | None = None

    def get(self, pool: Watched) -> PoolInstruments | None:
        """Return the instruments, which know the pool from now on; None while no meter provider is set."""
        provider = installed_meter_provider() if self._provider is None else self._provider
        if provider is not self._latest:
            self._latest = provider
            self._instruments = _instruments_of(provider, pool)
        return self._instruments


@guarded
def _instruments_of(provider: MeterProvider | None, pool: Watched) -> PoolInstruments | None:
    if provider is None or is_silent(provider):
        return None
    if provider not in _made:
        _made[provider] = PoolInstruments(provider)
    _made[provider].pools.add(pool)
    return _made[provider]

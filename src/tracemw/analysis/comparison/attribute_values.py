"""Which values the attributes of traces have, and in how many of the requests."""

from __future__ import annotations

from typing import Final

from tracemw.analysis.model import Span

_MOST_KEYS: Final = 1_000
_MOST_VALUES: Final = 200
"""A name with more values than these tells requests apart, not sets of them."""

_LONGEST: Final = 200

_OF_ONE_PROCESS: Final = (
    "service.instance.",
    "process.",
    "host.",
    "container.",
    "k8s.pod.",
    "thread.",
    "telemetry.",
    "network.peer.port",
    "client.port",
    "server.port",
    "net.sock.",
    "net.host.port",
    "url.",
    "tracemw.folded.",
)
"""What differs from one process or connection to the next."""

_OF_THE_SIDES: Final = "service.version"


class AttributeValues:
    """The values of attributes on one side, each with the requests that have it on any span."""

    def __init__(self) -> None:
        self._weights: dict[str, dict[str, float] | None] = {}
        self.versions: dict[str, float] = {}
        """`service.version`, by which sides often differ on purpose."""

    def add(self, spans: list[Span], weight: float) -> None:
        """Add the spans of one trace."""
        found: set[tuple[str, object]] = set()
        for resource in {id(span.resource): span.resource for span in spans}.values():
            found.update((f"resource.{key}", value) for key, value in resource.attributes.items() if _tells(key, value))
        for span in spans:
            found.update((f"span.{key}", value) for key, value in span.attributes.items() if _tells(key, value))
        for key, value in found:
            self._count(key, str(value).lower() if isinstance(value, bool) else str(value)[:_LONGEST], weight)

    def _count(self, key: str, value: str, weight: float) -> None:
        if key == f"resource.{_OF_THE_SIDES}":
            if value in self.versions or len(self.versions) < _MOST_VALUES:
                self.versions[value] = self.versions.get(value, 0.0) + weight
            return
        values = self._weights.get(key, {})
        if values is None or (not values and len(self._weights) >= _MOST_KEYS):
            return
        if value not in values and len(values) >= _MOST_VALUES:
            self._weights[key] = None
            return
        values[value] = values.get(value, 0.0) + weight
        self._weights[key] = values

    def of(self, key: str) -> dict[str, float] | None:
        """Return the weight of each value of an attribute; None for one with too many values."""
        return self._weights.get(key, {})

    @property
    def keys(self) -> set[str]:
        """The names of attributes that have few values."""
        return {key for key, values in self._weights.items() if values is not None}


def _tells(key: str, value: object) -> bool:
    return isinstance(value, (str, bool, int)) and not key.startswith(_OF_ONE_PROCESS)

"""The arguments of `tracemw.init`, as the rest of the room takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields

from tracemw.config.parsers import wrong


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The arguments of `tracemw.init`, which documents them. None leaves the setting to the environment.

    Raises:
        TypeError: for an argument of the wrong type.
        ValueError: for a `stacktrace_limit` below 1, or a `fold_after` below 0.
    """

    service: str | None = None
    version: str | None = None
    environment: str | None = None
    endpoint: str | None = None
    protocol: str | None = None
    headers: Mapping[str, str] | None = None
    tenant: str | None = None
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    compression: str | None = None
    timeout: float | None = None
    proxy: str | None = None
    queue_bytes: int | None = None
    batch_bytes: int | None = None
    ratio: float | None = None
    metrics: bool | None = None
    baggage: Iterable[str] = ()
    allow: Iterable[str] = ()
    stacktrace_limit: int | None = None
    fold_after: int | None = None
    blame: bool | None = None
    instrument: Iterable[str] = ()
    swallowed: bool | None = None
    warn: bool | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if field.type == "str | None" and not isinstance(value, (str, type(None))):
                raise TypeError(f"{field.name} takes a string, not {type(value).__name__}")
        for name in ("baggage", "allow", "instrument"):
            if not isinstance(getattr(self, name), Iterable):
                several = "keys, separated by commas, such as ('a', 'b')" if name == "allow" else "names"
                raise TypeError(f"{name} takes several {several}, not {getattr(self, name)!r}")
        for name in ("baggage", "allow"):
            if isinstance(getattr(self, name), str):
                keys = tuple(getattr(self, name).replace(",", " ").split())
                raise TypeError(f"{name} takes several keys, separated by commas, such as {keys!r}, not one string")
        if isinstance(self.instrument, str) and self.instrument != "auto":
            raise TypeError(f'instrument takes several names, such as ({self.instrument!r},), or "auto"')
        for name in ("metrics", "blame", "swallowed", "warn"):
            if not isinstance(getattr(self, name), (bool, type(None))):
                raise TypeError(f"{name} takes True or False, not {getattr(self, name)!r}")
        for name, least, accepted in (
            ("stacktrace_limit", 1, "a whole number of bytes from 1 up"),
            ("fold_after", 0, "a whole number from 0 up; with 0, nothing is folded"),
        ):
            given: object = getattr(self, name)
            if given is None:
                continue
            if isinstance(given, bool) or not isinstance(given, int):
                raise TypeError(f"{name} takes a whole number, not {given!r}")
            if given < least:
                raise wrong(name, given, accepted)


def given_of(arguments: Arguments) -> frozenset[str]:
    """Return the names of the arguments that say something."""
    return frozenset(field.name for field in fields(arguments) if getattr(arguments, field.name) not in (None, ()))

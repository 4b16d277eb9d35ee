"""What has become of a run, in words and as a document. Neither has an identifier, or a whole pseudonym."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tracemw.erasure.user_query import shortened
from tracemw.erasure.windows import Window


@dataclass(kw_only=True)
class Erasure:
    """What a run was to do, and what has become of it."""

    backend: str
    """`viewer` or `tempo`."""
    name: str
    """The server, for people."""
    pseudonyms: Sequence[str]
    users: int
    window: Window | None
    """When the traces began; None for any time that can be looked at."""
    dry_run: bool
    found: list[str] = field(default_factory=list)
    """The ids of the traces that were found at any time."""
    left: list[str] = field(default_factory=list)
    """The ids of those that are still there."""
    requests: list[Any] = field(default_factory=list)
    """The redactions that Tempo has accepted, each a `redaction_service.Sent`."""
    keys_in_use: list[str] | None = None
    """The ids of keys that other traces are under, if nothing was found; None if that is not known."""
    is_asked: bool = False
    out_of_reach: list[str] = field(default_factory=list)
    error: str = ""
    """What has ended the run too early."""

    @property
    def is_gone(self) -> bool:
        """Whether all was asked for, and a look afterwards finds nothing."""
        return self.is_asked and not self.left and not self.error and not self.lacks_key

    @property
    def lacks_key(self) -> bool:
        """Whether there are pseudonyms, and none is under a key that this run has."""
        return bool(self.keys_in_use) and not set(self.keys_in_use or ()) & set(self.keys)

    @property
    def notice(self) -> str:
        """What to look at where nothing was found; empty if something was."""
        if self.found or self.error:
            return ""
        nothing = f"nothing was found under {_keys(self.keys)}"
        if self.lacks_key:
            others = _keys(self.keys_in_use or ())
            return (
                f"{nothing}, and the traces there are under {others}: set TRACEMW_PSEUDONYM_KEY to the keys of the "
                "services, and run this again"
            )
        if self.keys_in_use == []:
            return (
                f"{nothing}, and no span there has a pseudonym of anybody: do the services call tracemw.user(), and do "
                "--url, --tenant and the time name the right traces?"
            )
        identifiers = "is the identifier" if self.users == 1 else "are the identifiers"
        return (
            f"{nothing}: is TRACEMW_PSEUDONYM_KEY that of the services, and {identifiers} written as the application "
            "writes it, one a line?"
        )

    @property
    def keys(self) -> list[str]:
        """The ids of the keys under which the users were searched for."""
        return list(dict.fromkeys(each.rpartition(":")[0] for each in self.pseudonyms))

    def lines(self) -> Iterator[str]:
        """Give the outcome in words, line by line."""
        when = "" if self.window is None else f", from {_instant(self.window.start)} to {_instant(self.window.end)}"
        users = "1 user" if self.users == 1 else f"{self.users} users"
        yield f"{_traces(len(self.found))} of {users} in {self.name}, under {_keys(self.keys)}{when}"
        for sent in self.requests:
            what = f"{_traces(sent.traces)} by id" if sent.by == "ids" else "what the query finds in each block"
            mode = "would redact" if self.dry_run else "redacts"
            yield f"Tempo {mode} {what}: batch {sent.batch}, {sent.jobs} job{'' if sent.jobs == 1 else 's'}"
        if self.notice:
            yield self.notice
        if self.dry_run:
            yield "nothing was erased: this was a dry run"
        elif self.found:
            yield f"{_traces(len(self.found) - len(self.left))} erased, {len(self.left)} still there"
        for each in self.out_of_reach:
            yield f"out of reach: {each}"
        if not self.dry_run and not self.is_gone and not self.lacks_key:
            yield "run this again until the exit status is 0, or have it do so with --wait 1h"

    def document(self) -> dict[str, Any]:
        """Return the outcome for scripts. It has the ids of the traces."""
        return {**self.audit(), "traceIds": self.found, "left": self.left, "outOfReach": self.out_of_reach}

    def audit(self) -> dict[str, Any]:
        """Return what an audit line says of the run."""
        bounds = None
        if self.window is not None:
            bounds = {"from": _instant(self.window.start), "to": _instant(self.window.end)}
        told: dict[str, Any] = {
            "backend": self.backend,
            "server": self.name,
            "users": self.users,
            "keys": self.keys,
            "hashes": [shortened(each) for each in self.pseudonyms],
            "window": bounds,
            "dryRun": self.dry_run,
            "tracesFound": len(self.found),
            "tracesErased": 0 if self.dry_run else len(self.found) - len(self.left),
            "tracesLeft": len(self.left),
            "batches": [
                {"id": sent.batch, "by": sent.by, "traces": sent.traces, "jobs": sent.jobs} for sent in self.requests
            ],
            "gone": self.is_gone and not self.dry_run,
        }
        if self.notice:
            told["notice"] = self.notice
        return {**told, "error": self.error} if self.error else told


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _traces(count: int) -> str:
    return "1 trace" if count == 1 else f"{count} traces"


def _keys(keys: Sequence[str]) -> str:
    return f"the key {keys[0]}" if len(keys) == 1 else f"the keys {', '.join(keys)}"

"""The content of a control file: from bytes to spikes, and back.

The file is JSON: `{"version": 1, "spikes": [{"ratio": 1.0, "path": "POST /checkout/*", "until": 1763720000.0}]}`.
`until` is in seconds since the epoch, by the clock of the machine that reads the file. `path` may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any, Final

from tracemw.spikes.terms import LONGEST, Spike

VERSION: Final = 1

MOST_SPIKES: Final = 20
"""How many spikes may be active at once. The sampler looks at each of them when a trace begins."""

MOST_BYTES: Final = 65_536
"""How many bytes a control file may have."""

_SKEW: Final = 60.0
"""Seconds by which the writer's clock may be ahead of the reader's, on another machine."""


class ControlError(Exception):
    """The control file cannot be used, or cannot be written. The message says why, and does not name the file."""


def parse(content: bytes, now: float) -> tuple[Spike, ...]:
    """Return the spikes of a control file that have not ended at `now`. An empty file has none.

    Args:
        content: The bytes of the file. Of a file that is too large, `MOST_BYTES` and one more.
        now: Seconds since the epoch.

    Raises:
        ControlError: for anything but a control file.
    """
    if len(content) > MOST_BYTES:
        raise ControlError(f"the file is larger than {MOST_BYTES} bytes")
    if not content.strip():
        return ()
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ControlError(f"the file is not JSON: {error}") from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ControlError(f'the file does not say "version": {VERSION}')
    _require_keys(document, {"version", "spikes"}, {"version", "spikes"})
    entries = document["spikes"]
    if not isinstance(entries, list):
        raise ControlError('"spikes" is not a list')
    spikes = tuple(spike for spike in map(_spike, entries) if spike.until > now)
    for spike in spikes:
        if spike.until > now + LONGEST + _SKEW:
            raise ControlError(f'"until": {spike.until} is more than 24 hours away, and no spike lasts longer')
    if len(spikes) > MOST_SPIKES:
        raise ControlError(f"the file has more than {MOST_SPIKES} spikes")
    return spikes


def render(spikes: Iterable[Spike]) -> str:
    """Return the text of a control file with these spikes.

    Raises:
        ControlError: when there are more spikes than a file may have.
    """
    entries = [{key: value for key, value in asdict(spike).items() if value is not None} for spike in spikes]
    if len(entries) > MOST_SPIKES:
        raise ControlError(f"the file has {MOST_SPIKES} spikes already; end one, or wait until one ends")
    return json.dumps({"version": VERSION, "spikes": entries}, indent=1) + "\n"


def _spike(entry: Any) -> Spike:
    if not isinstance(entry, dict):
        raise ControlError(f"{entry!r} is not a spike")
    _require_keys(entry, {"ratio", "path", "until"}, {"ratio", "until"})
    if isinstance(entry["ratio"], str):
        raise ControlError(f'"ratio": {json.dumps(entry["ratio"])} is not a number')
    try:
        return Spike(**entry)
    except (ValueError, TypeError, OverflowError) as error:
        raise ControlError(str(error)) from None


def _require_keys(entry: dict[str, Any], known: set[str], needed: set[str]) -> None:
    # A key that is misspelt must not make a spike of one path a spike of all.
    if unknown := sorted(entry.keys() - known):
        raise ControlError(f'the key "{unknown[0]}" is unknown')
    if missing := sorted(needed - entry.keys()):
        raise ControlError(f'the key "{missing[0]}" is missing')

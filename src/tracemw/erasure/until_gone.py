"""Erase, and look again, until nothing is found or the time is out."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import Protocol

from tracemw.analysis.load.unreadable import ServerError
from tracemw.erasure.keys_in_use import keys_in_use
from tracemw.erasure.outcome import Erasure
from tracemw.erasure.seeking import Seeker


class ErasurePlace(Protocol):
    """A place that traces are erased in."""

    @property
    def backend(self) -> str:
        """`viewer` or `tempo`."""

    @property
    def checks_ids(self) -> bool:
        """Whether parts of a trace may be there that a search does not find."""

    @property
    def is_asked(self) -> bool:
        """Whether all has been asked for that is to be."""

    @property
    def requests(self) -> Sequence[object]:
        """The requests that were accepted and are not done at once."""

    def erase(self, trace_ids: Collection[str]) -> None:
        """Erase traces, or ask for what is due."""

    def out_of_reach(self, left: int) -> list[str]:
        """Return what this run has not erased, and why."""


def erase_until_gone(
    place: ErasurePlace, seeker: Seeker, outcome: Erasure, *, wait: float, every: float, tell: Callable[[str], object]
) -> None:
    """Erase what is found, and look again. The outcome is kept up to date, so that it holds if this is interrupted.

    A server that fails after the first round, of a run that waits, is asked again.

    Args:
        place: Where to erase.
        seeker: Finds the traces.
        outcome: Takes what becomes of it.
        wait: Seconds to go on for.
        every: Seconds between two looks.
        tell: Takes a text that says how far this is.

    Raises:
        QueryError: if a server cannot be asked, or refuses. The error says the remedy.
    """
    deadline = time.monotonic() + wait
    outcome.left = outcome.found = seeker.find()
    is_first = True
    while True:
        try:
            _erase_once(place, seeker, outcome)
        except ServerError as problem:
            pause = min(every, deadline - time.monotonic())
            if is_first or pause <= 0:
                raise
            tell(str(problem))
        else:
            pause = min(every, deadline - time.monotonic())
            if outcome.is_gone or (outcome.dry_run and place.is_asked) or pause <= 0:
                break
            tell(f"{len(outcome.left)} of {len(outcome.found)} traces are still there")
        is_first = False
        time.sleep(pause)
    if not outcome.found:
        outcome.keys_in_use = keys_in_use(seeker, outcome.keys)


def _erase_once(place: ErasurePlace, seeker: Seeker, outcome: Erasure) -> None:
    """Ask for what is due, and look what is left."""
    try:
        place.erase(outcome.left)
    finally:
        outcome.requests = list(place.requests)
        outcome.is_asked = place.is_asked
    if not outcome.dry_run:
        outcome.left = seeker.find()
        if not outcome.left and place.checks_ids:
            outcome.left = seeker.still_there(outcome.found)
        outcome.found = list(dict.fromkeys([*outcome.found, *outcome.left]))
    outcome.out_of_reach = place.out_of_reach(0 if outcome.dry_run else len(outcome.left))
    if seeker.is_cut_off:
        outcome.out_of_reach.append("traces beyond those that one search gives: too many began in one second")

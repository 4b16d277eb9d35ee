"""Lengths of time as arguments: `30s`, `10m`, `1h30m`, `1d`."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from tracemw.analysis.gathering.how_long import length_of_time


def seconds_of(text: str) -> float:
    """Return the seconds of a length of time.

    Raises:
        argparse.ArgumentTypeError: for anything else.
    """
    try:
        return length_of_time(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def seconds_within(shortest: str, longest: str) -> Callable[[str], float]:
    """Return what reads a length of time between two others: the type of an argument."""
    least, most = seconds_of(shortest), seconds_of(longest)

    def seconds(text: str) -> float:
        found = seconds_of(text)
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is not accepted; use a time from {shortest} to {longest}")
        return found

    return seconds

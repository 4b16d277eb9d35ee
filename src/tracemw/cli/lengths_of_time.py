"""Lengths of time as arguments: `30s`, `10m`, `1h30m`, `1d`."""

from __future__ import annotations

import argparse

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

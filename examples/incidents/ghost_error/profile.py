"""The profile service, with a fraud check that is slow with large orders, and takes its own callers for attackers."""

import time
from collections import Counter

from flask import request

import tracemw
from examples.flask_app.app import app

LARGE = 1_000
LARGE_SECONDS = 4.0
MOST_AT_ONCE = 2

under_way: Counter[int] = Counter()


class TooManyChecksError(Exception):
    """Somebody tries again and again to have one order accepted."""


@app.get("/orders/<int:order_id>/risk")
def risk(order_id: int) -> dict[str, float]:
    return {"risk": fraud_check(order_id, request.args.get("amount", 0, int))}


@tracemw.traced("fraud.check")
def fraud_check(order_id: int, amount: int) -> float:
    """Return the expected loss in euros."""
    under_way[order_id] += 1
    try:
        if under_way[order_id] > MOST_AT_ONCE:
            raise TooManyChecksError(f"{under_way[order_id]} checks of one order at once")  # the first fault
        if amount >= LARGE:  # compared with all large orders of the year
            time.sleep(LARGE_SECONDS)
        return amount * 0.01
    finally:
        under_way[order_id] -= 1

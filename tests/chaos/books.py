"""The law that holds at any rest: what services say of their spans is what the backend knows of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from chaos.running import Received

_NEVER_SENT = ("queue_full", "queue_bytes", "too_large", "breaker_open", "encoding", "shutdown")


def audit_everything(made: Collection[str], told: Iterable[Mapping[str, Any]], received: Received) -> None:
    """Do what `audit` does as far as that can be done where a request has several spans, and may not be sampled.

    Raises:
        AssertionError: when both sides do not agree.
    """
    workers = list(told)

    def total(name: str) -> int:
        return sum(int(worker[name]) for worker in workers)

    ids = frozenset(made)
    seen = received.accepted | received.rejected | received.unanswered | received.busy
    assert seen <= ids, f"spans of no request: {len(seen - ids)}"
    assert total("queued") == total("in_flight") == total("held") == 0, workers
    assert total("ended") >= len(ids), workers
    assert total("folded") > 0, workers
    unsent = total("unsampled") + total("rejected") + total("unknown")
    dropped = sum(int(number) for worker in workers for number in worker["dropped"].values())
    assert len(ids - seen) <= unsent + dropped, f"{len(ids - seen)} requests are lost: {workers}"


def audit(made: Collection[str], told: Iterable[Mapping[str, Any]], received: Received) -> str:
    """Compare the stats of all workers with the trace ids of all responses and with what the backend has received.

    Nothing may be on its way. One thing neither side can know: whether an answer that the backend has sent has arrived,
    when the connection broke or the time was over just then. The service then counts what was answered as `unknown`.

    Returns:
        Both sides' numbers, to be shown.

    Raises:
        AssertionError: when they do not agree.
    """
    workers = list(told)

    def total(name: str) -> int:
        return sum(int(worker[name]) for worker in workers)

    ids = frozenset(made)
    seen = received.accepted | received.rejected | received.unanswered | received.busy
    dropped = {cause: sum(int(worker["dropped"][cause]) for worker in workers) for cause in workers[0]["dropped"]}
    books = (
        f"made {len(ids)}; exported {total('exported')}, rejected {total('rejected')}, unknown {total('unknown')}, "
        f"dropped {dropped}, queued {total('queued')}, in flight {total('in_flight')}; backend: accepted "
        f"{len(received.accepted)}, rejected {len(received.rejected)}, unanswered {len(received.unanswered)}, busy "
        f"{len(received.busy)}, never seen {len(ids - seen)}"
    )
    assert len(ids) == len(made), f"two responses have the same trace: {books}"
    assert seen <= ids, f"spans of no request: {books}"
    assert received.strange == 0, f"more than one span of a request: {books}"
    assert total("queued") == total("in_flight") == 0, books
    assert total("ended") == len(ids), books
    # What was dropped before it was sent has not been received; what else has not was in a request cut short.
    assert len(ids - seen) >= sum(dropped[cause] for cause in _NEVER_SENT), books
    accepted_unheard = len(received.accepted) - total("exported")
    rejected_unheard = len(received.rejected) - total("rejected")
    assert accepted_unheard >= 0, f"exported, and not accepted: {books}"
    assert rejected_unheard >= 0, f"rejected, and by nobody: {books}"
    # So is the rest: by the sums above, what is neither unknown nor dropped unsent is in `retries_exhausted`.
    assert total("unknown") >= len(received.unanswered) + accepted_unheard + rejected_unheard, books
    return books

"""The queue of spans that have ended: bounded in spans and in bytes, without a lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice

from opentelemetry.sdk.trace import ReadableSpan

from tracemw._export.stats import ENCODING, QUEUE_BYTES, QUEUE_FULL, TOO_LARGE, TRIVIAL


class SpanQueue:
    """Spans that have ended wait here, encoded, until the worker takes them.

    When too many spans or bytes wait, the oldest are dropped and counted. A span that no request has room for is
    dropped itself. The worker is told of the first span, and once more when a batch is full.

    Any thread may call any method, and a signal handler may do so in the midst of that: see docs/architecture.md.

    Args:
        encode: Makes a record of a span. Returns None when it cannot, and `b""` for a span that need not leave.
        wake: Tells the worker that spans wait. Returns False when there is no worker.
        counts: Where dropped spans are counted, by cause.
        most_spans: How many spans may wait.
        most_bytes: How many bytes may wait.
        batch_spans: How many spans make a full batch.
        batch_bytes: How many bytes make a full batch. A larger span is dropped.
        refuses: The first value of `refuses`.
    """

    refuses: str | None
    """The cause by which spans are dropped as soon as they end; None while they are queued."""

    def __init__(
        self,
        encode: Callable[[ReadableSpan], bytes | None],
        wake: Callable[[], bool],
        counts: dict[str, int],
        *,
        most_spans: int,
        most_bytes: int,
        batch_spans: int,
        batch_bytes: int,
        refuses: str | None = None,
    ) -> None:
        self.refuses = refuses
        self._encode = encode
        self._wake = wake
        self._counts = counts
        self._most_spans = most_spans
        self._most_bytes = most_bytes
        self._batch_spans = min(batch_spans, most_spans)
        self._batch_bytes = batch_bytes
        self._records: deque[bytes] = deque()
        self._next_records = iter(self._records.popleft, None)
        self._bytes = 0
        """How many bytes wait."""
        self._tell_at = 0
        """How many waiting spans give `_look_after` something to do: any, then a full batch, then one too many."""

    def __len__(self) -> int:
        return len(self._records)

    def take(self, span: ReadableSpan) -> None:
        """Queue a span that has ended, sampled or not."""
        refuses = self.refuses
        if refuses is not None:
            self._counts[refuses] += 1
            return
        # A span is encoded at once, and not by the worker. The garbage collector would look at waiting spans again and
        # again; bytes it passes over. And a worker that encodes a whole batch would hold the interpreter for long.
        encode = self._encode  # a function in a field: `self._encode(span)` would look for a method first
        record = encode(span)
        if not record:
            self._counts[ENCODING if record is None else TRIVIAL] += 1
            return
        size = len(record)
        queued = self._bytes + size
        if queued > self._batch_bytes:
            self._take_heavy(record, size)
            return
        self._bytes = queued  # no call came since the number was read, so no other thread's span is left uncounted
        records = self._records
        records.append(record)
        if len(records) >= self._tell_at:
            self._look_after(is_heavy=False)

    def expect(self) -> None:
        """Have the worker told of the next span. The worker calls this before it looks at the queue."""
        self._tell_at = 0

    def move(self, batch: list[bytes], most: int) -> None:
        """Move the oldest spans to the end of a batch, at most `most` of them."""
        before = len(batch)
        try:
            batch.extend(islice(self._next_records, most))  # within C: whoever looks sees each span in one place
        except IndexError:  # the queue is empty now
            pass
        moved = sum(map(len, islice(batch, before, None))) if self._records else 0
        self._bytes -= moved
        # No call from here to the end: an empty queue has no bytes. This mends what a signal handler has cut short.
        if not self._records:
            self._bytes = 0

    def drop_oldest(self, cause: str) -> bool:
        """Drop the oldest span, and count it. Return False when none waits."""
        records = self._records
        try:
            while True:
                record = records[0]
                size = len(record)
                # No call from here to the count: the span leaves the queue and is counted together.
                if records[0] is record:
                    del records[0]
                    self._bytes -= size
                    self._counts[cause] += 1
                    return True
        except IndexError:  # the queue is empty: the worker was faster
            return False

    def drop_all(self, cause: str) -> None:
        """Drop all waiting spans, and count them."""
        while self.drop_oldest(cause):
            pass

    def inherit(self, queue: SpanQueue) -> None:
        """Take over the waiting spans of the queue of the parent process."""
        self._records.extend(queue._records)
        self._bytes = sum(map(len, self._records))

    def _take_heavy(self, record: bytes, size: int) -> None:
        """Queue a record when more bytes wait than a batch has. Drop a record that no request has room for."""
        if size > self._batch_bytes:
            self._counts[TOO_LARGE] += 1
            return
        self._bytes += size
        records = self._records
        records.append(record)
        if self._tell_at <= self._most_spans or len(records) >= self._tell_at or self._bytes > self._most_bytes:
            self._look_after(is_heavy=True)

    def _look_after(self, *, is_heavy: bool) -> None:
        """Keep the limits, and wake the worker when it is needed."""
        waiting = len(self._records)
        while len(self._records) > self._most_spans and self.drop_oldest(QUEUE_FULL):
            pass
        while is_heavy and self._bytes > self._most_bytes and self.drop_oldest(QUEUE_BYTES):
            pass
        if self._tell_at == 0:
            self._tell(self._batch_spans)
        elif self._tell_at <= self._most_spans and (is_heavy or waiting >= self._batch_spans):
            self._tell(self._most_spans + 1)

    def _tell(self, next_at: int) -> None:
        """Wake the worker. Do not wake it again before `next_at` spans wait."""
        is_told = False
        try:
            self._tell_at = next_at
            is_told = self._wake()
        finally:  # a signal handler may raise wherever it interrupts
            if not is_told:
                self._tell_at = 0

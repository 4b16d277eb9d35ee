"""Spans of unsampled traces, which are held until it is known whether somebody will see them."""

from __future__ import annotations


class Held:
    """What our recorder's spans of unsampled traces do beyond OpenTelemetry's, for the doors and `tracemw.keep`."""

    def answered(self) -> None:
        """Take the time until now, the first time, and not until the end as how long the request took."""
        raise NotImplementedError

    def is_wanted(self, end_time: int) -> bool:
        """Tell whether anybody will see the span if it ends at `end_time` as it is, without another failure."""
        raise NotImplementedError

    def keep(self) -> None:
        """Have what this process records of the trace kept, whatever becomes of it."""
        raise NotImplementedError

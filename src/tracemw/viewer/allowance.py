"""The limits on what one peer may take of the viewer: bytes, seconds of patience, and CPU time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The limits that hold for every peer.

    Attributes:
        body_bytes: Bytes of a body at most, before and after decompression. The OpenTelemetry Collector and Tempo take
            as much.
        head_seconds: Seconds for the first line and headers of a request, from the end of the one before.
        body_seconds: Seconds for the body of a request. A sender that needs longer has gone.
        response_seconds: Seconds in which a peer must take some of its response.
        search_seconds: CPU time of one search. A look into each of 200,000 spans takes half of the default.
    """

    body_bytes: int = 20 * 1024 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    response_seconds: float = 60.0
    search_seconds: float = 5.0

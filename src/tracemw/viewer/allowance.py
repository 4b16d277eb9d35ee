"""What one peer may take of the viewer: bytes, and seconds of patience and of CPU time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """The limits that hold for every peer.

    Attributes:
        body_bytes: the largest body, before and after decompression; the OpenTelemetry Collector and Tempo take as much
        head_seconds: for a request's first line and headers, from the end of the request before
        body_seconds: for a request's body; a sender that needs longer has gone
        response_seconds: in which a peer has to take some of its response
        search_seconds: CPU time of one search; a look into each of 200,000 spans takes half of the default
    """

    body_bytes: int = 20 * 1024 * 1024
    head_seconds: float = 10.0
    body_seconds: float = 30.0
    response_seconds: float = 60.0
    search_seconds: float = 5.0

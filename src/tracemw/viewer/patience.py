"""Connections, and how long they wait for their peer. uvicorn's own protocol would wait for ever.

A connection waits for its peer in three states: until the head of a request has come, until its body has come, and
while the peer takes nothing of the response. Each state has a time limit, which bytes that trickle in do not extend.
When all places are taken, the connection that has been waiting longest makes room. So idle connections keep nobody out.
The same goes for memory: of responses that their peers do not take, there is room for some.
"""

from __future__ import annotations

import asyncio
import resource
from functools import cache
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tracemw.viewer.allowance import Allowance
from tracemw.viewer.sending import UNSENT

_CONNECTIONS = 400
_OTHER_DESCRIPTORS = 150  # of this process: those of the database, for each thread that reads, and others
_UNTAKEN_BYTES = 32 * 1024 * 1024  # of all responses that wait for their peers
_BODY_GRACE = 5.0  # seconds more for a body: `intake` gives up on a slow body first, and says why

_HEAD, _BODY, _RESPONSE = "head", "body", "response"


@cache
def most_connections() -> int:
    """Return how many connections may be open at once. Some descriptors stay free, so that accepting never fails."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _CONNECTIONS if descriptors < 0 else max(16, min(_CONNECTIONS, descriptors - _OTHER_DESCRIPTORS))


class LimitedConnection(H11Protocol):
    """One connection of uvicorn's HTTP/1.1 protocol, with limited patience.

    Args:
        allowance: How many seconds the connection waits in each state.

    Attributes:
        waits_for: What the peer has to do now. Empty when it is the viewer's turn.
        waiting_since: When the wait began, on the event loop's clock.
    """

    def __init__(self, *args: Any, allowance: Allowance, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waits_for = ""
        self.waiting_since = 0.0
        self._patience = {
            _HEAD: allowance.head_seconds,
            _BODY: allowance.body_seconds + _BODY_GRACE,
            _RESPONSE: allowance.response_seconds,
        }
        self._timer: asyncio.TimerHandle | None = None

    @property
    def untaken(self) -> int:
        """How many bytes of the response the peer has not taken yet."""
        unsent: int = self.scope["state"].get(UNSENT, 0)
        return self.transport.get_write_buffer_size() + unsent

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request. When all places are taken, the connection that waits longest goes."""
        if len(self.connections) >= most_connections():
            others = [each for each in self.connections if isinstance(each, LimitedConnection) and each.waits_for]
            if others:
                min(others, key=lambda each: each.waiting_since).give_up()
            else:
                transport.abort()
        super().connection_made(transport)
        self._wait_for_peer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting: the peer has gone."""
        self._wait_for("")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take some bytes of a request."""
        super().data_received(data)
        self._wait_for_peer()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        super().on_response_complete()
        self._wait_for_peer()

    def pause_writing(self) -> None:
        """Begin to wait for a peer that takes no more of its response."""
        super().pause_writing()
        self._wait_for_peer()
        self._make_room()

    def resume_writing(self) -> None:
        """Stop waiting: the peer has taken some of its response."""
        super().resume_writing()
        self._wait_for_peer()

    def give_up(self) -> None:
        """Close the connection without a response."""
        self._wait_for("")
        self.transport.abort()

    def _make_room(self) -> None:
        """While too much waits to be taken, close the connection that waits longest, but for this one."""
        waiting = [
            each for each in self.connections if isinstance(each, LimitedConnection) and each.waits_for == _RESPONSE
        ]
        waiting.sort(key=lambda each: each.waiting_since)
        untaken = sum(each.untaken for each in waiting)
        for each in waiting:
            if untaken <= _UNTAKEN_BYTES:
                return
            if each is not self:
                untaken -= each.untaken
                each.give_up()

    def _wait_for_peer(self) -> None:
        if self.transport.is_closing():
            self._wait_for("")
        elif self.flow.write_paused:
            self._wait_for(_RESPONSE)
        elif self.conn.their_state is h11.SEND_BODY:
            self._wait_for(_BODY)
        else:
            self._wait_for(_HEAD if self.conn.their_state is h11.IDLE else "")

    def _wait_for(self, what: str) -> None:
        if what == self.waits_for:
            return
        self.waits_for = what
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if what:
            self.waiting_since = self.loop.time()
            self._timer = self.loop.call_later(self._patience[what], self.give_up)

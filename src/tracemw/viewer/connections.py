"""Connections that wait for their peer, and for how long: uvicorn's own protocol would wait for ever.

A connection waits for its peer while a request has not come in whole, and while its peer does not take the answer. It
has so many seconds for that, however many bytes trickle in meanwhile. When all places are taken, the connection that
has been waiting longest makes room. So connections that only stand there keep nobody out.
"""

from __future__ import annotations

import asyncio
import resource
from functools import cache
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from tracemw.viewer.bodies import BODY_SECONDS

HEAD_SECONDS = 10.0  # for a request's first line and headers, from the end of the request before
ANSWER_SECONDS = 60.0  # in which nothing of an answer is taken

_CONNECTIONS = 400
_OTHER_DESCRIPTORS = 150  # of this process: the database's, for each thread that reads, and the rest

_HEAD, _BODY, _ANSWER = "head", "body", "answer"
# A body that is read has its time in `bodies`, whose answer says so; this is for one that nobody reads.
PATIENCE = {_HEAD: HEAD_SECONDS, _BODY: BODY_SECONDS + 5, _ANSWER: ANSWER_SECONDS}


@cache
def most_connections() -> int:
    """How many connections are open at once: fewer than there are descriptors, so that accepting never fails."""
    descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return _CONNECTIONS if descriptors < 0 else max(16, min(_CONNECTIONS, descriptors - _OTHER_DESCRIPTORS))


class Connection(H11Protocol):
    """One connection of uvicorn's HTTP/1.1 protocol, with an end to its patience.

    Attributes:
        waits_for: the part of the exchange that its peer has to do now, empty when it is the viewer's turn
        waiting_since: since when, on the event loop's clock
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.waits_for = ""
        self.waiting_since = 0.0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for a request; if need be in the place of the connection that has been waiting longest."""
        if len(self.connections) >= most_connections():
            others = [each for each in self.connections if isinstance(each, Connection) and each.waits_for]
            if others:
                min(others, key=lambda each: each.waiting_since).give_up()
            else:
                transport.abort()
        super().connection_made(transport)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer has gone."""
        self._wait_for("")
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some of a request has come."""
        super().data_received(data)
        self._look()

    def on_response_complete(self) -> None:
        """The answer has been handed over, and the next request may come."""
        super().on_response_complete()
        self._look()

    def pause_writing(self) -> None:
        """The peer takes no more of the answer."""
        super().pause_writing()
        self._look()

    def resume_writing(self) -> None:
        """The peer has taken some."""
        super().resume_writing()
        self._look()

    def _look(self) -> None:
        if self.transport.is_closing():
            self._wait_for("")
        elif self.flow.write_paused:
            self._wait_for(_ANSWER)
        elif self.conn.their_state is h11.SEND_BODY:
            self._wait_for(_BODY)
        else:
            self._wait_for(_HEAD if self.conn.their_state is h11.IDLE else "")

    def _wait_for(self, what: str) -> None:
        if what == self.waits_for:
            return
        self.waits_for = what
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        if what:
            self.waiting_since = self.loop.time()
            self._patience = self.loop.call_later(PATIENCE[what], self.give_up)

    def give_up(self) -> None:
        """Close the connection, without another word."""
        self._wait_for("")
        self.transport.abort()

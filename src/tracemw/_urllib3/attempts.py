"""The attempts at one request. A connection pool starts each, and the sender of the request learns of the last."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from urllib3.util import Retry

from tracemw._http.client import ClientExchange, ClientTracing
from tracemw._otel.context import current_context

R = TypeVar("R")

VERSIONS: Final = {10: "1.0", 11: "1.1", 20: "2"}
"""The protocol versions as urllib3 numbers them, and as `network.protocol.version` has them."""


class Attempts:
    """The attempts at one request.

    Args:
        tracing: The options of the door.
        method: The request's method.
        url: The absolute URL.
    """

    __slots__ = (
        "_callers_headers",
        "_count",
        "_failed_at",
        "_failure",
        "_method",
        "_tracing",
        "_url",
        "context",
        "current",
    )

    def __init__(self, tracing: ClientTracing, method: str, url: str) -> None:
        self._tracing = tracing
        self._method = method
        self._url = url
        self.context = current_context()  # urllib3 makes each retry within the previous attempt
        self._count = 0
        self._failed_at: int | None = None
        self._failure: BaseException | None = None
        self._callers_headers: Any = None
        self.current: ClientExchange | None = None
        """The latest attempt. None before the first, and when the call is not traced."""

    def run(self, send: Callable[[], R]) -> R:
        """Return `send()`. The connection pools beneath start these attempts.

        An interrupt between any two steps, such as KeyboardInterrupt, leaves `attempts_under_way` as it was before.
        """
        around = attempts_under_way.get()
        # Both begin before anything else does: where a `try` begins, no other catches an interrupt.
        try:
            try:
                attempts_under_way.set(self)
                return send()
            except BaseException as error:
                if self.current is not None:
                    self.current.failure(error)
                raise
            finally:
                attempts_under_way.set(around)
        except BaseException:
            attempts_under_way.set(around)  # an interrupt may have come before the same above
            raise

    def next(self, retries: object, headers: object) -> ClientExchange | None:
        """End the previous attempt, with the failure that urllib3 has noted, and begin another with these headers.

        The wait that the retry policy asks for lies between the two.
        """
        self._callers_headers = headers
        before = self.current
        if before is not None:
            history = retries.history if isinstance(retries, Retry) else ()
            # A user's own adapter may try again, too. urllib3 does not know of that.
            failure = (history[-1].error if history else None) or self._failure
            if failure is not None:
                before.failure(failure, at=self._failed_at)
            before.abandon()
            self._failed_at = self._failure = None
        self.current = self._tracing.begin(self._method, self._url, resend_count=self._count, context=self.context)
        self._count += 1
        return self.current

    def redirected(self, method: str, url: str) -> None:
        """Note that the attempts that follow go to another URL."""
        self._method, self._url = method, url

    def with_trace(self, headers: Any) -> Any:
        """Return the headers that urllib3 is about to send, and with them those that hand the trace on."""
        ours = None if self.current is None else self.current.headers
        if not ours:
            return headers
        if type(headers) is dict:
            names = {name.lower() for name in ours}
            return {**{name: value for name, value in headers.items() if name.lower() not in names}, **ours}
        if headers is self._callers_headers:  # urllib3 has made a copy unless the request goes through a tunnel
            headers = headers.copy()
        for name, value in ours.items():
            headers[name] = value
        return headers

    def answered(self, response: Any) -> None:
        """Note the response to the current attempt."""
        if self.current is not None:
            self.current.response(response.status, VERSIONS.get(response.version))

    def failed(self, error: BaseException) -> None:
        """Note the error of the current attempt, and its time."""
        self._failed_at = None if self.current is None else self.current.now()
        self._failure = error


attempts_under_way: Final[ContextVar[Attempts | None]] = ContextVar("tracemw-attempts", default=None)

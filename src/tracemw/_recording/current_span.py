"""A span that is current in a block, or in each call of a function."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from opentelemetry import context as otel_context
from opentelemetry.trace import Span, Status, StatusCode
from opentelemetry.trace.propagation import _SPAN_KEY

from tracemw._otel.exceptions import described

if TYPE_CHECKING:
    from tracemw._recording.tracer import Tracer

F = TypeVar("F", bound=Callable[..., Any])


class CurrentSpan:
    """A span that is current in a block. `start_as_current_span` returns this.

    As a decorator, this starts a span for each call of a function, sync or async.
    """

    __slots__ = ("_arguments", "_end_on_exit", "_span", "_token", "_tracer")

    def __init__(self, tracer: Tracer, arguments: tuple[Any, ...], *, end_on_exit: bool) -> None:
        self._tracer = tracer
        self._arguments = arguments
        self._end_on_exit = end_on_exit

    def __enter__(self) -> Span:
        span = self._span = self._tracer.start_span(*self._arguments)
        self._token = otel_context.attach(otel_context.set_value(_SPAN_KEY, span))
        return span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        otel_context.detach(self._token)
        span = self._span
        try:
            # Only an Exception is an error: GeneratorExit and cancellations are none.
            if isinstance(error, Exception) and span.is_recording():
                *_, record_exception, set_status_on_exception = self._arguments
                if record_exception:
                    span.record_exception(error)
                if set_status_on_exception:
                    span.set_status(Status(StatusCode.ERROR, described(error)))
        finally:
            if self._end_on_exit:
                span.end()

    def __call__(self, function: F) -> F:
        """Return `function` with each of its calls in a span like this one."""
        tracer, arguments, end_on_exit = self._tracer, self._arguments, self._end_on_exit
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: Any, **kwargs: Any) -> Any:
                with CurrentSpan(tracer, arguments, end_on_exit=end_on_exit):
                    return await function(*args, **kwargs)

            return cast("F", awaited)

        @functools.wraps(function)
        def called(*args: Any, **kwargs: Any) -> Any:
            with CurrentSpan(tracer, arguments, end_on_exit=end_on_exit):
                return function(*args, **kwargs)

        return cast("F", called)

"""The application's own spans: `span`, `traced`, `annotate`, `keep`, `stage`, `current_trace_id`.

These work with any tracer provider. Without a provider, and within a skipped request, they do nothing.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from contextvars import Token
from types import TracebackType
from typing import Any, Final, TypeVar, cast, overload

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN, Span, Status, StatusCode

from tracemw._otel.cleaning import cleaned, cleaned_items
from tracemw._otel.context import detach, exchange_in, is_skipped, request_span, with_span
from tracemw._otel.exceptions import described, exception_type, mark_stage, moment, put_stage, record_exception
from tracemw._otel.guard import fault, guarded, represented
from tracemw._otel.providers import TracerSource
from tracemw._otel.recorder import as_held

AttributeValue = str | bool | int | float | Sequence[str] | Sequence[bool] | Sequence[int] | Sequence[float]
F = TypeVar("F", bound=Callable[..., Any])

_tracers: Final = TracerSource()


class span:  # noqa: N801  a verb to its users: `with tracemw.span("payment.process"):`
    """Run a block, or each call of a function, in a span of its own.

    `with tracemw.span("payment.process", **{"payment.amount": 42}) as current:` gives the block the OpenTelemetry
    span. `async with` does the same. `@tracemw.span("payment.process")` makes each call of a function, coroutine or
    generator a span.

    An exception that leaves the block is recorded, sets the status to ERROR, and goes on. An exception that only ends
    the block early (`asyncio.CancelledError`, `GeneratorExit`, `KeyboardInterrupt`, `SystemExit`) leaves the status
    unset.

    Args:
        name: What happens, in the form `noun.verb` and of low cardinality.
        **attributes: Attributes of the span. A value is a string, number, bool, or a sequence of one of those.

    Raises:
        TypeError: when the name is no string.
        RuntimeError: when one object is entered again before it has been left.
    """

    __slots__ = ("_attached", "_attributes", "_name", "_span", "_token")

    def __init__(self, name: str, /, **attributes: AttributeValue) -> None:
        if not isinstance(name, str):
            raise TypeError(f"span takes a name, not {represented(name)}; @tracemw.traced names a span by its function")
        self._name = name
        self._attributes = attributes
        self._span: Span | None = None
        self._attached: Context | None = None
        self._token: Token[Context] | None = None

    def __enter__(self) -> Span:
        if self._span is not None:
            raise RuntimeError(f"span({self._name!r}) is entered already; make one span() for each `with`")
        here = otel_context.get_current()
        self._span = _start(self._name, here, self._attributes) or INVALID_SPAN
        if self._span is not INVALID_SPAN:
            self._attach(with_span(self._span, here))
        return self._span

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._detach()
        ending, self._span = self._span, None
        if ending is not None:
            _end(ending, error)

    async def __aenter__(self) -> Span:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: F) -> F:
        """Return `function` with each of its calls in a span like this one."""
        return cast("F", _wrapped(function, self._name, self._attributes))

    def _attach(self, context: Context) -> None:
        self._attached = context
        self._token = otel_context.attach(context)

    def _detach(self) -> None:
        token, self._token = self._token, None
        if token is not None and self._attached is not None:
            detach(token, self._attached)


class _GeneratorSpan(span):
    """A span that lasts as long as a generator, and is current only while the generator itself runs."""

    __slots__ = ()

    def __enter__(self) -> Span:
        started = super().__enter__()
        self.suspend()
        return started

    def resume(self) -> None:
        """Make the generator's context current: the one at its last `yield`."""
        if self._attached is not None:
            self._attach(self._attached)

    def suspend(self) -> None:
        """Make the context of the generator's consumer current again."""
        if self._token is not None:
            inside = otel_context.get_current()
            self._detach()
            self._attached = inside


@guarded
def _start(name: str, here: Context, attributes: dict[str, AttributeValue]) -> Span:
    tracer = None if is_skipped(here) else _tracers.get()
    if tracer is None:
        return INVALID_SPAN
    if not _tracers.is_ours:  # other recorders let the exceptions of a value's methods through
        attributes = cleaned_items(attributes.items())
    return tracer.start_span(name, here, attributes=attributes)


@guarded
def _end(ending: Span, error: BaseException | None) -> None:
    try:
        if isinstance(error, Exception) and not _says_only_that_the_client_has_gone(error):
            ending.set_attribute("error.type", exception_type(error))
            ending.set_status(StatusCode.ERROR)
            put_stage(ending, error)
            record_exception(ending, error)
            ending.set_status(Status(StatusCode.ERROR, described(error)))
    finally:
        ending.end()


def _says_only_that_the_client_has_gone(error: Exception) -> bool:
    exchange = exchange_in(otel_context.get_current())
    return bool(getattr(exchange, "says_only_that_the_client_has_gone", bool)(error)) if exchange else False


@overload
def traced(function: F, /) -> F: ...


@overload
def traced(name: str | None = None, /, **attributes: AttributeValue) -> Callable[[F], F]: ...


def traced(name: Any = None, /, **attributes: AttributeValue) -> Any:
    """Make each call of a function a span: `@tracemw.traced`, or `@tracemw.traced("fraud.check", **attributes)`.

    The function may be plain, a coroutine function, a generator or an asynchronous generator. A generator's span starts
    when its first value is asked for, ends with the generator, and is current only while the generator itself runs.
    Without a name, the span has the function's qualified name. `code.function.name` is recorded in any case.

    Raises:
        TypeError: when applied to something that is not a function.
    """
    if name is None or isinstance(name, str):
        return lambda function: _wrapped(function, name, attributes)
    return _wrapped(name, None, attributes)


def annotate(**attributes: AttributeValue) -> None:
    """Put attributes on the request's own span, from any depth of code: `annotate(**{"order.id": 7})`.

    Outside of a request, the attributes go on the current span. Within a skipped request, they go nowhere.
    """
    _annotate(attributes)


@guarded
def _annotate(attributes: dict[str, AttributeValue]) -> None:
    if is_skipped():
        return
    target = request_span() or trace.get_current_span()
    if target.is_recording():  # a request's background work outlives its span
        for key, value in attributes.items():
            try:
                target.set_attribute(key, cleaned(value))
            except Exception as error:  # a foreign span raises; the other attributes are still to be set
                fault("annotate", error)


def keep(reason: str) -> None:
    """Have the trace of the current request reach the backend, sampled or not: `tracemw.keep("refund over limit")`.

    If the trace is unsampled, this process keeps its part of it, marked `tracemw.kept=manual`. At most
    `Sampling(keep_rate=)` traces are kept in a second. Other services decide for themselves. The current span gets the
    reason as `tracemw.keep.reason`; if that span does not record, the request's own does. After the end of the request,
    within a skipped one, and with `keep_errors=False`, there is nothing to keep.

    Args:
        reason: Why somebody will want to see the trace.
    """
    _keep(reason)


@guarded
def _keep(reason: str) -> None:
    if is_skipped():
        return
    span = trace.get_current_span()
    if not span.is_recording():
        span = request_span() or span
    if span.is_recording():
        span.set_attribute("tracemw.keep.reason", cleaned(reason))
    held = as_held(span)
    if held is not None:
        held.keep()


class stage:  # noqa: N801  a verb to its users: `with tracemw.stage("fraud_check"):`
    """Name a stage of the work. An exception that leaves the block brings `error.stage=name` to the spans around it.

    The current span gets the attribute, and so does every enclosing span of this process that ends with that same
    exception. Of nested stages, the innermost counts. An `ExceptionGroup` is an exception of its own: the spans within
    the task group end with the exception that left the stage, and those around the task group end with the group.

    Raises:
        TypeError: when the name is no string.
    """

    # Not a generator with @contextmanager: that sets attributes of the exception, and a frozen class refuses them.

    __slots__ = ("_entered", "_name")

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"stage takes a name, not {represented(name)}")
        self._name = name
        self._entered = 0

    def __enter__(self) -> None:
        self._entered = moment()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, Exception):
            mark_stage(trace.get_current_span(), error, self._name, self._entered)


@guarded
def current_trace_id() -> str | None:
    """Return the id of the current trace as 32 hex digits, or None when nothing is being traced."""
    if is_skipped():
        return None
    context = trace.get_current_span().get_span_context()
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def _wrapped(function: Any, name: str | None, attributes: dict[str, AttributeValue]) -> Any:
    if isinstance(function, (staticmethod, classmethod)):
        return type(function)(_wrapped(function.__func__, name, attributes))
    if not callable(function) or isinstance(function, type):
        raise TypeError(f"traced and span decorate functions, not {represented(function)}")
    named = function
    while isinstance(named, functools.partial):
        named = named.func
    qualified = getattr(named, "__qualname__", type(named).__qualname__)
    module = getattr(named, "__module__", None)
    shown = name if name is not None else qualified.rpartition("<locals>.")[2]
    every = {"code.function.name": f"{module}.{qualified}" if module else qualified, **attributes}
    if inspect.isasyncgenfunction(function):
        wrapper = _async_generator(function, shown, every)
    elif inspect.isgeneratorfunction(function):
        wrapper = _generator(function, shown, every)
    elif inspect.iscoroutinefunction(function):
        wrapper = _coroutine(function, shown, every)
    else:
        wrapper = _function(function, shown, every)
    return functools.wraps(function)(wrapper)


# Each kind of function has a wrapper of the same kind: frameworks look at the kind.


def _function(function: Any, name: str, attributes: dict[str, AttributeValue]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        with span(name, **attributes):
            return function(*args, **kwargs)

    return wrapper


def _coroutine(function: Any, name: str, attributes: dict[str, AttributeValue]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        with span(name, **attributes):
            return await function(*args, **kwargs)

    return wrapper


def _generator(function: Any, name: str, attributes: dict[str, AttributeValue]) -> Callable[..., Any]:
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        step, argument = generator.send, None
        current = _GeneratorSpan(name, **attributes)
        with current:
            while True:
                current.resume()
                try:
                    value = step(argument)
                except StopIteration as stop:
                    return stop.value
                finally:
                    current.suspend()
                    argument = None
                try:
                    step, argument = generator.send, (yield value)
                except BaseException as error:
                    step, argument = generator.throw, error

    return wrapper


def _async_generator(function: Any, name: str, attributes: dict[str, AttributeValue]) -> Callable[..., Any]:
    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        step, argument = generator.asend, None
        current = _GeneratorSpan(name, **attributes)
        with current:
            while True:
                current.resume()
                try:
                    value = await step(argument)
                except StopAsyncIteration:
                    return
                finally:
                    current.suspend()
                    argument = None
                try:
                    step, argument = generator.asend, (yield value)
                except BaseException as error:
                    step, argument = generator.athrow, error

    return wrapper

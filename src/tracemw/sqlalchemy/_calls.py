"""The spans of an engine's statements.

Each goes through a method of the engine's dialect, such as `do_execute`. `trace_engine` puts one around it, on this
one object. SQLAlchemy's events would tell the same: but as soon as an engine has one of them, SQLAlchemy calls the
listeners of four at each statement, and that costs more than the span.

A batch of `executemany` is one call. So is each round trip of an insert that SQLAlchemy has split. Rows that are
fetched later do not count: the span tells how long the database took to answer.

A trivial statement, such as a COMMIT, has no span unless it fails or takes long. Neither has one more of many like
statements beneath one parent: the recorder counts it, which takes a fraction of the time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy.engine.default import DefaultExecutionContext
from sqlalchemy.engine.interfaces import Dialect, ExceptionContext, ExecuteStyle
from sqlalchemy.exc import DBAPIError

from tracemw._db.errors import response_code
from tracemw._db.traced_statements import TracedStatement, TracedStatements
from tracemw._otel.application import CodeLine
from tracemw._otel.callers import calling_line
from tracemw._otel.clock import offset
from tracemw._otel.context import attach, current_context, detach, is_silenced, silenced
from tracemw._otel.exceptions import exception_type, put_stage
from tracemw._otel.guard import fault, guarded
from tracemw._otel.providers import TracerSource
from tracemw._otel.recorder import Fold
from tracemw.sqlalchemy._facts import EngineFacts

_CLIENT: Final = SpanKind.CLIENT
_tuple: Final = tuple.__new__
_MANY: Final = ExecuteStyle.EXECUTEMANY
_COMMITS: Final = {
    "do_commit": "COMMIT",
    "do_rollback": "ROLLBACK",
    "do_prepare_twophase": "PREPARE TRANSACTION",
    "do_commit_twophase": "COMMIT PREPARED",
    "do_rollback_twophase": "ROLLBACK PREPARED",
}
"""Methods of a dialect -> the statements that they stand for."""
_TOLD: Final = "tracemw_told"
"""The field of an execution whose failure has a span."""
_MOST_COUNTED: Final = 4096
"""Pairs of parent and statement whose repeats are counted."""
_LINES: Final = 100
"""Repeats of one statement under one parent that tell their line. Further ones would tell the same."""
_OTHERS: Final = "opentelemetry.instrumentation"
"""The package of the official instrumentations. While none is loaded, none has to be kept from tracing a call twice."""


class Call(NamedTuple):
    """A call to the database that is under way."""

    statement: TracedStatement
    started: int
    """Nanoseconds of the monotonic clock."""
    span: Span | None = None
    """The span; None for a trivial statement, and for one that is folded."""
    has_line: bool = False
    """Whether the span has the line of code already."""
    fold: Fold | None = None
    """What counts the call if it has no span."""
    silence: tuple[Any, Context] | None = None
    """What restores the context, in which other instrumentations are silent."""


class CallTracing:
    """Traces the calls of one engine.

    Args:
        facts: What is known of the engine.
        tracers: The tracer in use.
        slow: Seconds from which a statement tells the line of code that has executed it, and a trivial one has a span.
        repeats: The execution of one statement under one parent from which on it tells that line, too.
    """

    def __init__(self, facts: EngineFacts, tracers: TracerSource, slow: float, repeats: int) -> None:
        self.statements = TracedStatements(facts.system, facts.attributes)
        self._facts = facts
        self._tracers = tracers
        self._slow = int(slow * 1e9)
        self._repeats = repeats
        self._counts: dict[tuple[int, TracedStatement], int] = {}

    def watch(self, dialect: Dialect) -> None:
        """Trace what a dialect has the database do."""
        has: Any = dialect
        for name in ("do_execute", "do_execute_no_params", "do_executemany"):
            setattr(has, name, self._traced(getattr(has, name)))
        for name, announced in _COMMITS.items():
            commit = getattr(has, name)
            if name.endswith("_twophase"):  # the dialect may execute a statement for it, or call another one of these
                commit = _silently(commit)
            setattr(has, name, self._traced_commit(commit, self.statements[announced]))

    def _traced(self, execute: Callable[..., Any]) -> Callable[..., Any]:
        """Return a method that traces what one of a dialect's methods executes."""
        begin, end, fail = self._begin, self._end, self._fail

        def traced(cursor: Any, text: str, *arguments: Any, **more: Any) -> Any:
            execution = more.get("context", arguments[-1] if arguments else None)
            call = begin(text, execution, arguments)
            if call is None:
                return execute(cursor, text, *arguments, **more)
            try:
                returned = execute(cursor, text, *arguments, **more)
            except BaseException as error:
                fail(call, error, execution)
                raise
            end(call)
            return returned

        return traced

    def _traced_commit(self, commit: Callable[..., Any], statement: TracedStatement) -> Callable[..., Any]:
        """Return a method that traces a COMMIT of a dialect, or its like, if that fails or takes long."""
        slow, end, fail = self._slow, self._end, self._fail

        def traced(*arguments: Any, **more: Any) -> Any:
            started = monotonic_ns()
            try:
                returned = commit(*arguments, **more)
            except BaseException as error:
                fail(Call(statement, started), error, None)
                raise
            if monotonic_ns() - started >= slow:
                end(Call(statement, started))
            return returned

        return traced

    def _begin(self, text: str, execution: Any, arguments: tuple[Any, ...]) -> Call | None:
        """Begin a call; None if it is not traced."""
        try:
            here = current_context()
            # SQLAlchemy gives no execution, or a connection without transactions, where it asks something for itself.
            if not isinstance(execution, DefaultExecutionContext) or is_silenced(here):
                return None
            if not execution.root_connection._allow_autobegin or "_otel_span" in vars(execution):  # noqa: SLF001
                return None
            statement = self.statements[text]
            if statement.is_trivial:
                return Call(statement, monotonic_ns(), silence=_silence(here))
            size = 0
            if execution.execute_style is _MANY:
                size = len(arguments[0])
                if size > 1:
                    statement = statement.batched()
            tracer: Any = self._tracers.get()
            span, has_line = None, False
            if tracer is not None and self._tracers.is_ours:
                fold = tracer.fold_for(here, statement.shape) if size <= 1 else None
                if fold is not None:
                    return Call(statement, monotonic_ns(), fold=fold, silence=_silence(here))
                span = tracer.start_span(statement.name, here, _CLIENT, statement)
            elif tracer is not None:
                span = self._start(statement, here, monotonic_ns())
            if span is not None:
                has_line = self._repeats_under_parent(span, statement)
                if size > 1:
                    span.set_attribute("db.operation.batch.size", size)
                if has_line:
                    _put_line(span)
            silence = _silence(here) if _OTHERS in sys.modules else None  # mostly no call
            # As the class would make it, at a third of the time.
            return _tuple(Call, (statement, monotonic_ns(), span, has_line, None, silence))
        except Exception as error:
            fault("sqlalchemy.CallTracing.begin", error)
            return None

    def _start(self, statement: TracedStatement, here: Context, started: int) -> Span | None:
        """Start the span of a call that began at `started`, by the monotonic clock in nanoseconds."""
        tracer = self._tracers.get()
        if tracer is None:
            return None
        attributes: Any = statement if self._tracers.is_ours else statement.plain()
        return tracer.start_span(statement.name, here, _CLIENT, attributes, None, started + offset())

    def _repeats_under_parent(self, span: Any, statement: TracedStatement) -> bool:
        """Count an execution under the span's parent. Tell whether it is one of those that tell their line."""
        parent = getattr(span, "parent", None)
        if parent is None:
            return False
        counts = self._counts
        key = parent[1], statement  # a span context is a tuple, and the property takes four times as long
        count = counts.get(key, 0) + 1
        if len(counts) >= _MOST_COUNTED:
            counts.clear()
        counts[key] = count
        return self._repeats <= count < self._repeats + _LINES

    def _end(self, call: Call) -> None:
        """End a call that has worked."""
        try:
            statement, started, span, has_line, fold, silence = call
            if silence is not None:
                detach(*silence)
            ended = monotonic_ns()
            if fold is not None:
                if fold.join(started, ended):
                    return
                span = self._start(statement, current_context(), started)
            is_slow = ended - started >= self._slow
            if is_slow and span is None and not is_silenced(here := current_context()):
                span = self._start(statement, here, started)
            if span is not None:
                if is_slow and not has_line:
                    _put_line(span)
                span.end()
        except Exception as error:
            fault("sqlalchemy.CallTracing.end", error)

    @guarded
    def _fail(self, call: Call, error: BaseException, execution: Any) -> None:
        """End a call that has failed."""
        if call.silence is not None:
            detach(*call.silence)
        if execution is not None:
            vars(execution)[_TOLD] = True
        if isinstance(error, DBAPIError) and error.orig is not None:  # of a statement that a COMMIT has executed
            error = error.orig
        span = call.span
        if span is None:
            if not isinstance(error, Exception):  # a cancellation
                if call.fold is not None:
                    call.fold.join(call.started, monotonic_ns())
                return
            here = current_context()
            span = None if is_silenced(here) else self._start(call.statement, here, call.started)
            if span is None:
                return
        try:
            put_error(span, error)
        finally:
            span.end()

    @guarded
    def failed_later(self, context: ExceptionContext) -> None:
        """Tell of a failure after the call, such as that of a fetch: the listener for `handle_error`."""
        execution: Any = context.execution_context
        text = getattr(execution, "statement", None)
        here = current_context()
        if not text or context.is_pre_ping or is_silenced(here):
            return
        fields = vars(execution)
        if "_otel_span" in fields or fields.pop(_TOLD, False):
            return
        self._fail(Call(self.statements[text], monotonic_ns()), context.original_exception, None)


def _silently(execute: Callable[..., Any]) -> Callable[..., Any]:
    """Return a method that does the same with tracing off: somebody above traces it."""

    def silent(*arguments: Any, **more: Any) -> Any:
        inside = silenced(current_context())
        token = attach(inside)
        try:
            return execute(*arguments, **more)
        finally:
            detach(token, inside)

    return silent


def _silence(here: Context) -> tuple[Any, Context] | None:
    """Silence other instrumentations, if there are any. Return what restores the context."""
    if _OTHERS not in sys.modules:
        return None
    inside = silenced(here)
    return attach(inside), inside


def put_error(span: Span, error: BaseException, line: CodeLine | None = None) -> None:
    """Put the error that ends a call on its span. A cancellation (no `Exception`) is deliberate, and no error.

    The message of the exception stays out: databases repeat values in messages.

    Args:
        span: The span.
        error: The exception.
        line: The line of the application's code that has made the call, if it is known already.
    """
    if isinstance(error, Exception):
        code = response_code(error)
        if code is not None:
            span.set_attribute("db.response.status_code", code)
        span.set_attribute("error.type", code or exception_type(error))
        _put_line(span, line)
        put_stage(span, error)
        span.set_status(StatusCode.ERROR)


def _put_line(span: Span, line: CodeLine | None = None) -> None:
    line = line or calling_line()
    if line is not None:
        for key, value in line.attributes().items():
            span.set_attribute(key, value)

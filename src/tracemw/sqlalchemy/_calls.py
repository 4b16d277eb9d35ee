"""The spans of an engine's statements, from SQLAlchemy's events.

A statement's span begins at `before_cursor_execute` and ends at `after_cursor_execute` or `handle_error`. Between the
two, the execution context of SQLAlchemy carries the call. A batch of `executemany` is one call. So is each round trip
of an insert that SQLAlchemy has split. Rows that are fetched later do not count: the span tells how long the
database took to answer.

A trivial statement, such as a COMMIT, has no span unless it fails. Neither has one more of many like statements beneath
one parent: the recorder counts it, which takes a fraction of the time.
"""

from __future__ import annotations

import copy
import sys
from time import monotonic_ns
from typing import Any, Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, StatusCode
from sqlalchemy.engine import Connection
from sqlalchemy.engine.interfaces import ExceptionContext, ExecuteStyle

from tracemw._db.conforming import shape_of
from tracemw._db.errors import response_code
from tracemw._db.statements import Statement, Statements
from tracemw._db.systems import Grammar, grammar_of
from tracemw._otel.application import Line
from tracemw._otel.callers import calling_line
from tracemw._otel.clock import offset
from tracemw._otel.context import attach, current_context, detach, is_silenced, silenced, span_in
from tracemw._otel.exceptions import exception_type, put_stage
from tracemw._otel.guard import fault, guarded
from tracemw._otel.providers import TracerSource
from tracemw._otel.recorder import Fold
from tracemw.sqlalchemy._facts import EngineFacts

_CLIENT: Final = SpanKind.CLIENT
_MOST_KEPT: Final = 512
_MOST_COUNTED: Final = 4096
"""Statements that are remembered, and pairs of parent and statement whose repeats are counted."""
_LINES: Final = 100
"""Repeats of one statement under one parent that tell their line. Further ones would tell the same."""
_OTHERS: Final = "opentelemetry.instrumentation"
"""The package of the official instrumentations. While none is loaded, none has to be kept from tracing a call twice."""


class TracedStatement:
    """A statement of one engine, with the attributes that its spans start with."""

    __slots__ = ("_batched", "attributes", "is_trivial", "name", "shape")

    def __init__(self, statement: Statement, facts: EngineFacts) -> None:
        self.is_trivial = statement.is_trivial
        self.name = statement.summary or facts.system
        """The span's name."""
        attributes: dict[str, str | int] = {**facts.attributes, "db.query.text": statement.text}
        if statement.summary:
            attributes["db.query.summary"] = statement.summary
        if statement.operation is not None:
            attributes["db.operation.name"] = statement.operation
        if statement.table is not None:
            attributes["db.collection.name"] = statement.table
        self.attributes = attributes
        """The attributes that all spans of the statement start with. Recorders copy them."""
        self.shape = shape_of(self.name, attributes)
        """What its spans have in common."""
        self._batched: TracedStatement | None = None

    def batched(self) -> TracedStatement:
        """Return the same for a batch: by the conventions, its names begin with `BATCH`."""
        if self._batched is None:
            batched = copy.copy(self)
            batched.name = f"BATCH {self.name}"
            batched.attributes = {
                key: f"BATCH {value}" if key in ("db.query.summary", "db.operation.name") else value
                for key, value in self.attributes.items()
            }
            self._batched = batched
        return self._batched


class TracedStatements(dict[str, TracedStatement]):
    """The texts of an engine's statements -> the statements. When there are too many, all are forgotten."""

    def __init__(self, facts: EngineFacts) -> None:
        super().__init__()
        self._facts = facts
        self._statements = Statements(grammar_of(facts.system) or Grammar())

    def __missing__(self, text: str) -> TracedStatement:
        if len(self) >= _MOST_KEPT:
            self.clear()
        return self.setdefault(text, TracedStatement(self._statements[text], self._facts))


class Call(NamedTuple):
    """A call to the database that is under way."""

    span: Span | None
    """The span; None for a trivial statement, and for one that is folded."""
    statement: TracedStatement
    started: int
    """Nanoseconds of the monotonic clock."""
    has_line: bool
    """Whether the span has the line of code already."""
    silence: tuple[Any, Context] | None
    """What restores the context, in which other instrumentations are silent."""
    fold: Fold | None = None
    """What counts the call if it has no span."""


class CallTracing:
    """Traces the calls of one engine.

    Args:
        facts: What is known of the engine.
        tracers: The tracer in use.
        slow: Seconds from which a statement tells the line of code that has executed it.
        repeats: The execution of one statement under one parent from which on it tells that line, too.
    """

    def __init__(self, facts: EngineFacts, tracers: TracerSource, slow: float, repeats: int) -> None:
        self.statements = TracedStatements(facts)
        self._facts = facts
        self._tracers = tracers
        self._slow = int(slow * 1e9)
        self._repeats = repeats
        self._counts: dict[tuple[int, TracedStatement], int] = {}

    def before(
        self, _connection: Connection, _cursor: Any, text: str, parameters: Any, execution: Any, executemany: bool
    ) -> tuple[str, Any]:
        """Begin a call: the listener for `before_cursor_execute`, which returns what it was given."""
        if execution is None:  # SQLAlchemy asks something for itself
            return text, parameters
        try:
            fields = vars(execution)
            if "tracemw_call" not in fields and "_otel_span" not in fields:  # the official instrumentation's
                call = self._begin(text, parameters, execution, executemany)
                if call is not None:
                    fields["tracemw_call"] = call
        except Exception as error:
            fault("sqlalchemy.CallTracing.before", error)
        return text, parameters

    def after(
        self, _connection: Connection, _cursor: Any, _text: str, _parameters: Any, execution: Any, _executemany: bool
    ) -> None:
        """End a call: the listener for `after_cursor_execute`."""
        if execution is None:
            return
        try:
            call = vars(execution).pop("tracemw_call", None)
            if call is not None:
                self._end(call)
        except Exception as error:
            fault("sqlalchemy.CallTracing.after", error)

    def _begin(self, text: str, parameters: Any, execution: Any, executemany: bool) -> Call | None:
        here = current_context()
        if is_silenced(here):
            return None
        statement = self.statements[text]
        span = fold = None
        has_line = True
        if not statement.is_trivial:
            size = 0
            if executemany and execution.execute_style is ExecuteStyle.EXECUTEMANY:
                size = len(parameters)
                if size > 1:
                    statement = statement.batched()
            tracer: Any = self._tracers.get()
            if self._tracers.is_ours and size <= 1:
                fold = tracer.fold_for(span_in(here), statement.shape)
        if not statement.is_trivial and fold is None:
            span = self._start(statement, here, None)
            if span is None:
                return None
            if size > 1:
                span.set_attribute("db.operation.batch.size", size)
            has_line = self._repeats_under_parent(span, statement)
            if has_line:
                _put_line(span)
        silence = None
        if _OTHERS in sys.modules:
            inside = silenced(here)
            silence = attach(inside), inside
        return Call(span, statement, monotonic_ns(), has_line, silence, fold)

    def _start(self, statement: TracedStatement, here: Context, started: int | None) -> Span | None:
        """Start the span of a call.

        Args:
            statement: The statement.
            here: The current context.
            started: When the call began, by the monotonic clock in nanoseconds, if that was earlier than now.
        """
        tracer = self._tracers.get()
        if tracer is None:
            return None
        if self._tracers.is_ours and started is None:
            return tracer.start_span(statement.name, here, _CLIENT, statement.attributes)
        began = (monotonic_ns() if started is None else started) + offset()
        return tracer.start_span(statement.name, here, _CLIENT, statement.attributes, None, began)

    def _repeats_under_parent(self, span: Any, statement: TracedStatement) -> bool:
        """Count an execution under the span's parent. Tell whether it is one of those that tell their line."""
        parent = getattr(span, "parent", None)
        if parent is None:
            return False
        counts = self._counts
        key = parent.span_id, statement
        count = counts.get(key, 0) + 1
        if len(counts) >= _MOST_COUNTED:
            counts.clear()
        counts[key] = count
        return self._repeats <= count < self._repeats + _LINES

    def _end(self, call: Call) -> None:
        if call.silence is not None:
            detach(*call.silence)
        span = call.span
        if call.fold is not None and not call.fold.join(call.started, monotonic_ns()):
            span = self._start(call.statement, current_context(), call.started)
        if span is not None:
            if not call.has_line and monotonic_ns() - call.started >= self._slow:
                _put_line(span)
            span.end()

    @guarded
    def failed(self, context: ExceptionContext) -> None:
        """End a call that has failed: the listener for `handle_error`.

        What has no open call may be the failure of a trivial statement, of a COMMIT, or of a fetch.
        """
        execution: Any = context.execution_context
        error = context.original_exception
        if context.is_pre_ping:
            return
        call = None
        if execution is not None:
            call = vars(execution).pop("tracemw_call", None)
        elif context.connection is not None and context.statement is None:
            call = vars(context.connection).pop("tracemw_commit", None)
        if call is not None and call.silence is not None:
            detach(*call.silence)
        here = current_context()
        if call is None:
            text = getattr(execution, "statement", None)
            if not text or is_silenced(here) or "_otel_span" in vars(execution):
                return
            call = Call(None, self.statements[text], monotonic_ns(), False, None)
        span = call.span
        if span is None:
            if not isinstance(error, Exception):  # a cancellation
                if call.fold is not None:
                    call.fold.join(call.started, monotonic_ns())
                return
            if is_silenced(here):
                return
            span = self._start(call.statement, here, call.started)
            if span is None:
                return
        try:
            put_error(span, error)
        finally:
            span.end()

    def committing(self, name: str) -> Any:
        """Return a listener that notes the beginning of a COMMIT, or of its like, called `name`."""
        statement = self.statements[name]

        def note(connection: Any, *_: Any) -> None:
            # An attribute, since to ask a connection for its `info` makes it connect again after a failure.
            connection.tracemw_commit = Call(None, statement, monotonic_ns(), False, None)

        return note


def put_error(span: Span, error: BaseException, line: Line | None = None) -> None:
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


def _put_line(span: Span, line: Line | None = None) -> None:
    line = line or calling_line()
    if line is not None:
        for key, value in line.attributes().items():
            span.set_attribute(key, value)

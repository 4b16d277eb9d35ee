"""A recorded stack trace is short enough to be shown, and has the line that raised."""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

import tracemw
from backend import backend_serving
from conftest import Recorded
from tracemw._otel.stacktrace import LONGEST, stacktrace
from tracemw._setup import installation
from tracemw._setup.endings import Endings
from tracemw._setup.installation import Installation


def calls(depth: int, last: str) -> Callable[[], Any]:
    """A function that calls so many others, each of its own, the last of which does this."""
    lines = [f"def step_{number}(): return step_{number + 1}()" for number in range(depth)]
    names: dict[str, Any] = {"fail": fail}
    exec(compile("\n".join([*lines, f"def step_{depth}(): {last}"]), "/srv/app/service.py", "exec"), names)
    found: Callable[[], Any] = names["step_0"]
    return found


def fail() -> None:
    raise KeyError("the cause")


def raised_by(function: Callable[[], Any]) -> BaseException:
    try:
        function()
    except BaseException as error:
        return error
    raise AssertionError("nothing raised")


def of(function: Callable[[], Any], longest: int = LONGEST) -> str:
    text = stacktrace(raised_by(function), longest)
    assert len(text.encode()) <= longest
    return text


def test_a_short_stack_trace_is_pythons_own() -> None:
    def function() -> None:
        try:
            fail()
        except KeyError as error:
            raise ValueError("the effect") from error

    error = raised_by(function)
    assert stacktrace(error) == "".join(traceback.format_exception(error))


def test_a_long_one_keeps_the_first_frame_the_last_ones_and_the_message_and_counts_the_rest() -> None:
    text = of(calls(200, "raise ValueError('what went wrong')"))
    lines = text.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "in raised_by" in lines[1]
    assert lines[-1] == "ValueError: what went wrong"
    assert lines[-2] == '  File "/srv/app/service.py", line 201, in step_200'
    kept = text.count("  File ")
    assert f"  ... {202 - kept} frames left out ..." in lines
    assert kept > 20
    assert len(text.encode()) > LONGEST * 0.8


def test_of_a_long_chain_each_says_what_it_is_and_where_it_was_raised() -> None:
    inner = calls(100, "fail()")

    def function() -> None:
        try:
            inner()
        except KeyError as error:
            raise RuntimeError("the effect") from error

    text = of(calls_through(function))
    assert "    raise KeyError" in text
    assert "KeyError: 'the cause'" in text
    assert "direct cause" in text
    assert "    raise RuntimeError" in text
    assert text.splitlines()[-1] == "RuntimeError: the effect"


def calls_through(function: Callable[[], None]) -> Callable[[], None]:
    def through(depth: int) -> None:
        if depth:
            through(depth - 1)
        else:
            function()

    return lambda: through(100)


def test_of_a_group_the_exceptions_in_it_are_told_and_those_without_room_counted() -> None:
    def function() -> None:
        errors = [raised_by(calls(50, f"raise ValueError('number {number}')")) for number in range(40)]
        raise ExceptionGroup("several", errors)  # type: ignore[type-var]

    text = of(function)
    assert "ExceptionGroup: several (40 sub-exceptions)" in text
    assert "    raise ExceptionGroup" in text
    assert "line 51, in step_50\nValueError: number 0\n" in text
    told = text.count("ValueError: number ")
    assert told >= 4
    assert f"... {40 - told} exceptions left out ..." in text


@pytest.mark.parametrize("longest", [200, 1000, LONGEST, 20_000])
def test_a_recursion_error_of_two_functions_is_short(longest: int) -> None:
    def ping() -> None:
        pong()

    def pong() -> None:
        ping()

    began = time.process_time()
    text = of(ping, longest)
    assert text.splitlines()[-1].startswith("RecursionError: maximum recursion depth exceeded")
    assert "frames left out" in text
    assert time.process_time() - began < 1


def test_time_is_linear_in_what_was_raised() -> None:
    def chained() -> None:
        error = None
        for number in range(5000):
            latest = ValueError(f"number {number} " + "x" * 1000)
            latest.__cause__ = error
            error = latest
        assert error is not None
        raise error

    def nested() -> None:
        error: Exception = ValueError("leaf")
        for _ in range(300):
            error = ExceptionGroup("group", [error, ValueError("beside")])
        raise error

    def wide() -> None:
        raise ExceptionGroup("wide", [ValueError("leaf")] * 100_000)

    for function in (chained, nested, wide, calls(5, "raise ValueError('x' * 1_000_000)")):
        error = raised_by(function)
        began = time.process_time()
        text = stacktrace(error)
        assert time.process_time() - began < 1
        assert len(text) <= LONGEST
        # The last for a group of one exception many times, which is shown once.
        assert "left out" in text or "[cut, " in text or "1 of 100000 in the group" in text


def test_an_exception_that_is_its_own_cause_is_told_once() -> None:
    error = ValueError("circle")
    other = KeyError("other")
    error.__cause__, other.__cause__ = other, error
    assert stacktrace(error, 1000).count("ValueError: circle") == 1


def test_bytes_are_counted_and_not_characters() -> None:
    text = of(calls(3, "raise ValueError('é\\U0001f600' * 2000)"))
    assert "[cut, " in text
    text = of(calls(3, "raise ValueError('\\ud800' * 2000)"), 500)
    assert text.isprintable() or "\n" in text


@pytest.mark.parametrize("longest", [1, 10, 50, 100])
def test_no_limit_is_too_small(longest: int) -> None:
    assert 0 < len(of(calls(100, "raise ValueError('x' * 500)"), longest)) <= longest


def test_every_recorded_exception_of_our_recorder_has_a_short_one(recorded: Recorded) -> None:
    if type(trace.get_tracer_provider()).__module__.startswith("opentelemetry"):
        pytest.skip("the SDK's own spans record what the SDK makes of it")
    error = raised_by(calls(100, "raise ValueError('v')"))
    tracer = trace.get_tracer("test")
    with pytest.raises(ValueError, match="v"), tracemw.span("ours"):
        raise error
    with pytest.raises(ValueError, match="v"), tracer.start_as_current_span("theirs"):
        raise error
    with pytest.raises(ValueError, match="v"), tracer.start_span("block"):
        raise error
    tracer_span = tracer.start_span("direct")
    tracer_span.record_exception(error)
    tracer_span.end()
    for span in recorded.all:
        (event,) = span.events
        assert event.attributes is not None
        text = str(event.attributes["exception.stacktrace"])
        assert len(text) <= LONGEST
        assert text.endswith("in step_100\nValueError: v\n")


@pytest.mark.parametrize(
    ("argument", "variable", "limit"),
    [(None, None, 2000), (None, "900", 900), (700, "900", 700), (100_000, None, 100_000)],
)
def test_the_limit_is_an_option_of_init(
    argument: int | None, variable: str | None, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(Endings, "handle_signals", lambda self: None)
    monkeypatch.setattr(installation, "IN_THIS_PROCESS", Installation())
    if variable is not None:
        monkeypatch.setenv("TRACEMW_STACKTRACE_LIMIT", variable)
    error = raised_by(calls(sys.getrecursionlimit() // 2, "raise ValueError('v')"))
    with backend_serving() as backend, tracemw.init("shop", endpoint=backend.url, stacktrace_limit=argument) as tracing:
        with pytest.raises(ValueError, match="v"), tracemw.span("work"):
            raise error
        assert tracing.flush(10)
        (span,) = backend.spans
    (text,) = [each.value.string_value for each in span.events[0].attributes if each.key == "exception.stacktrace"]
    assert text.endswith("ValueError: v\n")
    assert min(limit, 10_000) * 0.8 < len(text) <= limit


@pytest.mark.parametrize(
    ("value", "error"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("2000", TypeError)]
)
def test_what_is_no_limit_is_an_error_that_says_so(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="stacktrace_limit"):
        tracemw.init("shop", stacktrace_limit=value)

"""Records, also those that their logger leaves out, kept as events of the span that they were logged in.

The application's loggers get a class of ours, beneath their own. Outside of a request that is being recorded, that
class answers as before. Loggers of libraries are left alone, and cost what they did.
"""

from __future__ import annotations

import inspect
import logging
import math
import sys
from collections.abc import Mapping
from types import FrameType, NoneType
from typing import TYPE_CHECKING, Any, Final

from tracemw._otel.application import is_application
from tracemw._otel.attributes import AttributeValue, LazyAttributes
from tracemw._otel.cleaning import cut, shown
from tracemw._otel.context import current_context, exchange_in, span_in
from tracemw._otel.exceptions import exception_type, message_of
from tracemw._otel.guard import fault
from tracemw._otel.recorder import is_ours
from tracemw.redaction.in_use import in_use

if TYPE_CHECKING:
    _Base = logging.Logger
else:
    _Base = object

_MOST: Final = 100
"""Records of one request that are kept."""
_MOST_IN_ALL: Final = 200
"""The same with those that handlers get: what tells of a failure comes last, after much detail."""
_LONGEST: Final = 1000
"""Bytes of a message that are kept."""
_SURELY_SHORT: Final = _LONGEST // 4
"""Characters that have no more bytes than that, whatever they are."""
_MESSAGE: Final = "log.message"
_CONSTANT: Final = frozenset({float, bool, NoneType})
"""Types beside text and int of which no value changes, so that a message can be made of it later."""

_BETWEEN: Final = frozenset({__file__, logging.debug.__code__.co_filename})
"""The files of frames that stand between whoever logs and this module."""

_kinds: dict[type[logging.Logger], type[logging.Logger]] = {}
"""Classes of loggers that keep, by the class that was there before."""


class _Wanted:
    """What is kept."""

    level: float = math.inf
    loggers: frozenset[str] = frozenset()


_wanted: Final = _Wanted()


def begin(level: int, loggers: tuple[str, ...]) -> None:
    """Keep records from `level` on: those that the application's code logs, and all of the loggers named."""
    _wanted.level, _wanted.loggers = level, frozenset(loggers)
    for logger in _all_loggers():
        _settle(logger)
    if not issubclass(logging.getLoggerClass(), _Keeping):
        logging.setLoggerClass(_keeping(logging.getLoggerClass()))


def end() -> None:
    """Keep nothing, and give the loggers their own classes back."""
    _wanted.level = math.inf
    for logger in _all_loggers():
        logger.__class__ = _former(type(logger))
    logging.setLoggerClass(_former(logging.getLoggerClass()))


def _settle(logger: logging.Logger) -> None:
    kind = _former(type(logger))
    logger.__class__ = kind if _is_of_a_library(logger.name) else _keeping(kind)


def _former(kind: type[logging.Logger]) -> type[logging.Logger]:
    return next((former for former, made in _kinds.items() if made is kind), kind)


def _is_of_a_library(name: str) -> bool:
    """Tell whether a logger is called as a module that is installed, and not by the user's wish."""
    if _is_named(name):
        return False
    module = sys.modules.get(name.partition(".")[0])
    path = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), None)
    return path is not None and not is_application(path)


def _is_named(name: str) -> bool:
    """Tell whether the user has named a logger, or one above it."""
    while name:
        if name in _wanted.loggers:
            return True
        name = name.rpartition(".")[0]
    return False


def _all_loggers() -> list[logging.Logger]:
    named = logging.root.manager.loggerDict.copy().values()
    return [logging.root, *(each for each in named if isinstance(each, logging.Logger))]


def _keeping(kind: type[logging.Logger]) -> type[logging.Logger]:
    made = _kinds.get(kind)
    if made is None:
        parameters = inspect.signature(kind._log).parameters.values()  # noqa: SLF001  what classes of users override
        fields = {
            "__module__": kind.__module__,
            "_is_enabled": kind.isEnabledFor,
            "_takes_stacklevel": any(each.name == "stacklevel" or each.kind is each.VAR_KEYWORD for each in parameters),
        }
        made = _kinds[kind] = type(kind.__name__, (_Keeping, kind), fields)
    return made


class _Keeping(_Base):
    """What a logger that keeps does otherwise than its own class."""

    if TYPE_CHECKING:
        _takes_stacklevel: bool

        def _is_enabled(self, level: int) -> bool:
            """Tell whether the logger lets a record of this level pass, as its own class says."""

    def __init__(self, name: str, level: int = logging.NOTSET) -> None:
        super().__init__(name, level)
        _settle(self)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  the name is logging's
        """Tell whether a record of this level goes anywhere."""
        if self._is_enabled(level):
            return True
        if level < _wanted.level:
            return False
        exchange = exchange_in(current_context())
        if exchange is None or not exchange.is_open or exchange.is_over or exchange.kept_logs >= _MOST:
            return False
        if self.disabled or self.manager.disable >= level:
            return False
        return _is_logged_by_application(sys._getframe(1)) or _is_named(self.name)  # noqa: SLF001

    def _log(self, level: int, msg: object, args: Any, exc_info: Any = None, **more: Any) -> None:  # type: ignore[override]
        context = current_context()
        exchange = exchange_in(context) if level >= _wanted.level else None
        if exchange is not None and (exchange.is_over or not exchange.is_open):  # over: work after an error page
            exchange = None
        # Else `isEnabledFor` has just said yes, because of the request.
        is_emitted = exchange is None or self._is_enabled(level)
        if is_emitted:
            if exc_info is not None:
                more["exc_info"] = exc_info
            if self._takes_stacklevel:  # this frame stands between the caller and `logging`, which looks for the caller
                more["stacklevel"] = more.get("stacklevel", 1) + 1
            super()._log(level, msg, args, **more)  # by name, as `logging` does: classes of users count on that
        if exchange is None or exchange.kept_logs >= (_MOST_IN_ALL if is_emitted else _MOST):
            return
        try:
            if is_emitted and not _is_logged_by_application(sys._getframe(1)) and not _is_named(self.name):  # noqa: SLF001
                return
            span = span_in(context)
            if span is not None and span.is_recording():
                exchange.kept_logs += 1
                record: Any = _Record(level, self.name, msg, args, exc_info)
                span.add_event("log", record if is_ours(span) else record.redacted())
        except Exception as error:
            fault("logging", error)


def _is_logged_by_application(frame: FrameType | None) -> bool:
    """Tell whether the innermost frame that does not stand between is of the application's own code."""
    while frame is not None and frame.f_code.co_filename in _BETWEEN:
        frame = frame.f_back
    return frame is not None and is_application(frame.f_code.co_filename)


class _Record(LazyAttributes):
    """The attributes of a record's event.

    The message is made at once if it is long, or if its arguments may change until then.
    """

    def __init__(self, level: int, logger: str, msg: object, args: Any, exc_info: Any) -> None:
        self._level = level
        self._logger = logger
        self._msg = msg
        self._args = args
        self._error = _told_of(exc_info) if exc_info else None
        if not _stays(msg, args):
            self._msg, self._args = _message(msg, args), ()

    def make(self) -> dict[str, AttributeValue]:
        told: dict[str, AttributeValue] = {
            "log.level": logging.getLevelName(self._level),
            "log.logger": self._logger,
            _MESSAGE: _message(self._msg, self._args),
        }
        return told if self._error is None else told | self._error

    def redacted(self) -> dict[str, AttributeValue]:
        """Return the attributes for a span that is not tracemw's: nobody else may take secrets out of it."""
        told = self.make()
        return told | {_MESSAGE: in_use().text(str(told[_MESSAGE]), "text", _MESSAGE)}


def _stays(msg: object, args: Any) -> bool:
    """Tell whether a message can be made of this later: it is short, and nothing of it changes."""
    if type(msg) is not str or type(args) is not tuple:
        return False
    room = _LONGEST - len(msg)
    for value in args:
        kind = type(value)
        if kind is str:
            room -= len(value)
        elif kind is int:
            room -= value.bit_length() >> 3
        elif kind not in _CONSTANT:
            return False
    return room >= 0


def _told_of(exc_info: Any) -> dict[str, AttributeValue] | None:
    """Return the attributes that tell of the exception of a record, given as `logging` takes it."""
    error = exc_info
    if not isinstance(error, BaseException):
        error = error[1] if isinstance(error, tuple) else sys.exc_info()[1]
    if not isinstance(error, BaseException):
        return None
    return {"exception.type": exception_type(error), "exception.message": cut(message_of(error), _LONGEST)}


def _message(msg: object, args: Any) -> str:
    """Return a message with its arguments, as `logging` makes it, and cut."""
    if not args:
        text = shown(msg)
    else:
        if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
            args = args[0]
        try:
            text = f"{str(msg) % args}"
        except Exception:  # arguments that do not fit, or that cannot be shown
            text = f"{shown(msg)} {shown(args)}"
    if len(text) <= _SURELY_SHORT or cut(text, _LONGEST) is text:
        return text
    return cut(in_use().text(text, "text", _MESSAGE), _LONGEST)  # a secret is found before a cut goes through it

"""Records that their logger leaves out, kept as events of the span that they were logged in.

The application's loggers get a class of ours, beneath their own. Outside of a request that is being recorded, that
class answers as before. Loggers of libraries are left alone, and cost what they did.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from types import FrameType
from typing import TYPE_CHECKING, Any, Final

from tracemw._otel.application import is_application
from tracemw._otel.cleaning import cut, shown
from tracemw._otel.context import current_context, exchange_in, span_in
from tracemw._otel.exceptions import exception_type, message_of
from tracemw._otel.guard import fault
from tracemw.redaction.in_use import in_use

if TYPE_CHECKING:
    _Base = logging.Logger
else:
    _Base = object

_MOST: Final = 100
"""Records of one request that are kept."""
_LONGEST: Final = 1000
"""Bytes of a message that are kept."""

_BETWEEN: Final = frozenset({__file__, logging.debug.__code__.co_filename})
"""The files of frames that stand between whoever logs and this module."""

_kinds: dict[type[logging.Logger], type[logging.Logger]] = {}
"""Classes of loggers that keep, by the class that was there before."""


class _Wanted:
    """What is kept."""

    level: int | None = None
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
    _wanted.level = None
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
        made = _kinds[kind] = type(kind.__name__, (_Keeping, kind), {"__module__": kind.__module__})
    return made


class _Keeping(_Base):
    """What a logger that keeps does otherwise than its own class."""

    def __init__(self, name: str, level: int = logging.NOTSET) -> None:
        super().__init__(name, level)
        _settle(self)

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  the name is logging's
        """Tell whether a record of this level goes anywhere."""
        return super().isEnabledFor(level) or (
            _wanted.level is not None and level >= _wanted.level and self._keeps(level)
        )

    def _keeps(self, level: int) -> bool:
        exchange = exchange_in(current_context())
        if exchange is None or not exchange.is_open or exchange.kept_logs >= _MOST:
            return False
        return not (self.disabled or self.manager.disable >= level) and (_is_named(self.name) or _application_logs())

    def _log(
        self,
        level: int,
        msg: object,
        args: Any,
        exc_info: Any = None,
        extra: Mapping[str, object] | None = None,
        stack_info: bool = False,
        stacklevel: int = 1,
    ) -> None:
        if super().isEnabledFor(level) or not self._keeps(level):
            # This frame stands between the caller and `logging`, which looks for the caller.
            super()._log(level, msg, args, exc_info, extra, stack_info, stacklevel + 1)
            return
        try:
            self._keep(level, msg, args, exc_info)
        except Exception as error:
            fault("logging", error)

    def _keep(self, level: int, msg: object, args: Any, exc_info: Any) -> None:
        context = current_context()
        span = span_in(context)
        if span is None or not span.is_recording():
            return
        exchange_in(context).kept_logs += 1
        told = {
            "log.level": logging.getLevelName(level),
            "log.logger": self.name,
            "log.message": cut(in_use().text(_message(msg, args), "text", "log.message"), _LONGEST),
        }
        error = exc_info
        if exc_info and not isinstance(exc_info, BaseException):
            error = exc_info[1] if isinstance(exc_info, tuple) else sys.exc_info()[1]
        if isinstance(error, BaseException):
            told["exception.type"] = exception_type(error)
            told["exception.message"] = cut(message_of(error), _LONGEST)
        span.add_event("log", told)


def _application_logs() -> bool:
    """Tell whether it is the application's code that logs."""
    frame: FrameType | None = sys._getframe(1)  # noqa: SLF001
    while frame is not None and frame.f_code.co_filename in _BETWEEN:
        frame = frame.f_back
    return frame is not None and is_application(frame.f_code.co_filename)


def _message(msg: object, args: Any) -> str:
    """Return a message with its arguments, as `logging` makes it."""
    if not args:
        return shown(msg)
    if len(args) == 1 and isinstance(args[0], Mapping) and args[0]:
        args = args[0]
    try:
        return f"{str(msg) % args}"
    except Exception:  # arguments that do not fit, or that cannot be shown
        return f"{shown(msg)} {shown(args)}"

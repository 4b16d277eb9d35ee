"""The ids of the current trace on log records.

A record is made with the ids as numbers. The texts are made when the record is formatted: most are for nobody. They are
put beside what the application gives as `extra`, and never in its place: `logging` raises when both have one name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from tracemw._otel.context import current_context, is_skipped, span_in
from tracemw._otel.guard import fault, guarded

Ids = tuple[int, int, int]
"""Trace id, span id and flags."""

NAMES: Final = ("trace_id", "span_id", "trace_flags")
_IDS: Final = "_tracemw_ids"
_NONE: Final = dict.fromkeys(NAMES, "")

_former: list[Callable[..., logging.LogRecord]] = []
"""The factory of records that was in use before."""
_kinds: dict[type, type] = {}
"""Classes of records that have the ids, by the class that was there before."""


def begin() -> None:
    """Have all records made with the ids from now on."""
    if not _former:
        _former.append(logging.getLogRecordFactory())
        logging.setLogRecordFactory(_make)


def end() -> None:
    """Have records made as before, unless somebody else has set a factory meanwhile."""
    if _former and logging.getLogRecordFactory() is _make:
        logging.setLogRecordFactory(_former.pop())


def ids_now() -> Ids | None:
    """Return the ids of the current span; None when nothing is being traced."""
    context = current_context()
    span = span_in(context)
    if span is None or is_skipped(context):
        return None
    found = span.get_span_context()
    return (found.trace_id, found.span_id, found.trace_flags) if found.is_valid else None


def told(ids: Ids) -> dict[str, str]:
    """Return the ids as texts, in hex digits as W3C Trace Context has them."""
    return {"trace_id": f"{ids[0]:032x}", "span_id": f"{ids[1]:016x}", "trace_flags": f"{ids[2]:02x}"}


def _make(*arguments: Any, **more: Any) -> logging.LogRecord:
    record = _former[0](*arguments, **more) if _former else logging.LogRecord(*arguments, **more)
    try:
        kind = type(record)
        traced = _kinds.get(kind)
        if traced is None:
            traced = _kinds[kind] = kind if issubclass(kind, _Traced) else type(kind.__name__, (_Traced, kind), {})
        vars(record)[_IDS] = ids_now()
        record.__class__ = traced
    except Exception as error:
        fault("logging", error)
    return record


class _Id:
    """An id of a record that has not been formatted yet. Once it has, the record's own dictionary has the text."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, record: logging.LogRecord | None, owner: type) -> Any:
        if record is None:
            return self
        _settle(record)
        return vars(record).get(self._name, "")


class _Traced:
    """What a record with the ids has more than another."""

    trace_id = _Id("trace_id")
    span_id = _Id("span_id")
    trace_flags = _Id("trace_flags")

    def getMessage(self) -> str:  # noqa: N802  the name is logging's
        # Formatters call this before they read the record's dictionary.
        _settle(self)
        return super().getMessage()  # type: ignore[misc,no-any-return]

    def __reduce__(self) -> Any:
        # The reader may know nothing of tracemw.
        _settle(self)
        return logging.makeLogRecord, (dict(vars(self)),)


@guarded
def _settle(record: Any) -> None:
    fields = vars(record)
    if _IDS in fields:
        ids = fields.pop(_IDS)
        for name, value in (_NONE if ids is None else told(ids)).items():
            fields.setdefault(name, value)

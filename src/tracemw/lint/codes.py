"""Every code of the linter, with its sentence and its remedy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple


class Code(NamedTuple):
    """What one code says. `{}` stands for what was found."""

    sentence: str
    remedy: str


CODES: Final = {
    "TMW001": Code("the file cannot be read: {}", "put it right, or exclude it"),
    "TMW101": Code(
        "the attribute {} is named like a secret",
        "leave it out: whoever reads traces would read it",
    ),
    "TMW102": Code(
        "the attribute {} is named like personal data",
        "record tracemw.user(...), which stores a keyed hash, or an id that means nothing outside",
    ),
    "TMW103": Code("a value of {} looks like a secret", "take it out of the source, and revoke it"),
    "TMW104": Code(
        "the attribute {} leaves as [REDACTED], since its key is not allowed",
        "add it to allow in [tool.tracemw] of pyproject.toml, if it tells nothing about a person",
    ),
    "TMW201": Code(
        "the span's name is built from data: {}",
        "give it a fixed name, and put what varies into an attribute",
    ),
    "TMW202": Code("the span {} is started and never ended", "use `with tracemw.span(...)`, or end it in a finally"),
    "TMW203": Code(
        "the span {} is current across a yield, and becomes current in the caller",
        "let the span end before the yield, or open it where the generator is used",
    ),
    "TMW301": Code("the application {} never gets its TraceMiddleware", "{}"),
    "TMW302": Code("the client {} hands no trace on", "{}"),
    "TMW303": Code(
        "the work that {} gets starts a trace of its own",
        "hand it contextvars.copy_context().run and the function, or use asyncio.to_thread",
    ),
    "TMW401": Code(
        "an exception is swallowed inside the span {}",
        "let it end the span, or call record_exception on the span, or tracemw.keep(...)",
    ),
    "TMW402": Code(
        "the baggage {} is personal or secret, and goes to every service that is called",
        "leave it out; services that need it ask for it",
    ),
    "TMW403": Code(
        "a trace id is a label of the metric {}",
        "leave it out: each request makes a time series; exemplars link metrics to traces",
    ),
}


@dataclass(frozen=True, kw_only=True, order=True)
class Violation:
    """One place in the source code."""

    path: Path
    line: int
    """1 for the first line."""
    column: int
    """1 for the first character."""
    code: str
    sentence: str
    remedy: str


class Spot(NamedTuple):
    """Where a rule has found something, before it is known which file it is in."""

    line: int
    column: int
    """0 for the first character, as in Python's syntax trees."""
    code: str
    what: str
    remedy: str = ""
    """In place of the code's own remedy, where it depends on what was found."""


def problem(path: Path, spot: Spot) -> Violation:
    """Return what to tell of a spot."""
    code = CODES[spot.code]
    return Violation(
        path=path,
        line=spot.line,
        column=spot.column + 1,
        code=spot.code,
        sentence=code.sentence.format(spot.what),
        remedy=spot.remedy or code.remedy,
    )

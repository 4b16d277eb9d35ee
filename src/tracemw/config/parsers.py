"""The parsers of values, of variables and arguments alike, and the one form of their errors.

Each parser takes the name and the text of a value. Its error says the name, the value and what is accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import unquote


def wrong(name: str, value: object, accepted: str) -> ValueError:
    """Return the error for a value that is not accepted. `accepted` says what is, as the object of "use"."""
    return ValueError(f"{name}={value!r} is not accepted; use {accepted}")


def wrong_secret(name: str, accepted: str) -> ValueError:
    """Do the same as `wrong` without showing the value, which may be a secret. Errors end up in logs."""
    return ValueError(f"the value of {name} is not accepted; use {accepted}")


def to_ratio(name: str, value: object) -> float:
    """Return a share of traces, given as a number or its text.

    Raises:
        ValueError: for anything but a number from 0 to 1. The error says `name`.
    """
    accepted = "a number from 0 to 1"
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise wrong(name, value, accepted)
    try:
        ratio = float(value)
    except (ValueError, OverflowError):
        raise wrong(name, value, accepted) from None
    if not 0.0 <= ratio <= 1.0:
        raise wrong(name, value, accepted)
    return ratio


def one_of(*accepted: str) -> Callable[[str, str], str]:
    """Return a parser that takes one of a few words, in either case."""

    def parse(name: str, value: str) -> str:
        if value.lower() not in accepted:
            raise wrong(name, value, f"one of {', '.join(accepted)}")
        return value.lower()

    return parse


def boolean(name: str, value: str) -> bool:
    """Return `true` or `false`, in either case."""
    return one_of("true", "false")(name, value) == "true"


def positive_int(name: str, value: str) -> int:
    """Return a whole number above 0."""
    if not value.isdecimal() or int(value) == 0:
        raise wrong(name, value, "a whole number above 0")
    return int(value)


def whole_number(name: str, value: str) -> int:
    """Return a whole number from 0 up."""
    if not value.isdecimal():
        raise wrong(name, value, "a whole number from 0 up")
    return int(value)


def size_in_bytes(name: str, value: object) -> int:
    """Return a number of bytes, given as a number or as its text. Below 4096 hardly a span has room."""
    given = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if isinstance(given, bool) or not isinstance(given, int) or given < 4096:
        raise wrong(name, value, "a whole number of bytes from 4096 up")
    return given


def milliseconds(name: str, value: str) -> float:
    """Return seconds. Durations in the environment are milliseconds (OpenTelemetry specification, "Numeric")."""
    if not value.isdecimal():
        raise wrong(name, value, "a whole number of milliseconds")
    return int(value) / 1000


def positive_milliseconds(name: str, value: str) -> float:
    """Do the same as `milliseconds`, and refuse 0."""
    if not (seconds := milliseconds(name, value)):
        raise wrong(name, value, "a whole number of milliseconds above 0")
    return seconds


def names(name: str, value: str) -> tuple[str, ...]:
    """Return the names of `one,another`."""
    del name
    return tuple(item.strip() for item in value.split(",") if item.strip())


def pairs(name: str, value: str, *, is_secret: bool = False) -> dict[str, str]:
    """Return the pairs of `key=value,key=value`, percent-decoded."""
    found = {}
    for item in value.split(","):
        if not item.strip():
            continue
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            accepted = "key=value pairs, separated by commas"
            raise wrong_secret(name, accepted) if is_secret else wrong(name, value, accepted)
        found[key.strip()] = unquote(text.strip())
    return found

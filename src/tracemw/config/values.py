"""Environment variables, and what is accepted as a value: of variables and arguments alike.

A parser takes the name and the text of a value; its error says the name, the value and what is accepted.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TypeVar
from urllib.parse import unquote

T = TypeVar("T")


def get(variable: str) -> str | None:
    """Return the value of a variable; None when it is unset or set to nothing."""
    return os.environ.get(variable, "").strip() or None


def read(variable: str, parse: Callable[[str, str], T]) -> T | None:
    """Return what a variable says; None when it is unset."""
    value = get(variable)
    return None if value is None else parse(variable, value)


def wrong(name: str, value: object, accepted: str) -> ValueError:
    """Return the error for a value that is not accepted."""
    return ValueError(f"{name}={value!r} is not accepted: {accepted}")


def wrong_secret(name: str, accepted: str) -> ValueError:
    """Return the error for a value that is not to be shown: errors end up in logs."""
    return ValueError(f"{name} is not accepted: {accepted}")


def of_signal(signal: str, name: str, argument: str | None, parse: Callable[[str, str], T]) -> T | None:
    """Return a setting of a signal: the argument, else the signal's variable, else the one of all signals."""
    if argument is not None:
        return parse(name.lower(), argument)
    own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{name}"
    return read(own if get(own) is not None else f"OTEL_EXPORTER_OTLP_{name}", parse)


def to_ratio(name: str, value: object) -> float:
    """Return a share of traces, given as a number or its text.

    Raises:
        ValueError: for anything but a number from 0 to 1; it says `name`.
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


def size_in_bytes(name: str, value: object) -> int:
    """Return a number of bytes, given as one or as its text: from 4096 up, below which hardly a span has room."""
    given = int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value
    if isinstance(given, bool) or not isinstance(given, int) or given < 4096:
        raise wrong(name, value, "a whole number of bytes from 4096 up")
    return given


def milliseconds(name: str, value: str) -> float:
    """Return seconds: a duration in the environment is a number of milliseconds, as the specification says."""
    if not value.isdecimal():
        raise wrong(name, value, "a whole number of milliseconds")
    return int(value) / 1000


def positive_milliseconds(name: str, value: str) -> float:
    """Return seconds, as `milliseconds` does, of which there must be some."""
    if not (seconds := milliseconds(name, value)):
        raise wrong(name, value, "a whole number of milliseconds, above 0")
    return seconds


def pairs(name: str, value: str, *, is_secret: bool = False) -> dict[str, str]:
    """Return `key=value,key=value`, percent-decoded."""
    found = {}
    for item in value.split(","):
        if not item.strip():
            continue
        key, equals, text = item.partition("=")
        if not equals or not key.strip():
            accepted = "key=value pairs separated by commas"
            raise wrong_secret(name, accepted) if is_secret else wrong(name, value, accepted)
        found[key.strip()] = unquote(text.strip())
    return found


def address(host: str) -> IPv4Address | IPv6Address | None:
    """Return the address that a host is given as; None for a name."""
    try:
        return ip_address(host)
    except ValueError:
        return None

"""Secrets that only a space parts from their names, and those that commands take: `passwd x1`, `mysql -px`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tracemw.redaction.places import Stretch

BEFORE_SPACES: Final = (
    *("passw", "passphrase", "secret", "api key", "api_key", "_token", "storepass", "keypass", "ssn ", "pin "),
    *(" -p", " -a ", " -k ", " login "),
)
"""What stands before a value that only a space parts from its name, in lower case."""

_SPACED: Final = re.compile(
    r"(?i:(?:(?<![A-Za-z0-9.])|(?<=\\[nrt]))"
    r"(?:(?P<name>(?:passw(?:or)?[dt]|passphrase|secret(?:[_-]access)?(?:[_-]key)?"
    r"|(?:access|auth|refresh|session|bearer|api|id)[_-]token|api[ _-]?key|storepass|keypass))"
    r"\]?(?:[ \t]|\\t){1,4}(?:to )?(?P<value>\S{4,200})"
    r"|ssn (?P<ssn>[0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4})(?![\w-])|pin (?P<pin>[0-9]{4,8})(?![\w.:-])))"
)
_OPTION: Final = re.compile(
    r"(?:\b|(?<=\\[nrt]))(?:(?:sshpass|mysql\w{0,8}|mariadb[\w-]{0,8})\b[^\n|;]{0,100}? -p(?!ort\b) ?"
    r"|(?:mongo\w{0,8}|login)\b[^\n|;]{0,100}? -p |redis-cli\b[^\n|;]{0,100}? -a |(?:un)?zip\b[^\n|;]{0,60}? -P "
    r"|7z\b[^\n|;]{0,60}? -p|openssl\b[^\n|;]{0,60}? -k |vault login (?=[\w.]*[0-9])|https? -a \w{1,64}:)"
    r"(?P<value>[^\s\[-]\S{0,200})"
)
_ALONE: Final = re.compile(r"(?<![^\s])-p (?P<value>\S{6,200})")
NO_VALUE: Final = re.compile(
    r"[/$<({%@:=\[-]|[\w.-]+[=:(/]|\d+(?:\.\d+)+|(?i:sha|md|pbkdf|argon|bcrypt|scrypt|oauth|utf|base|aes|rsa|v)-?\d"
)
"""What follows a name and a space, and begins no value: paths, pairs, versions, and names of algorithms."""


def spaced(text: str) -> Iterator[Stretch]:
    """Find values that only a space parts from a name, if they look drawn or are numbers: `passwd hunter2`."""
    for found in _SPACED.finditer(text):
        kind = str(found.lastgroup)
        start, end = found.span(kind)
        if kind == "value":
            end = start + len(found["value"].rstrip(".,;:!?)\"'`]}>"))
            if not _is_drawn(text[start:end]):
                continue
        yield Stretch(start, end, "pair")
    for found in _OPTION.finditer(text):
        yield Stretch(found.start("value"), found.end("value"), "pair")
    for found in _ALONE.finditer(text):
        if not found["value"].isdigit() and _is_drawn(found["value"]):
            yield Stretch(found.start("value"), found.end("value"), "pair")


def _is_drawn(value: str) -> bool:
    """Tell whether what follows a name and a space is a number, or has letters and digits as passwords do."""
    if NO_VALUE.match(value) is not None:
        return False
    has_digits = any(map(str.isdigit, value))
    return has_digits and (len(value) >= 6 or (len(value) >= 4 and value.isdigit()))

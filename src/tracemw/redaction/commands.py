"""Passwords in commands, with the options of the programs that take them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tracemw.redaction.places import Place

PROGRAMS: Final = ("curl", "mysql", "mariadb", "sshpass")
"""Programs whose options are known, in lower case."""

_BETWEEN: Final = r"[\"']?[,= ]{0,2}[\"']?"
_USER: Final = re.compile(
    r"\bcurl\b[^\n|;]{0,200}?[ \"'](?:-u|--user|-U|--proxy-user)"
    + _BETWEEN
    + r"(?P<user>[^\s:\"'=,-][^\s:\"']{0,64}):(?P<value>[^\s\"'$][^\s\"']{0,200})"
)
_GLUED: Final = re.compile(
    r"\b(?:mysql\w{0,8}|mariadb[\w-]{0,16}|sshpass)\b[^\n|;]{0,100}?[ \"']"
    r"-p(?!ort\b)(?P<value>[^\s\"'$=-][^\s\"']{1,200})"
)


def passwords_of_commands(text: str) -> Iterator[Place]:
    """Find the passwords that commands name: `curl -u joe:x`, `mysql -px`."""
    for pattern in (_USER, _GLUED):
        for found in pattern.finditer(text):
            yield Place(found.start("value"), found.end("value"), "pair")

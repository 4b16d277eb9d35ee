"""Texts in which other letters, characters that nobody sees, or escapes hide secrets and their names.

Escapes are those of URLs, JSON, Python, HTML and terminals, also when they are escaped once more: `%2540`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracemw.redaction.places import Stretch

_UNSEEN: Final = "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u2060\u2061\u2062\u2063\u2064\ufeff"
_SPACES: Final = "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000"
_DASHES: Final = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_PLAIN: Final = (
    {chr(0xFF01 + offset): chr(0x21 + offset) for offset in range(94)}
    | dict.fromkeys(_UNSEEN, "")
    | dict.fromkeys(_SPACES, " ")
    | dict.fromkeys(_DASHES, "-")
    | {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u3002": "."}
)
"""What stands for the forms of full width (U+FF01 to U+FF5E), for other signs, and for what nobody sees: nothing."""
_ENTITIES: Final = {"quot": '"', "apos": "'", "lt": "<", "gt": ">", "amp": "&", "nbsp": " "}

_DISGUISE: Final = re.compile(
    r"(?P<percent>(?:%(?:25)*[0-7][0-9A-Fa-f]"
    r"|%(?:25)*[C-Fc-f][0-9A-Fa-f](?:%(?:25)*[89ABab][0-9A-Fa-f]){1,3}))"
    r"|\\{1,8}(?:u|x(?=[0-9A-Fa-f]{2}))(?P<hex>(?<=u)[0-9A-Fa-f]{4}|(?<=x)[0-9A-Fa-f]{2})|\\{1,8}(?P<slash>/)"
    r"|\\{4,}(?P<quote>[\"'])"
    r"|&(?:amp;)*(?:#(?P<decimal>[0-9]{2,3})|#[xX](?P<entity>[0-9A-Fa-f]{2})|(?P<name>quot|apos|lt|gt|amp|nbsp));"
    r"|(?P<colour>\x1b\[[0-9;]{0,16}m)"
    rf"|(?P<digit>(?![0-9])\d)|(?P<other>[{re.escape(''.join(_PLAIN))}])"
)
_MOST_LAYERS: Final = 3
SIGNS: Final = ("%", "\\", "&", "\x1b")
"""A text of ASCII without any of these has no disguise."""


def is_disguised(text: str) -> bool:
    """Tell whether a text has such characters or escapes."""
    for sign in SIGNS:
        if sign in text:
            break
    else:
        if text.isascii():
            return False
    return _DISGUISE.search(text) is not None


def undisguised(text: str) -> Iterator[tuple[str, list[int]]]:
    """Yield a text with plain letters, and where each of them stands in the text itself. Its length comes last.

    What this shows may be disguised in its turn. Where `+` may be a space, as in URLs, that reading comes, too.
    """
    shown, stands = text, list(range(len(text) + 1))
    for _ in range(_MOST_LAYERS):
        if not is_disguised(shown):
            break
        shown, within = _uncovered(shown)
        stands = [stands[at] for at in within]
        yield shown, stands
    if "+" in shown and ("?" in text or "%" in text):
        yield shown.replace("+", " "), stands


def _uncovered(text: str) -> tuple[str, list[int]]:
    plain: list[str] = []
    stands: list[int] = []
    at = 0
    for found in _DISGUISE.finditer(text):
        plain.append(text[at : found.start()])
        stands.extend(range(at, found.start()))
        at = found.end()
        letters = _shown(str(found.lastgroup), found[str(found.lastgroup)])
        plain.append(letters)
        stands.extend([found.start()] * len(letters))
    plain.append(text[at:])
    stands.extend(range(at, len(text) + 1))
    return "".join(plain), stands


def in_disguise(places: Iterable[Stretch], stands: list[int]) -> Iterator[Stretch]:
    """Yield places of an undisguised text as those of the text itself."""
    for place in places:
        yield Stretch(stands[place.start], stands[place.end], place.kind)


def _shown(kind: str, value: str) -> str:
    if kind == "percent":
        return bytes(int(each[-2:], 16) for each in value.split("%")[1:]).decode(errors="replace")
    if kind in ("hex", "entity"):
        return chr(int(value, 16))
    if kind == "decimal":
        return chr(int(value))
    if kind == "digit":
        return str(int(value))
    if kind == "name":
        return _ENTITIES[value]
    if kind == "other":
        return _PLAIN[value]
    return value if kind in ("slash", "quote") else ""

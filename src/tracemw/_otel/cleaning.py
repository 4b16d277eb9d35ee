"""What applications give as values of attributes, as texts and as mappings: whatever they are, something is recorded.

The rules are those of OpenTelemetry's SDK, whose log lines they also keep: numbers, bools, texts and bytes stay,
sequences become tuples, mappings become dictionaries, anything else becomes its text. Beyond the SDK, nothing here
raises: a value whose own methods do becomes a marker, a text that says which. And nothing is without bound: a value
that is too long, or nests too deep, is cut, and says so. `BaseException`s that are no `Exception` go on.
"""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from types import NoneType
from typing import Any, Final

SCALARS: Final[frozenset[type]] = frozenset({str, bool, int, float})
"""The types of values that need no check and no copy."""

LONGEST: Final = 32_768
"""Bytes, in UTF-8, that a text or a whole value takes when no other limit is set; what is cut off is told."""

DEEPEST: Final = 30
"""How many sequences and mappings may lie within one another."""

_ITEM: Final = 8
"""Bytes that an item counts for at least, so that items without any come to an end too."""
_MARK: Final = 64
"""Bytes that there are for a text in any case: it can tell how much of it was cut off."""
_MOST_ITEMS: Final = 100_000
"""Items that are read of a mapping that may never end."""
_TOO_DEEP: Final = f"<nested more than {DEEPEST} deep>"

_CONTAINERS: Final = (list, tuple, dict, set, frozenset)
_brief: Final = reprlib.Repr()  # what contains one thing twice, over and over, has a `repr` without end
_brief.maxlist = _brief.maxtuple = _brief.maxdict = _brief.maxset = _brief.maxfrozenset = 8
_brief.maxlevel, _brief.maxstring, _brief.maxother = 3, 1000, 1000

_logger: Final = logging.getLogger("opentelemetry.attributes")  # where users look for what it says
_name_of: Final = type.__dict__["__qualname__"].__get__  # past metaclasses


def marker(value: object, method: str, error: Exception) -> str:
    """Return the text that stands for a value whose `method` has raised `error`."""
    return f"<unprintable: {_name_of(type(error))} in {_name_of(type(value))}.{method}>"


def shown(value: object, longest: int = LONGEST) -> str:
    """Return the text of anything, of at most so many bytes; a marker for what has none."""
    if type(value) is str:
        return cut(value, longest)
    try:
        if isinstance(value, _CONTAINERS):
            return cut(_brief.repr(value), longest)
        return cut(str.__str__(value if isinstance(value, str) else str(value)), longest)
    except Exception as error:
        if isinstance(error, ValueError) and type(value) is int:  # more digits than the interpreter writes
            return f"<int of {value.bit_length()} bits>"
        kind = type(value)
        return marker(value, "__repr__" if kind.__str__ is object.__str__ else "__str__", error)


def cut(text: str, longest: int = LONGEST) -> str:
    """Return a text of at most so many bytes in UTF-8; one that was longer ends with how many bytes were cut off."""
    size = str.__len__(text)
    if size * 4 <= longest or (size <= longest and text.isascii()):
        return text
    octets = str.encode(text, "utf-8", "backslashreplace")
    return text if len(octets) <= longest else cut_octets(octets, longest).decode()


def cut_octets(octets: bytes, longest: int) -> bytes:
    """Do the same for a text that is UTF-8 already."""
    if len(octets) <= longest:
        return octets
    room = longest - len(_mark(len(octets)))
    end = room if room > 0 else longest
    while end and octets[end] & 0xC0 == 0x80:  # not within a character
        end -= 1
    return octets[:end] + _mark(len(octets) - end) if room > 0 else octets[:end]


def _mark(size: int) -> bytes:
    return f"... [cut, {size} bytes]".encode()  # in ASCII: one character beyond it doubles what a text takes in memory


def cleaned(value: Any, longest: int | None = None) -> Any:
    """Return a value as one of an attribute.

    Args:
        value: Anything.
        longest: Characters that each text in it keeps, when such a limit is set; then texts do not tell it.
    """
    return _Cleaner(longest).cleaned(value, 0)


def cleaned_items(items: Iterable[tuple[Any, Any]], longest: int | None = None) -> dict[str, Any]:
    """Return attributes with their keys and values cleaned, without those whose key cannot be one."""
    clean: dict[str, Any] = {}
    for key, value in items:
        text = _key(key)
        if text is not None:
            clean[text] = value if type(value) in SCALARS and type(value) is not str else cleaned(value, longest)
    return clean


class Items(list[tuple[Any, Any]]):
    """Attributes as their items, of which later ones win, in place of a mapping: keys need not be hashable."""


def items_of(attributes: Any) -> Sequence[tuple[Any, Any]]:
    """Return the items of what should be a mapping, as far as there are any."""
    if attributes is None:
        return ()
    if type(attributes) is Items:
        return attributes
    if type(attributes) is dict:
        try:
            return list(attributes.items())
        except RuntimeError:  # another thread writes to it
            return list(attributes.copy().items())
    items: list[tuple[Any, Any]] = []
    try:
        for key in islice(iter(attributes.keys()), _MOST_ITEMS):
            try:
                items.append((key, attributes[key]))
            except Exception as error:
                items.append((key, marker(attributes, "__getitem__", error)))
    except Exception as error:
        _logger.warning("Attributes that cannot be read as a mapping: %s", marker(attributes, "keys", error))
    return items


def is_key(key: object) -> bool:
    """Tell whether a key is one of an attribute, as it is."""
    return issubclass(type(key), str) and str.__len__(key) > 0  # type: ignore[arg-type]  # mypy does not narrow by it


def warn_of_key(key: object) -> None:
    """Say that an attribute is dropped for its key."""
    _logger.warning("invalid key `%s`. must be non-empty string. Dropping key from attributes.", shown(key))


class _Cleaner:
    """Cleans one value, and counts what of it there is room for."""

    __slots__ = ("_longest", "_room")

    def __init__(self, longest: int | None) -> None:
        self._longest = longest
        self._room = LONGEST if longest is None else max(LONGEST, longest)

    def cleaned(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value)
        if kind in SCALARS or value is None:
            self._room -= _ITEM
            return value
        self._room -= _ITEM
        method = "__class__"  # what `isinstance` asks a value for
        try:
            if isinstance(value, (NoneType, bool, int, float)):
                return value
            if isinstance(value, bytes):
                return self._bytes(value)
            if isinstance(value, str):
                return self._text(value)
            if isinstance(value, Sequence):
                method = "__iter__"
                return self._items(value, depth) if depth < DEEPEST else _TOO_DEEP
            if isinstance(value, Mapping):
                method = "items"
                return self._pairs(value, depth) if depth < DEEPEST else _TOO_DEEP
        except Exception as error:
            return marker(value, method, error)
        _logger.warning(
            "Invalid type `%s` for attribute value. Expected one of bool, str, None, bytes, int, float or a "
            "Mapping or Sequence of those types. Value's __str__ method will be called if it exists, otherwise the "
            "value will be replaced with None.",
            shown(kind),
        )
        return self._shown(value) if _has_text(value) else None

    def _shown(self, value: object) -> str:
        text = shown(value, max(self._room, _MARK))  # the SDK does not hold such a text to a limit that is set
        self._room -= len(text)
        return text

    def _text(self, text: str) -> str:
        size = str.__len__(text)
        if self._longest is not None:
            if size > self._longest:
                _logger.warning("String attribute value exceeds max length of %d, truncating.", self._longest)
                text = str.__getitem__(text, slice(self._longest))
        elif size * 4 > self._room:
            text = cut(str.__str__(text), max(self._room, _MARK))
        self._room -= max(size, _ITEM)
        return text

    def _bytes(self, value: bytes) -> bytes:
        size = bytes.__len__(value)
        if size > self._room:
            value = bytes.__getitem__(value, slice(max(self._room - 32, 0)))
            value += f"... [cut, {size - len(value)} bytes]".encode()
        self._room -= size
        return value

    def _items(self, value: Sequence[Any], depth: int) -> tuple[Any, ...]:
        items: list[Any] = []
        iterator = iter(value)
        try:
            for item in iterator:
                if self._room <= 0:
                    items.append(_left_out(value, len(items)))
                    break
                items.append(self.cleaned(item, depth + 1))
        except Exception as error:
            items.append(marker(value, "__iter__", error))
        return tuple(items)

    def _pairs(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        pairs: dict[str, Any] = {}
        for key, item in value.items():
            if self._room <= 0:
                pairs["…"] = _left_out(value, len(pairs))
                break
            text = _key(key)
            if text is not None:
                self._room -= len(text)
                pairs[text] = self.cleaned(item, depth + 1)
        return pairs


def _left_out(value: Any, kept: int) -> str:
    try:
        return f"... [cut, {max(len(value) - kept, 1)} items]"
    except Exception:
        return "... [cut]"


def _key(key: Any) -> str | None:
    """Return the text of a key; None, and it is logged, when it has none."""
    if type(key) is str and key:
        return key
    if is_key(key):
        return str.__str__(key)  # its value: how a subclass hashes, compares or shows itself is no matter here
    try:
        is_empty = not key
    except Exception:
        is_empty = False
    if is_empty:
        _logger.warning(
            "invalid attribute key `%s`. must be non-empty string. Dropping key from attributes.", shown(key)
        )
        return None
    _logger.warning(
        "Invalid type `%s` for attribute key `%s`, must be a str. Key's `__str__/__repr__` method will be called if it "
        "exists, otherwise the key/value pair will be dropped.",
        shown(type(key)),
        shown(key),
    )
    return shown(key) if _has_text(key) else None


def _has_text(value: object) -> bool:
    """Tell whether a value shows more than its class and address."""
    kind = type(value)
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__

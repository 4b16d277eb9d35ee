"""Cleaning: any value that an application gives becomes one that a span may hold.

The rules, and the lines in the log, are those of OpenTelemetry's SDK. Numbers, bools, texts and bytes stay. Sequences
become tuples, and mappings become dictionaries. Anything else becomes its text.

Two rules go beyond the SDK. Nothing here raises: a value whose methods raise becomes a marker, which is a text that
names the method. And everything has a bound: a value that is too long, or nested too deeply, is cut, and says so. Only
a `BaseException` that is no `Exception` goes on to the caller.
"""

from __future__ import annotations

import logging
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from types import NoneType
from typing import Any, Final

SCALARS: Final[frozenset[type]] = frozenset({str, bool, int, float})
"""The types of values that need neither check nor copy."""

LONGEST: Final = 32_768
"""Bytes in UTF-8 that a text or a whole value may take, unless another limit is set."""

DEEPEST: Final = 30
"""How many sequences and mappings may lie within one another."""

_ITEM: Final = 8
"""Bytes that an item counts for at least, so that empty items use up the room, too."""
_MARK: Final = 64
"""Bytes that a text gets in any case, so that it can say how much was cut off."""
_MOST_ITEMS: Final = 100_000
"""Items that are read of a mapping. A mapping may be endless."""
_TOO_DEEP: Final = f"<nested more than {DEEPEST} deep>"

_CONTAINERS: Final = (list, tuple, dict, set, frozenset)
_brief: Final = reprlib.Repr()  # bounded: `repr` doubles with each level of a list that holds one list twice
_brief.maxlist = _brief.maxtuple = _brief.maxdict = _brief.maxset = _brief.maxfrozenset = 8
_brief.maxlevel, _brief.maxstring, _brief.maxother = 3, 1000, 1000

_logger: Final = logging.getLogger("opentelemetry.attributes")  # users know the SDK's lines under this name
_name_of: Final = type.__dict__["__qualname__"].__get__  # no metaclass can make this raise


def marker(value: object, method: str, error: Exception) -> str:
    """Return the text that stands for a value whose `method` has raised `error`."""
    return f"<unprintable: {_name_of(type(error))} in {_name_of(type(value))}.{method}>"


def shown(value: object, longest: int = LONGEST) -> str:
    """Return the text of any value, of at most `longest` bytes; a marker when making the text raises."""
    if type(value) is str:
        return cut(value, longest)
    try:
        if isinstance(value, _CONTAINERS):
            return cut(_brief.repr(value), longest)
        return cut(str.__str__(value if isinstance(value, str) else str(value)), longest)
    except Exception as error:
        if isinstance(error, ValueError) and type(value) is int:  # it has more digits than Python writes
            return f"<int of {value.bit_length()} bits>"
        kind = type(value)
        return marker(value, "__repr__" if kind.__str__ is object.__str__ else "__str__", error)


def cut(text: str, longest: int = LONGEST) -> str:
    """Return a text, cut to `longest` bytes in UTF-8. A cut text ends with how many bytes were cut off."""
    size = str.__len__(text)
    if size * 4 <= longest or (size <= longest and text.isascii()):
        return text
    octets = str.encode(text, "utf-8", "backslashreplace")
    return text if len(octets) <= longest else cut_octets(octets, longest).decode()


def cut_octets(octets: bytes, longest: int) -> bytes:
    """Do the same as `cut` for a text that is UTF-8 already."""
    if len(octets) <= longest:
        return octets
    room = longest - len(_mark(len(octets)))
    end = room if room > 0 else longest
    while end and octets[end] & 0xC0 == 0x80:  # do not cut within a character
        end -= 1
    return octets[:end] + _mark(len(octets) - end) if room > 0 else octets[:end]


def _mark(size: int) -> bytes:
    return f"... [cut, {size} bytes]".encode()  # ASCII only: one other character doubles the text's memory


def cleaned(value: Any, longest: int | None = None) -> Any:
    """Return a value as one that an attribute may have.

    Args:
        value: Anything.
        longest: Characters that each text in the value keeps, if the user has set a limit. Such a cut is not marked in
            the text: the SDK does not mark it either.
    """
    return _Cleaner(longest).cleaned(value, 0)


def cleaned_items(items: Iterable[tuple[Any, Any]], longest: int | None = None) -> dict[str, Any]:
    """Return attributes with clean keys and values. An attribute without a usable key is left out."""
    clean: dict[str, Any] = {}
    for key, value in items:
        text = _key(key)
        if text is not None:
            clean[text] = value if type(value) in SCALARS and type(value) is not str else cleaned(value, longest)
    return clean


class Items(list[tuple[Any, Any]]):
    """Attributes as a list of items, in place of a mapping, since a key may have no hash. Later items win."""


def items_of(attributes: Any) -> Sequence[tuple[Any, Any]]:
    """Return the items of a value that should be a mapping, as far as they can be read."""
    if attributes is None:
        return ()
    if type(attributes) is Items:
        return attributes
    if type(attributes) is dict:
        try:
            return list(attributes.items())
        except RuntimeError:  # another thread writes to the dictionary
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
    """Tell whether an attribute may have this key, as it is."""
    return issubclass(type(key), str) and str.__len__(key) > 0  # type: ignore[arg-type]  # mypy does not narrow by it


def warn_of_key(key: object) -> None:
    """Log that an attribute is dropped because of its key."""
    _logger.warning("invalid key `%s`. must be non-empty string. Dropping key from attributes.", shown(key))


class _Cleaner:
    """Cleans one value, and counts the room that is left for it."""

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
        method = "__class__"  # `isinstance` reads this of the value
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
        text = shown(value, max(self._room, _MARK))  # as in the SDK, the user's limit does not count for such a text
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
    """Return the text of a key. If there is none, log that, and return None."""
    if type(key) is str and key:
        return key
    if is_key(key):
        return str.__str__(key)  # the plain value, whatever a subclass does when it is hashed, compared or shown
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
    """Tell whether a value's text says more than its class and address."""
    kind = type(value)
    return kind.__str__ is not object.__str__ or kind.__repr__ is not object.__repr__

"""The limits of a span, and attributes cleaned and cut to them."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from opentelemetry.attributes import BoundedAttributes
from opentelemetry.sdk.trace import SpanLimits

from tracemw._otel.attributes import LazyAttributes
from tracemw._otel.cleaning import SCALARS, cleaned_items, items_of
from tracemw._otel.stacktrace import LONGEST

_new: Final = object.__new__
_CONTAINER: Final = vars(BoundedAttributes(immutable=False))
"""The fields of the SDK's container. They differ from version to version."""


class OwnLimits(NamedTuple):
    """The limits that the SDK does not have."""

    stacktrace: int = LONGEST
    """Bytes that the stack trace of a recorded exception may take."""
    fold_after: int = 20
    """Like spans beneath one parent that stay as they are; further ones become one span. 0 if nothing is folded."""


class Limits(SpanLimits):
    """The SDK's limits, with the figures of the common case worked out once.

    Args:
        limits: The limits as the SDK has read them.
    """

    def __init__(self, limits: SpanLimits) -> None:
        vars(self).update(vars(limits))
        most: int | None = self.max_span_attributes
        self.most = sys.maxsize if most is None else most
        """How many attributes a span may have."""
        self.plain = SCALARS if self.max_span_attribute_length is None else SCALARS - {str}
        """The types of values that need no cleaning."""

    def clean(self, attributes: Any) -> dict[str, Any] | BoundedAttributes:
        """Return clean attributes: a dictionary, or the SDK's container if some of them are dropped."""
        return self._bounded(attributes, self.max_span_attributes, self.max_span_attribute_length)

    def of_event(self, attributes: Any) -> BoundedAttributes:
        """Return the attributes of an event, in a container that takes no more changes."""
        return self._sealed(attributes, self.max_event_attributes)

    def of_lazy_event(self, lazy: LazyAttributes) -> Mapping[str, Any]:
        """Return the attributes of an event, which a door of ours has made: they need no cleaning."""
        made = lazy.made()
        most = self.max_event_attributes
        is_plain = self.max_attribute_length is None and (most is None or len(made) <= most)
        return MappingProxyType(made) if is_plain else self.of_event(made)

    def of_link(self, attributes: Any) -> BoundedAttributes:
        """Return the attributes of a link, in a container that takes no more changes."""
        return self._sealed(attributes, self.max_link_attributes)

    def _sealed(self, attributes: Any, most: int | None) -> BoundedAttributes:
        longest = self.max_attribute_length
        held = self._bounded(attributes, most, longest)
        sealed = self._contained(held, most, longest) if isinstance(held, dict) else held
        sealed._immutable = True
        return sealed

    def _bounded(self, attributes: Any, most: int | None, longest: int | None) -> dict[str, Any] | BoundedAttributes:
        items = items_of(attributes)
        clean = {} if most == 0 else cleaned_items(items, longest)
        if len(clean) == len(items) and (most is None or len(clean) <= most):
            return clean
        held = self._contained({}, most, longest)
        held.dropped = len(items) - len(clean)
        for key, value in clean.items():
            put_locked(held, key, value)
        return held

    @staticmethod
    def put(held: BoundedAttributes, items: Sequence[tuple[Any, Any]]) -> None:
        """Set attributes in the SDK's container. The container counts those that it has no room for."""
        clean = {} if held.maxlen == 0 else cleaned_items(items, held.max_value_len)
        with held._lock:
            held.dropped += len(items) - len(clean)
            for key, value in clean.items():
                put_locked(held, key, value)

    def contain(self, attributes: dict[str, Any]) -> BoundedAttributes:
        """Return the SDK's container around a dictionary of clean attributes. The dictionary is not copied."""
        return self._contained(attributes, self.max_span_attributes, self.max_span_attribute_length)

    @staticmethod
    def _contained(attributes: dict[str, Any], most: int | None, longest: int | None) -> BoundedAttributes:
        contained: BoundedAttributes = _new(BoundedAttributes)
        vars(contained).update(_CONTAINER, _dict=attributes, maxlen=most, max_value_len=longest, _lock=threading.Lock())
        return contained


def put_locked(held: BoundedAttributes, key: str, value: Any) -> None:
    """Set an attribute in the SDK's container; the caller holds its lock. When it is full, the oldest one leaves.

    The SDK logs a line for each that leaves. Here a span logs the first one.
    """
    attributes: dict[str, Any] = held._dict
    if held.dropped and held.maxlen is not None and len(attributes) >= held.maxlen and key not in attributes:
        del attributes[next(iter(attributes))]
        held.dropped += 1
    held._setitem_locked(key, value)

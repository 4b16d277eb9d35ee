"""What is recorded about a request: keys and values of attributes and of baggage. `TMW101` to `TMW104`, `TMW402`."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import Final

from tracemw.lint.codes import Spot
from tracemw.lint.rules.span_rules import is_span
from tracemw.lint.source import SourceModule, text_of
from tracemw.redaction.detectors import secrets
from tracemw.redaction.pairs import is_telling

_PERSONAL: Final = re.compile(
    r"(?:^|[._-])(?:e_?mail(?:_?addr(?:ess)?)?|phone(?:_?(?:number|no))?|mobile(?:_?number)?|msisdn|first_?name|last_?name"
    r"|full_?name|sur_?name|family_?name|given_?name|maiden_?name|birth_?(?:day|date)|date_of_birth|dob|ssn|sin_number"
    r"|social_security(?:_?number)?|passport(?:_?(?:number|no))?|national_id|tax_?id|driv(?:er|ing)s?_?licen[cs]e|iban"
    r"|(?:street|postal|home|billing|shipping|mailing)_?address|post_?code|zip_?code|home_?town|gender|religion"
    r"|ethnicity|patient_?(?:name|id)|diagnosis|medical_?record|health_?insurance|credit_?card|card_?(?:number|holder))"
    r"(?:$|[._-])",
    re.IGNORECASE,
)
_OF_USERS: Final = re.compile(r"(?:^|\.)(?:user|customer|enduser|person|patient|employee)\.(?:name|full_name|address)$")
_OURS: Final = frozenset({"tracemw.span", "tracemw.spans.span", "tracemw.traced", "tracemw.spans.traced"})
_ANNOTATE: Final = frozenset({"tracemw.annotate", "tracemw.spans.annotate"})
_BAGGAGE: Final = "opentelemetry.baggage.set_baggage"


class AttributeRules:
    """The rules about keys and values.

    Args:
        allows: Whether the allowlist lets a key's value leave; None to say nothing about the allowlist.
    """

    def __init__(self, allows: Callable[[str], bool] | None = None) -> None:
        self._allows = allows

    def __call__(self, source: SourceModule) -> Iterator[Spot]:
        """Give what is wrong with the attributes and the baggage of a module."""
        if not source.uses("opentelemetry", "tracemw"):
            return
        for call in source.calls:
            if source.name(call.func) == _BAGGAGE:
                yield from self._baggage(call)
                continue
            for key, node, value in _recorded(call, source):
                yield from self._attribute(key, node, value)

    def _attribute(self, key: str, node: ast.AST, value: ast.expr | None) -> Iterator[Spot]:
        line, column = node.lineno, node.col_offset  # type: ignore[attr-defined]
        if is_telling(key):
            yield Spot(line, column, "TMW101", repr(key))
        elif is_personal(key):
            yield Spot(line, column, "TMW102", repr(key))
        elif self._allows is not None and not self._allows(key):
            yield Spot(line, column, "TMW104", repr(key))
        if value is not None and (text := text_of(value)) is not None and secrets(text):
            yield Spot(value.lineno, value.col_offset, "TMW103", repr(key))

    def _baggage(self, call: ast.Call) -> Iterator[Spot]:
        key = text_of(call.args[0]) if call.args else None
        if key is not None and (is_telling(key) or is_personal(key) or key.lower() in ("user.id", "user_id", "userid")):
            yield Spot(call.lineno, call.col_offset, "TMW402", repr(key))


def is_personal(key: str) -> bool:
    """Return whether a key names something about a person."""
    return _PERSONAL.search(key) is not None or _OF_USERS.search(key.lower()) is not None


def _recorded(call: ast.Call, source: SourceModule) -> Iterator[tuple[str, ast.AST, ast.expr | None]]:
    """Give the attributes that a call records: key, where it stands, and value."""
    name = source.name(call.func)
    if name in _OURS or name in _ANNOTATE:
        for keyword in call.keywords:
            if keyword.arg is not None:
                yield keyword.arg, keyword, keyword.value
            else:
                yield from _items(keyword.value)
        return
    if not isinstance(call.func, ast.Attribute):
        return
    method = call.func.attr
    if method == "set_attribute" and call.args:
        key = text_of(call.args[0])
        if key is not None:
            yield key, call.args[0], call.args[1] if len(call.args) > 1 else None
    elif method == "set_attributes" and call.args:
        yield from _items(call.args[0])
    elif method == "add_event" and len(call.args) > 1:
        yield from _items(call.args[1])
    if method in ("add_event", "record_exception") or is_span(call, source):
        for keyword in call.keywords:
            if keyword.arg == "attributes":
                yield from _items(keyword.value)


def _items(node: ast.expr) -> Iterator[tuple[str, ast.AST, ast.expr | None]]:
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            text = text_of(key)
            if key is not None and text is not None:
                yield text, key, value

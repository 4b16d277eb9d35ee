"""The policy: which keys may leave, and what is taken out of texts that do.

Every way out of the process asks it: the encoder, copies for processors of others, metrics, and what records the texts
of exceptions and logs before they are cut. A decision on a key is made once. Values are looked at each time, unless
whoever asks remembers them.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from tracemw.redaction.allowed_keys import (
    AGENTS,
    KEYS,
    LABELS,
    OF_HEADERS,
    PATHS,
    PREFIXES,
    QUERIES,
    SECRET_HEADERS,
    STATEMENTS,
    URLS,
    WORDS,
)
from tracemw.redaction.database_errors import without_literals
from tracemw.redaction.detectors import is_plain, is_plain_agent, secrets
from tracemw.redaction.nested import NestedValues
from tracemw.redaction.pairs import is_telling
from tracemw.redaction.places import MASK, Stretch, merged
from tracemw.redaction.pseudonyms import USER_HASH, is_pseudonym
from tracemw.redaction.report import Report
from tracemw.redaction.urls import (
    QUERY_NAMES,
    REDACTED,
    is_calm_path,
    is_calm_query,
    is_calm_url,
    redact_simple_query,
    redact_text,
    refused_in_path,
    refused_in_query,
    refused_in_text,
)
from tracemw.redaction.users_rule import Answer, Found, Redaction, Where

LONGEST: Final = 32_768
"""Bytes of a value that leave, unless another limit is set."""

_SHORT: Final = 5
_WORD: Final = 12
_MARGIN: Final = 4096
"""Characters beyond the limit that are looked at: a secret that begins before it may end there."""

_MOST_KEYS: Final = 4096
"""Keys, and names in queries, whose decisions are remembered."""

_MOST_TOLD: Final = 100
"""Keys that the log names in development; elsewhere it names one."""
_HASH: Final = re.compile(r"\[HASH:[0-9a-f]{16}\]").fullmatch
_OPERATORS: Final = "operators"
_METRICS: Final = "metrics"
_TEXTS: Final = "texts"
_KINDS: Final[dict[str, str]] = {"resource": _OPERATORS, "scope": _OPERATORS, "metric": _METRICS}
"""Where other keys are allowed than on spans, events and links."""
_OF_URLS: Final = frozenset({"query", "path", "userinfo"})
"""What is replaced by the word that the semantic conventions have for URLs."""


class Dropped(Exception):  # noqa: N818  it is no error
    """The user's rule leaves an attribute out."""


class KeyRule:
    """What may leave under one key."""

    __slots__ = ("find", "is_calm", "is_calm_up_to", "key", "numbers_pass", "passes", "shown")

    def __init__(
        self,
        key: str,
        shown: str,
        *,
        passes: bool,
        numbers_pass: bool,
        is_calm: Callable[[str], object],
        find: Callable[[str], Iterable[Stretch]] | None,
    ) -> None:
        self.key = key
        self.shown = shown
        """The key as it leaves."""
        self.passes = passes
        """Whether values leave, once they are looked at. If not, `[REDACTED]` stands in their place."""
        self.numbers_pass = numbers_pass
        """Whether numbers and booleans leave."""
        self.is_calm = is_calm
        """Tells quickly that a text holds no secret. It may say no to a harmless text. If it says yes to a text with
        0 for each digit, it says yes to that text with any digits."""
        self.is_calm_up_to = _WORD if key in WORDS else 0 if key in QUERIES else _SHORT
        """Characters of a text that is too short to be looked at. Longer ones are, under keys that hold one of a few
        words. Each query is looked at."""
        self.find = find
        """Finds what is taken out of a text; None if texts leave as they are."""


class RedactionPolicy:
    """What may leave the process.

    Args:
        allow: Further keys, and globs such as `order.*`. `url.query.<name>` allows a name in queries.
        redaction: What the user has said beside that.
        is_lenient: Whether numbers and booleans pass under keys that are not allowed, as in development.
        tell: Called once with each key that is not allowed, when its first value is redacted, or passes by leniency.
        longest: How many bytes of a value leave.
    """

    def __init__(
        self,
        allow: Iterable[str] = (),
        redaction: Redaction | None = None,
        *,
        is_lenient: bool = False,
        tell: Callable[[KeyRule, bool], object] | None = None,
        longest: int = LONGEST,
    ) -> None:
        patterns = set(allow)
        globs = sorted(pattern for pattern in patterns if any(sign in pattern for sign in "*?["))
        self.exact = frozenset(patterns.difference(globs))
        """The keys that the user has named one by one."""
        self._matches_glob = re.compile("|".join(map(fnmatch.translate, globs))).match if globs else None
        self._redaction = redaction if redaction is not None else Redaction()
        self.rule = self._redaction.rule
        """The user's rule."""
        self._headers = frozenset(self._redaction.headers)
        self._is_lenient = is_lenient
        self._tell = tell
        self._told: set[str] = set()
        self._most_told = _MOST_TOLD if is_lenient else 1
        self._longest = longest
        self._rules: dict[tuple[str, str], KeyRule] = {}
        self.names = _Names(self.exact, self._matches_glob)
        """Names in queries, and whether their values leave."""
        self.report = Report()

    # -- Decisions on keys.

    def of(self, key: str, where: Where = "attribute") -> KeyRule:
        """Return what may leave under a key. The operator has set what a resource says: all of its keys are allowed."""
        kind = _KINDS.get(where, "")
        known = self._rules.get((kind, key))
        if known is None:
            known = self._decided(key, kind)
            if len(self._rules) >= _MOST_KEYS:
                self._rules.clear()
            self._rules[kind, key] = known
        return known

    def allows_label(self, key: str) -> bool:
        """Tell whether measurements keep an attribute. One that is not allowed is counted as redacted."""
        rule = self.of(key, "metric")
        if not rule.passes:
            self._note(rule)
        return rule.passes

    def keeps_header(self, name: str) -> bool:
        """Tell whether the value of a captured header may leave."""
        name = name.lower().replace("_", "-")
        return name in self._headers or not (name in SECRET_HEADERS or is_telling(name))

    def _decided(self, key: str, kind: str) -> KeyRule:
        passes = self._allows(key, kind)
        find: Callable[[str], Iterable[Stretch]] | None = self._finder(key)
        for namespace in OF_HEADERS:
            if passes and key.startswith(namespace):
                name = key[len(namespace) :]
                passes = self.keeps_header(name)
                find = None if name.lower().replace("_", "-") in self._headers else find
        is_calm: Callable[[str], object] = is_plain
        if key in PATHS:
            is_calm = is_calm_path
        elif key in QUERIES:
            is_calm = partial(is_calm_query, allows=self.names)
        elif key in URLS:
            is_calm = partial(is_calm_url, allows=self.names)
        elif key in AGENTS:
            is_calm = is_plain_agent
        elif key == USER_HASH:
            is_calm = is_pseudonym  # among 64 hex digits may be the number of a card
        shown = key if is_plain(key) else _replaced(key, [(place, _mask(place)) for place in secrets(key)])
        numbers_pass = passes or (self._is_lenient and not is_telling(key))
        return KeyRule(key, shown, passes=passes, numbers_pass=numbers_pass, is_calm=is_calm, find=find)

    def _allows(self, key: str, kind: str) -> bool:
        if key in self.exact or key in KEYS or key.startswith(PREFIXES) or (kind == _METRICS and key in LABELS):
            return True
        if kind == _OPERATORS:
            return not is_telling(key)
        return self._matches_glob is not None and self._matches_glob(key) is not None and not is_telling(key)

    def _finder(self, key: str) -> Callable[[str], Iterable[Stretch]]:
        if key in PATHS:
            return self._in_path
        if key in QUERIES:
            return self._in_query
        if key in URLS:
            return self._in_url
        return self._in_text

    # -- Values.

    def passes(self, rule: KeyRule, kind: type) -> bool:
        """Tell whether values of a type leave under a key, once they are looked at."""
        if rule.passes:
            return True
        if not rule.numbers_pass or not issubclass(kind, (bool, int, float)):
            return False
        self._tell_of(rule, is_redacted=False)
        return True

    def cleaned(self, value: Any, rule: KeyRule, where: Where) -> Any:
        """Return a value as it may leave.

        Raises:
            Dropped: when the user's rule leaves the attribute out.
        """
        if value is None:
            return None
        if not self.passes(rule, type(value)):
            return self.refused(value, rule, where)
        if isinstance(value, str):
            return value if rule.is_calm(value) else self.masked(value, rule, where)
        if rule.find is None or isinstance(value, (bool, float)):
            return value
        return NestedValues(self, rule, where).cleaned(value, 0)

    def attributes(self, attributes: Mapping[str, Any], where: Where) -> dict[str, Any]:
        """Return attributes as they may leave."""
        kept: dict[str, Any] = {}
        for key, value in attributes.items():
            rule = self.of(key, where)
            with suppress(Dropped):
                kept[rule.shown] = self.cleaned(value, rule, where)
        return kept

    def refused(self, value: object, rule: KeyRule, where: Where) -> Any:
        """Return what stands for a value whose key is not allowed. The value is not looked at.

        Raises:
            Dropped: when the user's rule leaves the attribute out.
        """
        if type(value) is str and (value == MASK or _HASH(value)):  # it has been refused before
            return value
        answer = Answer.MASK if self.rule is None else self._answer(Found(where, rule.key, value, "key"))
        if answer is Answer.KEEP:
            allowed = KeyRule(
                rule.key, rule.shown, passes=True, numbers_pass=True, is_calm=rule.is_calm, find=rule.find
            )
            return self.cleaned(value, allowed, where)
        self._note(rule)
        if answer is Answer.DROP:
            raise Dropped
        return self._redaction.hashed(value) if answer is Answer.HASH else MASK

    def _note(self, rule: KeyRule) -> None:
        self.report.count(rule.shown)
        self._tell_of(rule, is_redacted=True)

    def _tell_of(self, rule: KeyRule, *, is_redacted: bool) -> None:
        if self._tell is not None and rule.key not in self._told and len(self._told) < self._most_told:
            self._told.add(rule.key)
            self._tell(rule, is_redacted)

    def masked(self, text: str, rule: KeyRule, where: Where) -> str:
        """Return a text without what looks like a secret. This is for a text that is not calm."""
        if rule.find is None:
            return text
        text = str.__str__(text)
        if rule.key in QUERIES and self.rule is None and (shown := redact_simple_query(text, self.names)) is not None:
            if shown is not text:
                self.report.count(rule.shown)
            return shown
        rest = ""
        if len(text) > self._longest + _MARGIN:
            text, rest = text[: self._longest + _MARGIN], text[self._longest + _MARGIN :]
        before = text
        if rule.key in STATEMENTS:
            text = without_literals(text)
        elif where in ("event", "status", "text"):
            text = redact_text(text)
        places = merged(rule.find(text))
        if places:
            text = _replaced(text, [(place, self._stand_in(text, place, rule, where)) for place in places])
        if text != before:
            self.report.count(rule.shown)
        if rest:  # it shows only as the number of bytes that are cut off
            text = text + rest if len(text) >= self._longest else f"{text}... [cut]"
        return text

    def text(self, text: str, where: Where, key: str | None = None) -> str:
        """Return a text that stands under no key, such as the name of a span, without what looks like a secret."""
        if is_plain(text):
            return text
        name = key or where
        rule = self._rules.get((_TEXTS, name))
        if rule is None:
            rule = KeyRule(name, name, passes=True, numbers_pass=True, is_calm=is_plain, find=self._in_text)
            self._rules[_TEXTS, name] = rule
        return self.masked(text, rule, where)

    def stand_in(self, value: object, matched: str, rule: KeyRule, where: Where) -> Any:
        """Return what stands for a secret within a sequence or mapping, and count it."""
        self.report.count(rule.shown)
        answer = self._answer(Found(where, rule.key, value, matched))
        if answer is Answer.KEEP:
            return value
        return self._redaction.hashed(value) if answer is Answer.HASH else MASK

    def _stand_in(self, text: str, place: Stretch, rule: KeyRule, where: Where) -> str:
        found = text[place.start : place.end]
        if self.rule is None:
            return _mask(place)
        answer = self._answer(Found(where, rule.key, found, place.kind))
        if answer is Answer.KEEP:
            return found
        if answer is Answer.DROP:
            return ""
        return self._redaction.hashed(found) if answer is Answer.HASH else _mask(place)

    def _answer(self, found: Found) -> Answer:
        try:
            answer = self.rule(found) if self.rule is not None else Answer.MASK
        except Exception:
            return Answer.MASK
        return answer if type(answer) is Answer else Answer.MASK

    # -- What is found in texts.

    def _in_text(self, text: str) -> list[Stretch]:
        found = secrets(text)
        if "?" in text and "=" in text:
            found += refused_in_text(text, self.names)
        if "/" in text:
            found += refused_in_path(text)
        return found

    def _in_path(self, text: str) -> list[Stretch]:
        return [*refused_in_path(text), *secrets(text)]

    def _in_query(self, text: str) -> list[Stretch]:
        return [*refused_in_query(text, self.names), *secrets(text)]

    def _in_url(self, text: str) -> list[Stretch]:
        before, question, query = text.partition("?")
        found = [*refused_in_path(before), *secrets(text)]
        if question:
            found += refused_in_query(query.partition("#")[0], self.names, len(before) + 1)
        return found


def _mask(place: Stretch) -> str:
    return REDACTED if place.kind in _OF_URLS else MASK


def _replaced(text: str, places: Iterable[tuple[Stretch, str]]) -> str:
    parts: list[str] = []
    at = 0
    for place, shown in places:
        parts += (text[at : place.start], shown)
        at = place.end
    return "".join((*parts, text[at:]))


class _Names(dict[str, bool]):
    """Names in queries, and whether their values leave."""

    def __init__(self, exact: frozenset[str], matches_glob: Callable[[str], object] | None) -> None:
        super().__init__()
        self._exact = exact
        self._matches_glob = matches_glob

    def __missing__(self, name: str) -> bool:
        key = f"url.query.{name}"
        is_allowed = name.lower() in QUERY_NAMES or key in self._exact
        if not is_allowed and self._matches_glob is not None and not is_telling(name):
            is_allowed = self._matches_glob(key) is not None
        if len(self) >= _MOST_KEYS:
            self.clear()
        self[name] = is_allowed
        return is_allowed

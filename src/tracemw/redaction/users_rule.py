"""What a user may say about redaction: `Redaction`, with a rule of the user's own."""

from __future__ import annotations

import enum
import inspect
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Literal

Where = Literal["attribute", "event", "link", "resource", "scope", "metric", "name", "status", "tracestate", "text"]
"""Where a value stands: an attribute of a span, event, link, resource, scope or metric; the name of a span or event;
the description of a status; a trace state; the text of an exception or a long log record, before it is cut."""


class Answer(enum.Enum):
    """What becomes of a value that would be redacted."""

    KEEP = "keep"
    """The value leaves as it is."""

    MASK = "mask"
    """`[REDACTED]` stands in its place. This is what happens without a rule."""

    DROP = "drop"
    """The attribute is left out, or what was found is cut out of its text."""

    HASH = "hash"
    """A keyed hash stands in its place. Equal values have equal hashes."""


@dataclass(frozen=True, slots=True)
class Found:
    """A value that would be redacted."""

    where: Where
    """Where the value stands."""

    key: str
    """The key of the attribute; `name`, `status` and so on, where there is none."""

    value: object
    """The whole value if its key is not allowed, else what was found in its text."""

    matched: str
    """Why: `key` for a key that is not allowed; else what the text looks like: `card`, `cvv`, `iban`, `jwt`, `bearer`,
    `basic`, `private_key`, `token`, `pair`, `userinfo`, `email`, `phone`, `query`, `path`."""


@dataclass(frozen=True, kw_only=True)
class Redaction:
    """What `tracemw.init(redaction=...)` takes.

    Args:
        rule: Says what becomes of each value that would be redacted. It is called in the thread that ends the span, so
            it should be quick. If it raises, or answers anything else, the value is masked.
        headers: The names of headers such as `authorization` whose values leave as they are, if a door captures them.
        hash_key: The key of the hashes that `Answer.HASH` makes. Without one, each process makes up its own, and hashes
            of two processes do not compare.

    Raises:
        TypeError: for a rule that cannot be called with one argument, or that is asynchronous; for one string in place
            of several names; for a key that is neither text nor bytes.
        ValueError: for a key of less than 16 bytes, and for what can be no name of a header.
    """

    rule: Callable[[Found], Answer] | None = None
    headers: Iterable[str] = ()
    hash_key: str | bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.rule is not None:
            _require_rule(self.rule)
        if isinstance(self.headers, str) or not all(isinstance(name, str) for name in self.headers):
            raise TypeError(f"headers takes several names, such as ({self.headers!r},)")
        for name in self.headers:
            if not _HEADER(name):
                raise ValueError(f"headers={name!r} is not accepted; use names of headers, such as 'x-api-key'")
        object.__setattr__(self, "headers", frozenset(name.lower() for name in self.headers))
        key = self.hash_key
        if key is None:
            key = os.urandom(_KEY_SIZE)
        elif isinstance(key, str):
            key = key.encode()
        if not isinstance(key, bytes):
            raise TypeError("hash_key takes text or bytes")
        if len(key) < _KEY_SIZE:
            raise ValueError(
                f"hash_key is too short; use at least {_KEY_SIZE} bytes, such as those of secrets.token_hex()"
            )
        object.__setattr__(self, "hash_key", key)

    def hashed(self, value: object) -> str:
        """Return the text that stands for a value: a hash under the key (HMAC-SHA256, of which 64 bits are shown)."""
        import hashlib  # here, since few users hash
        import hmac

        octets = value if isinstance(value, bytes) else str(value).encode("utf-8", "backslashreplace")
        key = self.hash_key if isinstance(self.hash_key, bytes) else b""
        return f"[HASH:{hmac.new(key, octets, hashlib.sha256).hexdigest()[:16]}]"


_KEY_SIZE: Final = 16
_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
"""Names of headers are tokens (RFC 9110)."""


def _require_rule(rule: object) -> None:
    if not callable(rule):
        raise TypeError(f"rule takes a function, not {type(rule).__name__}")
    if inspect.iscoroutinefunction(rule):
        raise TypeError("rule takes a plain function, not an async one: it is called while a span is encoded")
    try:
        inspect.signature(rule).bind(None)
    except TypeError:
        raise TypeError("rule takes a function of one argument, a tracemw.redaction.Found") from None
    except ValueError:  # some builtins have no signature
        return

"""The memory of the encoder for the names of spans, and for those of events."""

from __future__ import annotations

from typing import Final

from tracemw._export.encoding.protobuf import text_field
from tracemw.redaction.policy import RedactionPolicy

_LONGEST_KEPT: Final = 512
"""Bytes. A longer name seldom comes back, and takes much memory."""

_NAMES_KEPT: Final = 1024


class Names(dict[str, bytes]):
    """Names -> their fields, remembered unless they are long, or had a secret in them.

    Args:
        policy: What may leave.
        tag: The tag of the field.
    """

    def __init__(self, policy: RedactionPolicy, tag: bytes) -> None:
        super().__init__()
        self._policy = policy
        self._tag = tag

    def __missing__(self, name: str) -> bytes:
        cleaned = self._policy.text(name, "name") if name else name
        field = text_field(self._tag, cleaned)
        if len(field) <= _LONGEST_KEPT and cleaned is name:
            if len(self) >= _NAMES_KEPT:
                self.clear()
            self[name] = field
        return field

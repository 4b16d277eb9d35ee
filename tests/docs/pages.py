"""The pages, and the blocks of code in them.

A comment before a block says what is done with it: `<!-- file: shop.py -->` has a story write it to that file.
`<!-- story: spikes -->` names the test that runs the commands. Blocks of Python without a comment run by themselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
_BLOCK = re.compile(r"^(?:<!-- (\w+): ([^\n]+) -->\n)?```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Block(NamedTuple):
    page: str
    line: int
    kind: str | None
    """`file` or `story`, when a comment says so."""
    name: str | None
    """The name of the file or the story."""
    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """What is typed at the prompt."""
        return re.findall(r"^\$ (.+)", self.text, re.MULTILINE) if self.language == "console" else []

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[Path]:
    """Every page that is written by hand, the README first."""
    found = sorted((ROOT / "docs").rglob("*.md")) + sorted((ROOT / "docs").rglob("*.rst"))
    return [ROOT / "README.md", *(page for page in found if "_build" not in page.parts)]


def blocks(*names: str) -> Iterator[Block]:
    """The blocks of these pages, or of all, in their order."""
    for page in pages():
        name = page.relative_to(ROOT).as_posix()
        if names and name not in names:
            continue
        text = page.read_text()
        for found in _BLOCK.finditer(text):
            line = text.count("\n", 0, found.start()) + 1
            yield Block(name, line, *found.groups())


def story(name: str) -> list[str]:
    """The commands of one story."""
    return [command for block in blocks() if block[2:4] == ("story", name) for command in block.commands]

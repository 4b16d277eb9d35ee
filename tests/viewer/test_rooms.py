"""Imports within the viewer go one way."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tracemw import viewer

ROOT = Path(viewer.__file__).parent
EVERYWHERE = {"allowance", "budget"}
ALLOWED = {
    "receiving": {"receiving"},
    "storing": {"storing", "receiving"},
    "querying": {"querying", "storing"},
}


@pytest.mark.parametrize("room", ALLOWED)
def test_each_room_of_the_viewer_imports_only_the_rooms_below(room: str) -> None:
    files = list((ROOT / room).glob("*.py"))
    assert files
    found = {name for path in files for name in re.findall(r"tracemw\.viewer\.(\w+)", path.read_text())}
    assert found <= ALLOWED[room] | EVERYWHERE


def test_every_module_of_the_viewer_stands_in_the_way_through_its_room() -> None:
    for guide in ROOT.rglob("__init__.py"):
        text = guide.read_text()
        for module in guide.parent.glob("*.py"):
            assert module.stem == "__init__" or f"``{module.stem}``" in text, module

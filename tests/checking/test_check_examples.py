"""`tracemw check` passes for the examples."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from checking.conftest import Check

ROOT = Path(__file__).parents[2]
SERVICES = {
    path.stem: ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in sorted((ROOT / "examples").rglob("*.py"), reverse=True)
    if "demo" not in path.parts and re.search(r"^app = |^from .* import .*\bapp\b", path.read_text(), re.MULTILINE)
}
"""The services, by their names: of those with the same name, which are made alike, the first."""


def test_every_kind_of_example_is_there() -> None:
    assert {name.split(".")[1] for name in SERVICES.values()} == {"fastapi_app", "flask_app", "incidents"}


@pytest.mark.parametrize("service", SERVICES.values())
def test_an_example_passes(check: Check, service: str) -> None:
    found = check("", "--app-dir", str(ROOT), "--lifespan", target=f"{service}:app")
    assert (found["problems"], found["notes"], found["status"]) == ([], [], 0)
    assert all(client["traced"] for client in found["clients"])
    assert len(found["clients"]) >= ("payments" not in service)

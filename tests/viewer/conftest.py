"""What the viewer's tests share: a running viewer for each test that asks, or one for a whole module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .running import Viewer, viewer
from .samples import one


@pytest.fixture(name="viewer")
def running_viewer() -> Iterator[Viewer]:
    with viewer() as running:
        yield running


@pytest.fixture(name="attacked", scope="module")
def viewer_that_is_attacked() -> Iterator[Viewer]:
    """One viewer for all attacks of a module that leave nothing behind."""
    with viewer() as running:
        running.send(one(1, name="a" * 40 + "!", note="x" * 60_000)).raise_for_status()
        yield running

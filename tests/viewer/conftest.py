"""What the viewer's tests share: one running viewer for each test that asks."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .running import Viewer, viewer


@pytest.fixture(name="viewer")
def running_viewer() -> Iterator[Viewer]:
    with viewer() as running:
        yield running

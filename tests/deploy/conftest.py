from __future__ import annotations

import pytest

from deploy.emitted import Emitted, emit


@pytest.fixture(scope="package")
def emitted() -> Emitted:
    """What a real service has sent."""
    return emit()

"""What the tests of the doctor share: an environment without settings of the machine."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave no setting of this machine, and none of other tests."""
    ours = ("OTEL_", "TRACEMW_", "TEMPO_ENDPOINT", "SERVICE_VERSION", "ENVIRONMENT")
    for name in list(os.environ):
        if name.startswith(ours) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")

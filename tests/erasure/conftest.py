"""What these tests share: the keys of the services."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .tempo import Tempo, tempo_serving
from .users import VARIABLE


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMW_PSEUDONYM_KEY", VARIABLE)


@pytest.fixture
def tempo() -> Iterator[Tempo]:
    with tempo_serving() as serving:
        yield serving

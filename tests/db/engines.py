"""Engines of tests end with their test: from Python 3.13 on, sqlite3 warns of connections that nobody has closed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Engine


@pytest.fixture(autouse=True)
def _engines_end_with_their_test(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    made: list[Engine] = []
    init = Engine.__init__

    def noting(engine: Engine, *args: Any, **options: Any) -> None:
        init(engine, *args, **options)
        made.append(engine)

    monkeypatch.setattr(Engine, "__init__", noting)
    yield
    for engine in made:
        if engine.dialect.driver == "pysqlite":
            engine.dispose()

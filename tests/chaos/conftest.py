"""What all of these tests share: the backend's process and the untraced services."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chaos.running import Backend, Server, Service, certificates_in, serving


@pytest.fixture(scope="package")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where certificates, logs and final stats are."""
    made = tmp_path_factory.mktemp("chaos")
    certificates_in(made)
    return made


@pytest.fixture(scope="package")
def backend(folder: Path) -> Iterator[Backend]:
    """The process of the misbehaving backend."""
    with Backend(folder) as running:
        yield running


@pytest.fixture(scope="package")
def references(folder: Path) -> Iterator[dict[Server, Service]]:
    """The untraced service under each server."""
    with serving("uvicorn", folder) as asgi, serving("gunicorn", folder) as wsgi:
        yield {"uvicorn": asgi, "gunicorn": wsgi}

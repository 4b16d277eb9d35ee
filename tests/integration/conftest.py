"""The backend that the multi-service test is pointed at: the viewer, unless the options name another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from viewer.running import viewer

from .backends import Backend


def pytest_addoption(parser: pytest.Parser) -> None:
    # Options, and not variables: TEMPO_ENDPOINT may be set for other reasons while `make test` runs.
    group = parser.getgroup("tempo", "the Tempo that the multi-service test uses in place of the viewer")
    group.addoption("--tempo-url", help="its query API, such as http://tempo:3200")
    group.addoption("--tempo-endpoint", help="its OTLP over HTTP, such as http://tempo:4318")
    group.addoption("--tempo-tenant", help="the tenant to be, if it has several")


@pytest.fixture(scope="module")
def backend(request: pytest.FixtureRequest) -> Iterator[Backend]:
    url, endpoint, tenant = (
        request.config.getoption(name, None) for name in ("tempo_url", "tempo_endpoint", "tempo_tenant")
    )
    if url and endpoint:
        yield Backend(url, endpoint, tenant)
    else:
        with viewer() as running:
            yield Backend(running.url, running.url)

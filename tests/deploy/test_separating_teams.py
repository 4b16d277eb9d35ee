"""separate_teams.py gives each team its own organization, over HTTP, with what answers as Grafana's API does."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deploy.stack import DEPLOY, dashboards, data_sources, teams
from servers import uvicorn_serving

PASSWORD = "of the administrator"


class StandIn:
    """A Grafana, as far as the script asks it: organizations, and in each of them data sources and dashboards."""

    def __init__(self) -> None:
        self.names = {"Main Org.": 1}
        self.sources: dict[int, dict[str, dict[str, Any]]] = {1: {}}
        self.boards: dict[int, dict[str, Any]] = {1: {}}
        for source in (source for sources in data_sources().values() for source in sources):
            told = {key: value for key, value in source.items() if key != "secureJsonData"}
            self.sources[1][source["uid"]] = {**told, "id": len(self.sources[1]) + 1, "orgId": 1, "readOnly": True}
        self.app = Starlette(
            routes=[
                Route("/api/orgs", self._make_organization, methods=["POST"]),
                Route("/api/orgs/name/{name}", self._organization),
                Route("/api/datasources", self._list_sources, methods=["GET"]),
                Route("/api/datasources", self._put_source, methods=["POST"]),
                Route("/api/datasources/uid/{uid}", self._source, methods=["GET"]),
                Route("/api/datasources/uid/{uid}", self._put_source, methods=["PUT"]),
                Route("/api/dashboards/db", self._put_board, methods=["POST"]),
            ]
        )

    @staticmethod
    def _within(request: Request) -> int:
        expected = base64.b64encode(f"admin:{PASSWORD}".encode()).decode()
        if request.headers["authorization"] != f"Basic {expected}":
            raise PermissionError
        return int(request.headers["x-grafana-org-id"])

    async def _make_organization(self, request: Request) -> Response:
        self._within(request)
        name = (await request.json())["name"]
        if name in self.names:
            return JSONResponse({"message": "Organization name taken"}, 409)
        number = self.names[name] = len(self.names) + 1
        self.sources[number], self.boards[number] = {}, {}
        return JSONResponse({"orgId": number, "message": "Organization created"})

    async def _organization(self, request: Request) -> Response:
        self._within(request)
        number = self.names.get(request.path_params["name"])
        return JSONResponse({"message": "not found"}, 404) if number is None else JSONResponse({"id": number})

    async def _list_sources(self, request: Request) -> Response:
        return JSONResponse(list(self.sources[self._within(request)].values()))

    async def _source(self, request: Request) -> Response:
        found = self.sources[self._within(request)].get(request.path_params["uid"])
        return JSONResponse({"message": "Data source not found"}, 404) if found is None else JSONResponse(found)

    async def _put_source(self, request: Request) -> Response:
        body = await request.json()
        there = self.sources[self._within(request)]
        if (request.method == "PUT") != (body["uid"] in there):
            return JSONResponse({"message": "data source with the same uid already exists"}, 409)
        there[body["uid"]] = body
        return JSONResponse({"message": "Datasource added"})

    async def _put_board(self, request: Request) -> Response:
        body = await request.json()
        self.boards[self._within(request)][body["dashboard"]["uid"]] = body["dashboard"]
        return JSONResponse({"status": "success"})


async def refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"message": "Invalid username or password"}, 401)


@pytest.fixture
def grafana() -> StandIn:
    return StandIn()


@pytest.fixture
def url(grafana: StandIn) -> Iterator[str]:
    grafana.app.add_exception_handler(PermissionError, refused)
    with uvicorn_serving(grafana.app) as url:
        yield url


def separate(url: str, *arguments: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(DEPLOY / "grafana/separate_teams.py"), "--url", url, *arguments]
    return subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, check=False, timeout=60)


def test_a_team_gets_its_own_data_sources_and_the_dashboards_and_nothing_of_others(grafana: StandIn, url: str) -> None:
    ended = separate(url)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert set(grafana.names) == {"Main Org.", *teams()}
    for team in teams():
        there = grafana.sources[grafana.names[team]]
        assert set(there) == {f"traces-{team}", f"metrics-{team}", f"logs-{team}"}
        for source in there.values():
            assert source["secureJsonData"] == {"httpHeaderValue1": team}
            assert source["jsonData"]["httpHeaderName1"] == "X-Scope-OrgID"
            assert not {"id", "orgId", "readOnly"} & set(source)
        shown = {board["uid"] for board in dashboards().values()}
        assert set(grafana.boards[grafana.names[team]]) == shown - {"tracemw-stack"}
    assert grafana.boards[1] == {}


def test_what_a_team_gets_asks_no_data_source_of_others(grafana: StandIn, url: str) -> None:
    assert separate(url).returncode == 0
    for team in teams():
        number = grafana.names[team]
        assert "metrics-operators" not in str(grafana.boards[number])
        assert not any(other in str(grafana.sources[number]) for other in teams() - {team})


def test_a_second_run_changes_nothing(grafana: StandIn, url: str) -> None:
    assert separate(url).returncode == 0
    before = str((grafana.names, grafana.sources, grafana.boards))
    assert separate(url).returncode == 0
    assert str((grafana.names, grafana.sources, grafana.boards)) == before


def test_the_certificate_of_the_authority_goes_to_data_sources_that_speak_tls(
    grafana: StandIn, url: str, tmp_path: Any
) -> None:
    import trustme

    file = tmp_path / "ca.crt"
    trustme.CA().cert_pem.write_to_path(str(file))
    assert separate(url, "--authority", str(file)).returncode == 0
    there = grafana.sources[grafana.names["shop"]]
    assert there["traces-shop"]["secureJsonData"]["tlsCACert"] == file.read_text()
    assert "tlsCACert" not in there["metrics-shop"]["secureJsonData"]


def test_a_wrong_password_changes_nothing_and_is_told(grafana: StandIn, url: str) -> None:
    ended = separate(url, password="guessed")
    assert ended.returncode == 2
    assert "is the password right?" in ended.stderr
    assert "guessed" not in ended.stderr
    assert set(grafana.names) == {"Main Org."}


def test_a_grafana_that_does_not_answer_is_told() -> None:
    ended = separate("http://127.0.0.1:9")
    assert ended.returncode == 2
    assert "does not answer at http://127.0.0.1:9" in ended.stderr

"""Admission: where other machines may connect, requests show a token and call the viewer by its names."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import httpx
import pytest
from playwright.sync_api import Browser, expect
from starlette.routing import Mount, Route

from analysis.commands import run
from tracemw.viewer.app import create_app
from tracemw.viewer.storing.store import Store

from .conftest import page_of
from .running import PROTOBUF, Viewer, viewer
from .samples import hex_id, one, request

TOKEN = "a-token.of_the~tests"
BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(name="guarded", scope="module")
def viewer_with_a_token() -> Iterator[Viewer]:
    with viewer("--token", TOKEN) as running:
        running.http.post(
            "/v1/traces", content=request(one()).SerializeToString(), headers={**PROTOBUF, **BEARER}
        ).raise_for_status()
        yield running


def paths() -> Iterator[tuple[str, str]]:
    """Every route of the viewer, as a method and a path."""
    store = Store()
    try:
        routes = create_app(store).routes
    finally:
        store.close()
    for route in routes:
        if isinstance(route, Mount):
            yield "GET", f"{route.path}/app.js"
        elif isinstance(route, Route):
            for method in sorted(route.methods or ()):
                yield method, re.sub(r"\{.*?\}", "1", route.path)
    yield "GET", "/nothing/here"


def test_without_the_token_only_ready_is_answered(guarded: Viewer) -> None:
    for method, path in paths():
        response = guarded.http.request(method, path)
        assert response.status_code == (200 if path == "/ready" else 401), (method, path)
        if response.status_code == 401 and method != "HEAD":
            assert response.headers["www-authenticate"].startswith("Bearer")
            assert "open the address with ?token=" in response.text
            assert "Authorization: Bearer <token>" in response.text
            assert "default-src 'none'" in response.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (BEARER, 200),
        ({"authorization": f"bearer  {TOKEN}"}, 200),
        ({"authorization": "Bearer"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": TOKEN}, 401),
        ({"authorization": f"Bearer {TOKEN[:-1]}"}, 401),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": "Bearer \xff"}, 401),
        ({"cookie": f"tracemw_token_1={TOKEN}"}, 401),
        ({**BEARER, "origin": "http://evil.example"}, 403),
        ({**BEARER, "host": "rebound.example"}, 403),
    ],
)
def test_only_the_whole_token_is_admitted(guarded: Viewer, headers: dict[str, str], status: int) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    assert guarded.http.get("/api/search", headers=encoded).status_code == status
    sent = guarded.http.post("/v1/traces", headers=[*encoded, (b"content-type", b"application/x-protobuf")])
    assert sent.status_code == status


def test_the_token_in_an_address_opens_the_page_and_nothing_else(guarded: Viewer) -> None:
    def get(target: str) -> httpx.Response:
        guarded.http.cookies.clear()
        return guarded.http.get(target)

    opened = get(f"/trace/{hex_id(1)}?span=a%20b&token={TOKEN}&x=%26")
    assert (opened.status_code, opened.headers["location"]) == (303, f"/trace/{hex_id(1)}?span=a+b&x=%26")
    cookie = opened.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert get(f"/?token={TOKEN}").headers["location"] == "/"
    for target in (
        "/?token=",
        "/?token=wrong",
        f"/api/search?token={TOKEN}",
        f"{guarded.url}//evil.example?token={TOKEN}",
    ):
        assert get(target).status_code == 401, target
    assert guarded.http.post(f"/v1/traces?token={TOKEN}").status_code == 401


def test_the_page_works_in_a_browser_that_has_opened_the_address_with_the_token(
    guarded: Viewer, browser: Browser
) -> None:
    with page_of(browser, guarded.url) as page:
        page.goto(f"/?token={TOKEN}")
        page.get_by_role("link", name="work").first.click()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert TOKEN not in page.url
        assert TOKEN not in page.evaluate("document.cookie")
        page.reload()
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        (cookie,) = page.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")


def test_a_browser_without_the_token_is_told_what_to_do(guarded: Viewer, browser: Browser) -> None:
    context = browser.new_context()
    page = context.new_page()
    answer = page.goto(guarded.url)
    assert answer is not None
    assert answer.status == 401
    expect(page.get_by_text("this viewer asks for its token")).to_be_visible()
    context.close()


@contextmanager
def other_site(link: str) -> Iterator[str]:
    """A web page on another site, with a link."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(f'<title>other</title><a href="{link}">a link</a>'.encode())

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_link_on_another_site_leads_to_the_page_of_a_browser_that_has_the_token(
    guarded: Viewer, browser: Browser
) -> None:
    context = browser.new_context()
    page = context.new_page()
    with other_site(f"{guarded.url}/trace/{hex_id(1)}") as site:
        page.goto(site)
        page.get_by_text("a link").click()
        expect(page.get_by_text("this viewer asks for its token")).to_be_visible()
        page.goto(f"{guarded.url}/?token={TOKEN}")
        page.goto(site)
        page.get_by_text("a link").click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("work")
    context.close()


def command(*arguments: str, headers: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OTEL_EXPORTER_OTLP_HEADERS": headers}
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=60, check=False, env=environment
    )


_SERVICE = """
import sys, tracemw
tracing = tracemw.init(service="traced", endpoint=sys.argv[1])
with tracemw.span("sent with the token"):
    pass
assert tracemw.shutdown()
print(tracing.stats().exported)
"""


def test_one_variable_has_the_token_for_the_service_and_for_the_commands(
    guarded: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = f"Authorization=Bearer%20{TOKEN}"
    assert command("-c", _SERVICE, guarded.url, headers=headers).stdout == "1\n"
    monkeypatch.setenv("TRACEMW_PSEUDONYM_KEY", f"2026a:{'k' * 43}=")
    for asked in (("analyze", hex_id(1)), ("forget", "alice@example.com", "--dry-run")):
        found = command("-m", "tracemw", *asked, "--url", guarded.url, headers=headers)
        assert found.returncode == 0, found.stderr
        refused = command("-m", "tracemw", *asked, "--url", guarded.url)
        assert refused.returncode == 2
        assert "401" in refused.stderr
        assert "OTEL_EXPORTER_OTLP_HEADERS" in refused.stderr


def lines_of(running: Viewer) -> list[str]:
    """What a viewer has printed after its first line. The viewer ends."""
    assert running.stop() == 0
    assert running.process.stdout is not None
    return list(running.process.stdout)


def test_where_others_may_connect_a_new_token_is_printed_once_and_demanded() -> None:
    with viewer("--host", "0.0.0.0") as running:
        assert running.http.get("/api/search").status_code == 401
        warning, address = lines_of(running)
    assert warning.startswith("warning: other machines may connect")
    port = running.url.rpartition(":")[2]
    token = re.fullmatch(
        rf"the page, with the token of this run: http://127.0.0.1:{port}/\?token=(\S{{40,}})\n", address
    )
    assert token is not None
    with viewer("--host", "0.0.0.0") as running:
        (other,) = re.findall(r"token=(\S+)", lines_of(running)[1])
    assert other != token[1]


def test_a_token_that_was_given_is_never_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMW_VIEWER_TOKEN", TOKEN)
    with viewer("--host", "0.0.0.0", stderr=subprocess.STDOUT) as running:
        assert running.http.get(f"/?token={TOKEN}").status_code == 303
        assert running.http.get("/api/search", headers=BEARER).status_code == 200
        assert running.http.get(f"/api/nothing?token={TOKEN}").status_code == 404  # the cookie admits
        assert TOKEN not in "".join(lines_of(running))
    for wrong in ("short", "with spaces in the middle of it", "päßword-of-many-letters"):
        refused = run("view", "--port", "0", "--token", wrong)
        assert refused.returncode == 2
        assert "the token is not accepted" in refused.stderr
        assert wrong not in refused.stderr


def test_an_empty_token_is_refused_and_does_not_stand_for_none() -> None:
    refused = run("view", "--port", "0", "--token", "")  # as an unset variable of a shell makes it
    assert refused.returncode == 2
    assert "the token is not accepted" in refused.stderr


def test_on_the_loopback_interface_no_token_is_demanded_and_nothing_more_printed() -> None:
    with viewer() as running:
        assert running.http.get("/api/search").status_code == 200
        assert lines_of(running) == []


def test_where_others_may_connect_the_viewer_goes_by_its_machines_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMW_VIEWER_TOKEN", TOKEN)
    with viewer("--host", "0.0.0.0") as running:
        for host in (socket.gethostname(), socket.getfqdn(), "localhost", "192.0.2.7:80", "[2001:db8::1]"):
            assert running.http.get("/ready", headers={"host": host}).status_code == 200, host
        refused = running.http.get("/ready", headers={"host": "rebound.example"})
        assert refused.status_code == 403
        assert "--allowed-host" in refused.text


def test_allowed_hosts_stand_in_place_of_the_machines_names() -> None:
    with viewer("--allowed-host", "Traces.example", "--allowed-host", "viewer") as running:
        for host, status in (
            ("traces.example", 200),
            ("TRACES.example.:4318", 200),
            ("viewer:1", 200),
            ("localhost", 200),
            ("other.example", 403),
            (f"not-{socket.gethostname()}", 403),
        ):
            assert running.http.get("/ready", headers={"host": host}).status_code == status, host
    refused = run("view", "--allowed-host", "http://traces.example")
    assert refused.returncode == 2
    assert "without http://" in refused.stderr

"""Isolation from the web pages of others: they reach nothing, and links may lead to the page."""

from __future__ import annotations

import socket

import pytest

from tracemw.viewer.isolation import is_called

from .running import Viewer
from .samples import hex_id

BROWSERS = [
    ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}, 403),
    ({"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 403),
    ({"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 403),
    ({"origin": "http://evil.example"}, 403),
    ({"origin": "null"}, 403),
    ({"origin": "http://[evil"}, 403),
    ({"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}, 200),
    ({"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}, 200),
    ({}, 200),
]


@pytest.mark.parametrize(("headers", "status"), BROWSERS)
def test_a_web_page_of_another_origin_reaches_nothing(attacked: Viewer, headers: dict[str, str], status: int) -> None:
    for path in (
        "/api/search?q={}",
        "/api/traces/1",
        "/api/v2/traces/1",
        "/api/search/tags",
        "/viewer/traces",
        "/viewer/status",
    ):
        assert attacked.http.get(path, headers=headers).status_code == status, path
    for content_type in ("application/json", "text/plain"):
        response = attacked.http.post("/v1/traces", content="{}", headers={**headers, "content-type": content_type})
        assert response.status_code == (415 if status == 200 and content_type == "text/plain" else status)


def test_a_link_on_another_page_leads_to_the_viewers_own_page_and_a_frame_does_not(attacked: Viewer) -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    for path, status in (("/", 200), (f"/trace/{hex_id(1)}", 200), ("/viewer/traces", 403), ("/page/app.js", 403)):
        assert attacked.http.get(path, headers=link).status_code == status
        assert attacked.http.get(path, headers={**link, "sec-fetch-dest": "iframe"}).status_code == 403


def test_foreign_host_names_are_refused(viewer: Viewer) -> None:
    port = viewer.url.rpartition(":")[2]
    for host, status in (
        (f"localhost:{port}", 200),
        (f"127.0.0.1:{port}", 200),
        (f"[::1]:{port}", 200),
        (f"rebound.example:{port}", 403),
        ("127.0.0.1.rebound.example", 403),
        ("localhost.rebound.example", 403),
        ("[::1].rebound.example", 403),
    ):
        assert viewer.http.get("/ready", headers={"host": host}).status_code == status, host


@pytest.mark.parametrize(
    ("request_line", "hosts", "status"),
    [
        (b"GET http://rebound.example/ready HTTP/1.1", [b"localhost"], 404),
        (b"GET http://localhost/ready HTTP/1.1", [b"rebound.example"], 403),
        (b"GET /ready HTTP/1.1", [b"localhost", b"rebound.example"], 400),
        (b"GET /ready HTTP/1.1", [], 400),
        (b"GET /ready HTTP/1.0", [], 403),
    ],
)
def test_no_way_of_writing_a_request_leads_around_the_host_header(
    viewer: Viewer, request_line: bytes, hosts: list[bytes], status: int
) -> None:
    head = b"\r\n".join([request_line, *(b"Host: " + host for host in hosts), b"Connection: close", b"", b""])
    with socket.create_connection(("127.0.0.1", int(viewer.url.rpartition(":")[2])), timeout=60) as connection:
        connection.sendall(head)
        answer = connection.makefile("rb").readline()
    assert answer.split()[1] == str(status).encode()


def test_every_response_forbids_foreign_scripts_and_sniffing(viewer: Viewer) -> None:
    for path in ("/", "/trace/1", "/page/app.js", "/api/search", "/nothing/here", "/api/traces/zz"):
        headers = viewer.http.get(path).headers
        assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:4318", "10.0.0.7:80", "localhost."])
def test_a_host_header_with_a_local_name_or_an_address_is_local(host: str) -> None:
    assert is_called(host, {"localhost"})


@pytest.mark.parametrize(
    "host", ["", "evil.example", "127.0.0.1.evil.example", "[::1].evil.example", "localhost:x", "::1"]
)
def test_a_host_header_with_any_other_name_is_not_local(host: str) -> None:
    assert not is_called(host, {"localhost"})

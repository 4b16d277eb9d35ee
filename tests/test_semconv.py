"""Facts of a request -> names, attributes and status: pure functions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracemw._http.facts import RequestFacts
from tracemw._http.semconv import (
    client_attributes,
    client_error_type,
    is_header_name,
    method_attributes,
    server_attributes,
    server_error_type,
    span_name,
    split_host,
)
from tracemw._otel.attributes import whole
from tracemw._otel.exceptions import exception_type
from tracemw.config import KNOWN_METHODS
from tracemw.redaction.urls import redact_query, redact_url

SIGNATURE_KEYS = [
    "AWSAccessKeyId",
    "Signature",
    "X-Amz-Credential",
    "X-Amz-Security-Token",
    "X-Amz-Signature",
    "X-Goog-Signature",
    "sig",
]


class Headers:
    def __init__(self, **values: str) -> None:
        self._values = {name.replace("_", "-"): value for name, value in values.items()}

    def get(self, name: str, /) -> list[str]:
        return [self._values[name]] if name in self._values else []

    def keys(self) -> list[str]:
        return list(self._values)


def facts(**more: Any) -> RequestFacts:
    return RequestFacts(**{"method": "GET", "path": "/", "query": "", "scheme": "http", "headers": Headers(), **more})


@pytest.mark.parametrize(
    ("method", "target", "name"),
    [
        ("GET", "/checkout/{order_id}", "GET /checkout/{order_id}"),
        ("QUERY", None, "QUERY"),
        ("BREW", "/pot", "HTTP /pot"),
        ("get", None, "HTTP"),
        ("GET", "", "GET"),
    ],
)
def test_a_span_is_named_by_method_and_route(method: str, target: str | None, name: str) -> None:
    assert span_name(method, target, KNOWN_METHODS) == name


def test_an_unknown_method_keeps_its_original_beside_it() -> None:
    assert method_attributes("BREW", KNOWN_METHODS) == {
        "http.request.method": "_OTHER",
        "http.request.method_original": "BREW",
    }
    assert method_attributes("BREW", frozenset({"BREW"})) == {"http.request.method": "BREW"}


@pytest.mark.parametrize(
    ("status", "server", "client"),
    [
        (None, None, None),
        (101, None, None),
        (304, None, None),
        (404, None, "404"),
        (500, "500", "500"),
        (599, "599", "599"),
    ],
)
def test_4xx_is_an_error_for_the_client_alone(status: int | None, server: str | None, client: str | None) -> None:
    assert server_error_type(status) == server
    assert client_error_type(status) == client


def test_an_exception_is_told_by_its_fully_qualified_class() -> None:
    class LocalError(Exception):
        pass

    assert exception_type(ValueError()) == "ValueError"
    assert exception_type(LocalError()) == f"{__name__}.{LocalError.__qualname__}"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("shop.example", ("shop.example", None)),
        ("shop.example:8080", ("shop.example", 8080)),
        (" shop.example ", ("shop.example", None)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("[::1]", ("::1", None)),
        ("[::1]:8080", ("::1", 8080)),
        ("[fe80::1%eth0]:1", ("fe80::1%eth0", 1)),
        ("caf\xe9.example", ("caf\xe9.example", None)),
        ("", None),
        (":80", None),
        ("::1", None),
        ("[::1", None),
        ("shop.example:", None),
        ("shop.example:http", None),
        ("shop.example:99999", None),
        ("shop.example:123456", None),
        ("shop.example:\N{ARABIC-INDIC DIGIT THREE}", None),
        ("user@shop.example", None),
        ("shop.example/path", None),
        ("shop example", None),
    ],
)
def test_a_host_header_is_split_into_address_and_port(value: str, expected: tuple[str, int | None] | None) -> None:
    assert split_host(value) == expected


@given(st.text())
def test_any_host_header_can_be_split(value: str) -> None:
    split = split_host(value)
    if split is not None:
        address, port = split
        assert address
        assert address in value
        assert port is None or 0 <= port <= 65535


@given(st.from_regex(r"[a-z0-9.-]{1,20}", fullmatch=True), st.integers(0, 65535))
def test_a_host_and_its_port_come_apart_as_they_were_put_together(host: str, port: int) -> None:
    assert split_host(f"{host}:{port}") == (host, port)


@pytest.mark.parametrize("key", SIGNATURE_KEYS)
def test_signatures_are_redacted_and_keys_stay(key: str) -> None:
    assert redact_query(f"a=1&{key}=secret%3D&b") == f"a=1&{key}=REDACTED&b"
    assert redact_query(f"{key}={key}") == f"{key}=REDACTED"
    assert redact_query(f"{key.swapcase()}=shown") == f"{key.swapcase()}=shown"
    escaped = "".join(f"%{ord(character):02X}" for character in key)
    assert redact_query(f"{escaped}=secret") == f"{escaped}=REDACTED"


@pytest.mark.parametrize(
    ("url", "redacted"),
    [
        ("http://shop.example/a?b=c", "http://shop.example/a?b=c"),
        ("http://user:pw@shop.example/a", "http://REDACTED:REDACTED@shop.example/a"),
        ("http://user@shop.example", "http://REDACTED:REDACTED@shop.example"),
        ("http://a@b@shop.example:1/x@y", "http://REDACTED:REDACTED@shop.example:1/x@y"),
        ("https://shop.example?sig=s#frag", "https://shop.example?sig=REDACTED"),
        ("http://shop.example/?next=http://u:p@x/", "http://shop.example/?next=http://u:p@x/"),
    ],
)
def test_credentials_are_redacted_and_the_rest_of_a_url_stays(url: str, redacted: str) -> None:
    assert redact_url(url) == redacted


pairs = st.lists(
    st.tuples(st.one_of(st.sampled_from(SIGNATURE_KEYS), st.text("abcXYZ%=+-", max_size=8)), st.text(max_size=8)),
    max_size=6,
)


@given(pairs)
def test_redacting_a_query_keeps_all_but_the_signatures(given_pairs: list[tuple[str, str]]) -> None:
    given_pairs = [(key, value.replace("&", "")) for key, value in given_pairs]
    query = "&".join(f"{key}={value}" for key, value in given_pairs)
    redacted = redact_query(query)
    assert redact_query(redacted) == redacted
    after = redacted.split("&")
    before = query.split("&")
    assert len(after) == len(before)
    for old, new in zip(before, after, strict=True):
        key = old.partition("=")[0]
        assert new == (f"{key}=REDACTED" if key in SIGNATURE_KEYS else old)


@given(st.text())
def test_any_query_and_any_url_can_be_redacted(text: str) -> None:
    assert redact_query(redact_query(text)) == redact_query(text)
    redact_url(text)


@given(
    user=st.text("abc:%", min_size=1, max_size=8),
    host=st.from_regex(r"[a-z.]{1,10}", fullmatch=True),
    rest=st.text("abc/@:.", max_size=10),
)
def test_no_user_name_or_password_stays_in_a_url(user: str, host: str, rest: str) -> None:
    assert redact_url(f"http://{user}@{host}/{rest}") == f"http://REDACTED:REDACTED@{host}/{rest}"


@pytest.mark.parametrize(
    ("name", "valid"), [("x-trace-id", True), ("a", True), ("", False), ("a b", False), ("a:", False)]
)
def test_a_header_name_is_a_token(name: str, valid: bool) -> None:
    assert is_header_name(name) is valid


def whole_attributes(asked: RequestFacts, known: frozenset[str]) -> dict[str, Any]:
    return whole(server_attributes(asked, known))


class TestServerAttributes:
    def test_take_the_host_header_before_the_servers_address(self) -> None:
        asked = facts(host="shop.example:81", server=("10.0.0.1", 8000), scheme="https")
        attributes = whole_attributes(asked, KNOWN_METHODS)
        assert (attributes["server.address"], attributes["server.port"]) == ("shop.example", 81)

    def test_take_the_schemes_port_when_the_host_header_has_none(self) -> None:
        for scheme, port in {"http": 80, "https": 443, "ws": 80, "wss": 443}.items():
            asked = facts(host="shop.example", scheme=scheme)
            assert whole_attributes(asked, KNOWN_METHODS)["server.port"] == port

    def test_hold_nothing_that_is_not_known(self) -> None:
        assert whole_attributes(facts(), KNOWN_METHODS) == {
            "http.request.method": "GET",
            "url.path": "/",
            "url.scheme": "http",
        }

    def test_hold_a_peer_without_a_port(self) -> None:
        attributes = whole_attributes(facts(peer=("/run/client.sock", None)), KNOWN_METHODS)
        assert attributes["client.address"] == "/run/client.sock"
        assert "network.peer.port" not in attributes


class TestClientRequest:
    @pytest.mark.parametrize(
        ("url", "address", "port"),
        [
            ("http://shop.example/", "shop.example", 80),
            ("https://shop.example:444/", "shop.example", 444),
            ("https://[::1]/", "::1", 443),
            ("http://shop.example:port/", "shop.example", 80),
        ],
    )
    def test_always_hold_address_and_port(self, url: str, address: str, port: int) -> None:
        attributes = client_attributes("GET", url, KNOWN_METHODS)
        assert (attributes["server.address"], attributes["server.port"]) == (address, port)
        assert attributes["url.full"] == url

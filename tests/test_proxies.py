"""Who really called, through trusted proxies."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls import ask, http_scope
from conftest import Recorded
from test_asgi import ok
from test_propagation import Carrier
from tracemw._http.facts import RequestFacts
from tracemw._http.proxies import Origin, TrustedProxies
from tracemw.asgi import TraceMiddleware


def facts(peer: str | None, *headers: tuple[str, str]) -> RequestFacts:
    return RequestFacts("GET", "/", "", "http", Carrier(*headers), peer=(peer, 1234) if peer is not None else None)


XFF = "x-forwarded-for"


def origin(proxies: str | list[str], peer: str | None, *headers: tuple[str, str], header: str = XFF) -> Origin:
    return TrustedProxies(proxies, header).origin(facts(peer, *headers))


async def test_a_predicate_that_skips_sees_through_them(recorded: Recorded) -> None:
    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https")]
    seen: list[RequestFacts] = []

    def skip(facts: RequestFacts) -> bool:
        seen.append(facts)
        return True

    await ask(TraceMiddleware(ok, skip=skip, trusted_proxies="*"), headers=headers)
    assert [(facts.client, facts.scheme) for facts in seen] == [("203.0.113.9", "https")]
    assert recorded.all == []


def test_nobody_is_trusted_by_default() -> None:
    assert TrustedProxies().origin(facts("10.0.0.1", (XFF, "203.0.113.7"))) == Origin()
    assert not TrustedProxies()


def test_an_untrusted_peer_can_say_what_it_likes() -> None:
    assert origin("10.0.0.0/8", "203.0.113.9", (XFF, "1.2.3.4"), ("forwarded", "for=1.2.3.4")) == Origin()


@pytest.mark.parametrize(
    ("header", "client"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("6.6.6.6, 203.0.113.7", "203.0.113.7"),
        ("203.0.113.7, 10.0.0.2, 10.0.0.3", "203.0.113.7"),
        ("10.0.0.9, 10.0.0.2", "10.0.0.9"),
        ("203.0.113.7:4711", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:203.0.113.7", "203.0.113.7"),
        ("[::ffff:203.0.113.7]:4711", "203.0.113.7"),
        ("unknown", None),
        ("203.0.113.7, unknown, 10.0.0.2", None),
    ],
)
def test_the_client_is_the_last_address_that_is_not_a_trusted_proxy(header: str, client: str | None) -> None:
    assert origin("10.0.0.0/8", "10.0.0.1", (XFF, header)).client == client


async def test_a_server_that_calls_nobody_an_empty_text_is_on_a_unix_socket(recorded: Recorded) -> None:
    scope = {**http_scope(), "client": ("", "0"), "headers": [(b"x-forwarded-for", b"203.0.113.9")]}  # as granian does
    await ask(TraceMiddleware(ok, trusted_proxies="unix"), scope=scope)
    assert (recorded.server.attributes or {})["client.address"] == "203.0.113.9"


def test_several_headers_are_one_list() -> None:
    assert origin("10.0.0.0/8", "10.0.0.1", (XFF, "203.0.113.7"), (XFF, "10.0.0.2")).client == "203.0.113.7"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("for=203.0.113.7;proto=https;host=shop.example", Origin("203.0.113.7", "https", "shop.example")),
        ('For="[2001:db8::1]:4711" ; Proto=https', Origin("2001:db8::1", "https")),
        (
            'for=6.6.6.6, for=203.0.113.7;host="shop.example:8443", for=10.0.0.2',
            Origin("203.0.113.7", None, "shop.example:8443"),
        ),
        ("for=_hidden;proto=https", Origin(None, "https")),
        (r'for=203.0.113.7;host="a\"b"', Origin("203.0.113.7", None, 'a"b')),
        ("for=203.0.113.7;;", Origin()),
        ("not a header", Origin()),
        ('for="unclosed', Origin()),
    ],
)
def test_the_forwarded_header_is_understood(header: str, expected: Origin) -> None:
    assert origin("10.0.0.0/8", "10.0.0.1", ("forwarded", header), header="forwarded") == expected


SENT = (
    ("forwarded", "for=6.6.6.1;proto=https;host=one.example"),
    (XFF, "6.6.6.2"),
    ("x-forwarded-proto", "https"),
    ("x-forwarded-host", "two.example"),
    ("x-real-ip", "6.6.6.3"),
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (XFF, Origin("6.6.6.2", "https", "two.example")),
        ("Forwarded", Origin("6.6.6.1", "https", "one.example")),
        ("x-real-ip", Origin("6.6.6.3")),
        ("cf-connecting-ip", Origin()),
    ],
)
def test_only_the_header_that_the_proxies_are_known_to_write_counts(header: str, expected: Origin) -> None:
    assert origin("10.0.0.0/8", "10.0.0.1", *SENT, header=header) == expected


def test_a_client_behind_a_proxy_that_passes_its_forwarded_header_on_cannot_forge_its_address() -> None:
    headers = (("forwarded", "for=6.6.6.6"), (XFF, "203.0.113.7"))
    assert origin("10.0.0.0/8", "10.0.0.1", *headers).client == "203.0.113.7"


@pytest.mark.parametrize("header", ["", "x forwarded for", "x-forwarded-for:", None, ("forwarded",)])
def test_a_name_that_is_none_is_an_error_when_constructed(header: Any) -> None:
    with pytest.raises(ValueError, match=r"proxy_header=.*the one header"):
        TrustedProxies("*", header)


@pytest.mark.parametrize(
    "forged",
    ['for="', 'for="x', 'for="x\\', 'for="a,b', "for=x;;", "=", '"', "for=6.6.6.6;by=", 'for="6.6.6.6', ",,,", "\x00"],
)
def test_nothing_that_a_client_writes_hides_what_its_proxy_has_written_after_it(forged: str) -> None:
    for own in ("for=203.0.113.7;proto=https", 'for="203.0.113.7:80";proto=https'):
        joined = origin("10.0.0.0/8", "10.0.0.1", ("forwarded", f"{forged}, {own}"), header="forwarded")
        apart = origin("10.0.0.0/8", "10.0.0.1", ("forwarded", forged), ("forwarded", own), header="forwarded")
        assert joined == apart == Origin("203.0.113.7", "https")


def test_an_address_that_is_hidden_is_not_that_of_a_proxy_on_a_unix_socket() -> None:
    proxies = ["unix", "10.0.0.0/8"]
    assert origin(proxies, None, (XFF, "203.0.113.7, unix:, 10.0.0.2")).client == "203.0.113.7"
    assert origin(proxies, None, (XFF, "203.0.113.7, unknown, 10.0.0.2")).client is None


def test_the_port_that_the_client_asked_for_is_told_beside_the_host() -> None:
    told = ((XFF, "203.0.113.7"), ("x-forwarded-host", "shop.example"), ("x-forwarded-port", "8443"))
    assert origin("10.0.0.0/8", "10.0.0.1", *told).host == "shop.example:8443"
    assert origin("10.0.0.0/8", "10.0.0.1", told[0], ("x-forwarded-host", "a:1"), told[2]).host == "a:1"


HOSTILE = {
    "one hop beside the other": ", ".join(["10.0.0.2"] * 6000),
    "commas": "," * 60_000,
    "one long hop": "1" * 60_000,
    "blanks": " " * 60_000,
    "open quotes": 'for="' * 12_000,
    "quoted commas": 'for="' + "," * 60_000 + '"',
    "backslashes": 'for="' + "\\" * 60_000,
    "pairs": ";".join(["a=b"] * 15_000),
    "names": "a" * 60_000,
}


@pytest.mark.parametrize("header", [XFF, "forwarded"])
@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE.keys())
def test_sixty_kilobytes_of_header_cost_next_to_nothing(header: str, value: str) -> None:
    proxies = TrustedProxies(["10.0.0.0/8"], header)
    seen = facts("10.0.0.1", (header, value), ("x-forwarded-proto", value), ("x-forwarded-host", value))
    before = time.process_time()
    for _ in range(10):
        proxies.seen_through(seen)
    assert (time.process_time() - before) / 10 < 0.005  # all hops parsed cost 0.2


def test_hops_beyond_what_proxies_there_can_be_are_not_followed() -> None:
    chain = ", ".join(f"10.0.{index // 250}.{index % 250}" for index in range(1, 1000))
    assert origin("10.0.0.0/8", "10.0.0.1", (XFF, f"6.6.6.6, {chain}")).client is not None
    assert origin("10.0.0.0/8", "10.0.0.1", (XFF, f"6.6.6.6, {chain}")).client != "6.6.6.6"


def test_scheme_and_host_come_from_the_proxy_that_saw_the_client() -> None:
    headers = (
        (XFF, "6.6.6.6, 203.0.113.7, 10.0.0.2"),
        ("x-forwarded-proto", "gopher, https, http"),
        ("x-forwarded-host", "shop.example"),
    )
    assert origin("10.0.0.0/8", "10.0.0.1", *headers) == Origin("203.0.113.7", "https", "shop.example")


def test_scheme_alone_is_enough() -> None:
    assert origin("unix", None, ("x-forwarded-proto", "https")) == Origin(None, "https")


def test_ipv4_in_ipv6_is_the_ipv4_address() -> None:
    assert origin("10.0.0.0/8", "::ffff:10.0.0.1", (XFF, "203.0.113.7")).client == "203.0.113.7"


@pytest.mark.parametrize("proxies", ["proxy.example", ["10.0.0.0/8", "x"], "10.0.0.0/99"])
def test_what_is_no_address_is_an_error_when_constructed(proxies: str | list[str]) -> None:
    with pytest.raises(ValueError, match="an address, a network such as"):
        TrustedProxies(proxies)


@given(
    st.lists(st.tuples(st.sampled_from([XFF, "forwarded", "x-forwarded-proto", "x-forwarded-host"]), st.text())),
    st.sampled_from([XFF, "forwarded", "x-forwarded-host"]),
)
def test_no_header_fails_a_request(headers: list[tuple[str, str]], header: str) -> None:
    assert isinstance(origin("*", "10.0.0.1", *headers, header=header), Origin)

"""Who really called, through trusted proxies."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from calls import ask
from conftest import Recorded
from test_asgi import ok
from test_propagation import Carrier
from tracemw._http.proxies import Origin, TrustedProxies
from tracemw._http.semconv import RequestFacts
from tracemw.asgi import TraceMiddleware


def facts(peer: str | None, *headers: tuple[str, str]) -> RequestFacts:
    return RequestFacts("GET", "/", "", "http", Carrier(*headers), peer=(peer, 1234) if peer is not None else None)


def origin(proxies: str | list[str], peer: str | None, *headers: tuple[str, str]) -> Origin:
    return TrustedProxies(proxies).origin(facts(peer, *headers))


XFF = "x-forwarded-for"


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
        ("unknown", None),
        ("203.0.113.7, unknown, 10.0.0.2", None),
    ],
)
def test_the_client_is_the_last_address_that_is_not_a_trusted_proxy(header: str, client: str | None) -> None:
    assert origin("10.0.0.0/8", "10.0.0.1", (XFF, header)).client == client


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
    assert origin("10.0.0.0/8", "10.0.0.1", ("forwarded", header)) == expected


def test_forwarded_wins_over_x_forwarded() -> None:
    assert origin("*", "10.0.0.1", ("forwarded", "for=203.0.113.7"), (XFF, "6.6.6.6")).client == "203.0.113.7"


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


@given(st.lists(st.tuples(st.sampled_from([XFF, "forwarded", "x-forwarded-proto", "x-forwarded-host"]), st.text())))
def test_no_header_fails_a_request(headers: list[tuple[str, str]]) -> None:
    assert isinstance(origin("*", "10.0.0.1", *headers), Origin)

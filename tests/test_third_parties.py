"""The hosts that are called and told nothing; what clients make of it is in conformance/."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tracemw._http.third_parties import ThirdParties


@pytest.mark.parametrize(
    ("pattern", "url", "is_one"),
    [
        ("api.stripe.com", "https://api.stripe.com/v1/charges?x=1", True),
        ("api.stripe.com", "https://api.stripe.com", True),
        ("api.stripe.com", "https://api.stripe.com?x=https://shop.example/", True),
        ("api.stripe.com", "https://api.stripe.com.:443/", True),
        ("API.Stripe.com", "HTTPS://api.STRIPE.com/", True),
        ("api.stripe.com", "https://joe:sesame@api.stripe.com:8443/", True),
        ("api.stripe.com", "https://api.stripe.com@shop.example/", False),
        ("api.stripe.com", "https://shop.example/api.stripe.com", False),
        ("api.stripe.com", "https://api.stripe.com.shop.example/", False),
        ("api.stripe.com", "https://my-api.stripe.com/", False),
        ("api.stripe.com", "https://api-stripe.com/", False),
        ("*.openai.com", "https://eu.api.openai.com/v1", True),
        ("*.openai.com", "https://openai.com/", False),
        ("*.openai.com", "https://notopenai.com/", False),
        ("*", "http://anything/", True),
        ("10.*", "http://10.1.2.3/", True),
        ("api.stripe.com:443", "https://api.stripe.com/", True),
        ("api.stripe.com:80", "https://api.stripe.com/", False),
        ("api.stripe.com:8443", "https://api.stripe.com:8443/", True),
        ("[::1]", "http://[::1]:8080/", True),
        ("[::1]:8080", "http://[::1]:8080/", True),
        ("[::1]:8081", "http://[::1]:8080/", False),
        ("*.b\u00fccher.example", "https://api.xn--bcher-kva.example/", True),
        ("xn--bcher-kva.example", "https://b\u00fccher.example/", True),
        ("api.stripe.com", "file:///etc/hosts", False),
    ],
)
def test_a_call_is_one_of_a_third_party_by_its_host(pattern: str, url: str, is_one: bool) -> None:
    assert ThirdParties(["other.example", pattern]).called_by(url) is is_one


def test_any_iterable_of_hosts_is_taken_and_none_is_there_by_default() -> None:
    assert ThirdParties(host for host in ["api.stripe.com"])
    assert ThirdParties({"api.stripe.com": 1}).called_by("https://api.stripe.com/")
    assert not ThirdParties(())


def test_a_long_host_and_many_stars_take_no_time() -> None:
    parties = ThirdParties(["*a*a*a*a*a*a*a*a*b"])
    began = time.process_time()
    assert not parties.called_by(f"https://{'a' * 20000}/")
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("given", "error", "says"),
    [
        ("api.stripe.com", TypeError, r"such as \('api.stripe.com',\), not one string"),
        (None, TypeError, "third_parties takes hosts"),
        ([7], TypeError, "not int"),
        ([b"api.stripe.com"], TypeError, "not bytes"),
        (["https://api.stripe.com"], ValueError, "without a scheme or a path"),
        (["api.stripe.com/v1"], ValueError, "third_parties='api.stripe.com/v1' is not accepted; use a host"),
        (["api.stripe.com:port"], ValueError, "is not accepted; use a host"),
        (["api.stripe.com:70000"], ValueError, "is not accepted; use a host"),
        ([""], ValueError, "is not accepted; use a host"),
        (["api stripe"], ValueError, "is not accepted; use a host"),
    ],
)
def test_what_cannot_be_third_parties_is_refused_with_the_remedy(given: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        ThirdParties(given)

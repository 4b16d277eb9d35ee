"""The proxy that exports go through."""

from __future__ import annotations

import pytest

from settings.resolving import resolve, url_of


@pytest.mark.parametrize(
    ("endpoint", "environment", "proxy"),
    [
        ("http://tempo:4318", {}, None),
        ("http://tempo:4318", {"HTTP_PROXY": "http://p:3128", "HTTPS_PROXY": "http://q"}, "http://p:3128"),
        ("https://tempo:4318", {"HTTP_PROXY": "http://p:3128", "HTTPS_PROXY": "http://q"}, "http://q"),
        ("http://tempo:4318", {"http_proxy": "p:3128"}, "http://p:3128"),
        ("http://tempo:4318", {"HTTP_PROXY": "http://p", "REQUEST_METHOD": "GET"}, None),
        ("http://tempo:4318", {"HTTP_PROXY": "http://p", "REQUEST_METHOD": ""}, None),
        ("http://tempo:4318", {"HTTP_PROXY": "", "http_proxy": "http://p", "REQUEST_METHOD": "GET"}, "http://p"),
        ("http://tempo:4318", {"HTTP_PROXY": "no URL", "http_proxy": "http://p", "REQUEST_METHOD": "GET"}, "http://p"),
        ("https://tempo:4318", {"HTTPS_PROXY": "http://q", "REQUEST_METHOD": "GET"}, "http://q"),
        ("http://tempo:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "*"}, None),
        ("http://tempo:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "a, tempo"}, None),
        ("http://tempo.monitoring:4318", {"HTTP_PROXY": "http://p", "no_proxy": ".monitoring"}, None),
        ("http://10.1.2.3:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8,::1"}, None),
        ("http://11.1.2.3:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "10.0.0.0/8,tempo"}, "http://p"),
        ("http://nottempo:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "tempo,.tempo,*.tempo"}, "http://p"),
        ("http://a.tempo:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "tempo"}, None),
        ("http://a.tempo:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "*.tempo"}, None),
        ("http://tempo:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "Tempo:4318"}, None),
        ("http://tempo:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "tempo:4317,x:4318"}, "http://p"),
        ("http://tempo", {"HTTP_PROXY": "http://p", "NO_PROXY": "tempo:80"}, None),
        ("https://a.tempo", {"HTTPS_PROXY": "http://p", "NO_PROXY": "*.tempo:443"}, None),
        ("http://10.1.2.3:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "10.1.2.3:4318"}, None),
        ("http://[::1]:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "[::1]"}, None),
        ("http://[::1]:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "::1"}, None),
        ("http://[::1]:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "[::1]:4318"}, None),
        ("http://[::1]:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "[::1]:4317,[::2]"}, "http://p"),
        ("http://[fd00::1]:4318", {"HTTP_PROXY": "http://p", "NO_PROXY": "fd00::/8"}, None),
        ("http://tempo:4318", {"http_proxy": "http://p", "HTTP_PROXY": "http://q"}, "http://p"),
        ("https://tempo:4318", {"https_proxy": "http://p", "HTTPS_PROXY": "http://q"}, "http://p"),
        ("http://tempo:4318", {"HTTP_PROXY": "http://p", "no_proxy": "x", "NO_PROXY": "tempo"}, "http://p"),
    ],
)
def test_an_export_takes_the_proxy_that_the_usual_variables_name(
    monkeypatch: pytest.MonkeyPatch, endpoint: str, environment: dict[str, str], proxy: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert url_of(resolve(endpoint=endpoint).traces.proxy) == proxy
    assert url_of(resolve(endpoint=endpoint, proxy="http://mine:1").traces.proxy) == "http://mine:1"
    assert resolve(endpoint=endpoint, proxy="").traces.proxy is None


@pytest.mark.parametrize("proxy", ["socks5://bob:secret@p:1", "http://bob:secret@p:port", "http://"])
def test_a_proxy_that_cannot_be_used_is_an_error_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    with pytest.raises(ValueError, match=r"the value of proxy is not accepted; use an http:// URL") as caught:
        resolve(proxy=proxy)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ValueError, match=r"HTTP_PROXY is not accepted"):
        resolve()

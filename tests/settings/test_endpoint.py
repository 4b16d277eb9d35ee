"""Where a signal goes."""

from __future__ import annotations

import pytest

from settings.resolving import resolve
from tracemw.config.backend import PROTOCOLS
from tracemw.config.endpoint import Endpoint


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({"TEMPO_ENDPOINT": "http://tempo:4318"}, "http://tempo:4318/v1/traces"),
        ({"TEMPO_ENDPOINT": "http://tempo:4318/v1/traces"}, "http://tempo:4318/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c/otlp/"}, "https://c/otlp/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "TEMPO_ENDPOINT": "http://t"}, "http://c/v1/traces"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c/custom"}, "http://c/custom"),
    ],
)
def test_the_endpoint_is_a_base_except_where_the_specification_says_it_is_not(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], endpoint: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(resolve().traces.endpoint) == endpoint


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        ({}, "http://localhost:4317"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:4317/"}, "https://c:4317"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317/v1/traces"}, "http://c:4317"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "c:4317"}, "https://c:4317"),
        ({"TEMPO_ENDPOINT": "c:4317", "OTEL_EXPORTER_OTLP_INSECURE": "true"}, "http://c:4317"),
    ],
)
def test_the_scheme_of_an_endpoint_says_whether_grpc_goes_over_tls(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], endpoint: str
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = resolve()
    assert (config.traces.protocol, str(config.traces.endpoint)) == ("grpc", endpoint)


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://bob:secret@tempo:4318",
        "http://bob:secret@tempo:port",
        "http://bob:secret@[tempo",
        "bob:secret@tempo:4318",
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_credentials_in_the_endpoint_are_an_error_that_does_not_show_them(endpoint: str, protocol: str) -> None:
    with pytest.raises(ValueError, match=r"endpoint is not accepted; use a URL without credentials") as caught:
        resolve(endpoint=endpoint, protocol=protocol)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_ENDPOINT", "TEMPO_ENDPOINT"])
@pytest.mark.parametrize(
    "endpoint",
    [
        "http://h:4318/otlp?team=secret",
        "http://h:4318?",
        "http://h:4318/#secret",
        "h?secret",
        "http://h:4318/\n?secret",
    ],
)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_base_with_a_query_or_a_fragment_is_an_error_that_does_not_show_it(
    monkeypatch: pytest.MonkeyPatch, variable: str, endpoint: str, protocol: str
) -> None:
    monkeypatch.setenv(variable, endpoint)
    with pytest.raises(
        ValueError, match=rf"^{variable}='.*[?#]\.\.\.' is not accepted; use .*no query or fragment"
    ) as caught:
        resolve(protocol=protocol)
    assert "secret" not in str(caught.value)


def test_the_whole_url_of_a_signal_takes_a_query_but_no_fragment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://h:4318/custom?team=a")
    assert resolve().traces.endpoint.target == "/custom?team=a"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://h:4318/custom#a")
    with pytest.raises(ValueError, match=r"^OTEL_EXPORTER_OTLP_TRACES_ENDPOINT='.*#\.\.\.' is not accepted"):
        resolve()


@pytest.mark.parametrize("endpoint", ["http://tempo:4318/café", "http://münchen:4318"])
def test_an_endpoint_that_cannot_be_sent_as_it_stands_is_an_error(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    with pytest.raises(ValueError, match=r"^endpoint='.*' is not accepted; use .*in ASCII \(.* percent-encoded\)"):
        resolve(endpoint=endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)
    with pytest.raises(ValueError, match=r"^OTEL_EXPORTER_OTLP_TRACES_ENDPOINT='.*' is not accepted"):
        resolve()


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "target", "shown"),
    [
        ("http://tempo", "tempo", 80, "tempo", "/", "http://tempo"),
        ("https://Tempo:443/otlp", "tempo", 443, "tempo", "/otlp", "https://tempo/otlp"),
        ("https://tempo:80/", "tempo", 80, "tempo:80", "/", "https://tempo:80/"),
        (
            "http://[::1]:4318/v1/traces?key=s3cr3t",
            "::1",
            4318,
            "[::1]:4318",
            "/v1/traces?key=s3cr3t",
            "http://[::1]:4318/v1/traces",
        ),
        ("http://tempo:4318?key=s3cr3t", "tempo", 4318, "tempo:4318", "/?key=s3cr3t", "http://tempo:4318"),
    ],
)
def test_an_endpoint_is_the_parts_of_its_url(
    url: str, host: str, port: int, authority: str, target: str, shown: str
) -> None:
    endpoint = Endpoint.parse(url)
    assert (endpoint.host, endpoint.port, endpoint.authority, endpoint.target) == (host, port, authority, target)
    assert str(endpoint) == shown
    assert "s3cr3t" not in repr(endpoint)


@pytest.mark.parametrize("url", ["", "tempo:4318", "ftp://tempo", "http://", "http://tempo:port", "http://tempo:70000"])
def test_an_endpoint_of_what_is_no_url_is_an_error(url: str) -> None:
    with pytest.raises(ValueError, match=r"URL|[Pp]ort"):
        Endpoint.parse(url)

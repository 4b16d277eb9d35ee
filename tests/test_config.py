"""Arguments and environment -> configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from tracemw.config import KNOWN_METHODS, Arguments, Config, known_methods
from tracemw.config.backend import PROTOCOLS
from tracemw.config.endpoint import DEFAULT_ENDPOINT, Endpoint
from tracemw.config.proxy import Proxy


def resolve(**arguments: Any) -> Config:
    """The configuration of a process, as `init` makes it of its arguments and the environment."""
    return Config.resolve(Arguments(**arguments))


def url_of(proxy: Proxy | None) -> str | None:
    return None if proxy is None else proxy.url


def test_without_any_setting_spans_go_where_the_viewer_listens_and_all_are_sampled() -> None:
    config = resolve(service="shop")
    assert config == Config(service="shop", version=None, environment=None)
    assert str(config.traces.endpoint) == str(DEFAULT_ENDPOINT) == "http://localhost:4318/v1/traces"


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, (None, None, None)),
        (
            {"OTEL_SERVICE_NAME": "a", "SERVICE_VERSION": "2", "ENVIRONMENT": "staging"},
            ("a", "2", "staging"),
        ),
        (
            {
                "OTEL_RESOURCE_ATTRIBUTES": "service.name=b,service.version=3,deployment.environment.name=production",
                "SERVICE_VERSION": "2",
                "ENVIRONMENT": "staging",
            },
            ("b", "3", "production"),
        ),
        (
            {"OTEL_SERVICE_NAME": "a", "OTEL_RESOURCE_ATTRIBUTES": "service.name=b,team=caf%C3%A9"},
            ("a", None, None),
        ),
        ({"OTEL_SERVICE_NAME": " ", "ENVIRONMENT": ""}, (None, None, None)),
    ],
)
def test_otel_variables_win_over_the_plain_names(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    expected: tuple[str | None, str | None, str | None],
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    config = resolve()
    assert (config.service, config.version, config.environment) == expected


def test_arguments_win_over_every_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "SERVICE_VERSION", "ENVIRONMENT"):
        monkeypatch.setenv(name, "from-variable")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://variable:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc,x-team=shop")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    config = resolve(
        service="s",
        version="1",
        environment="dev",
        endpoint="http://argument:4318",
        headers={"x-team": "pay"},
        ratio=0.25,
    )
    assert (config.service, config.version, config.environment) == ("s", "1", "dev")
    assert str(config.traces.endpoint) == "http://argument:4318/v1/traces"
    assert config.traces.headers == {"authorization": "Basic abc", "x-team": "pay"}
    assert (config.sampler, config.ratio) == ("parentbased_traceidratio", 0.25)


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
    ("environment", "ratio"),
    [("production", 0.1), ("PROD", 0.1), ("staging", 0.5), ("dev", 1.0), (None, 1.0)],
)
def test_the_environment_chooses_the_sampling_ratio(environment: str | None, ratio: float) -> None:
    config = resolve(environment=environment)
    assert (config.sampler, config.ratio) == ("parentbased_traceidratio", ratio)


def test_the_sampler_variables_mean_what_the_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    assert resolve(environment="production").ratio == 1.0
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.125")
    config = resolve(environment="production")
    assert (config.sampler, config.ratio) == ("traceidratio", 0.125)


def test_a_ratio_without_a_sampler_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    config = resolve(environment="production")
    assert (config.sampler, config.ratio) == ("parentbased_traceidratio", 0.25)


def test_the_older_name_of_the_environment_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=production")
    assert resolve().ratio == 0.1


def test_durations_are_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    config = resolve()
    assert (config.traces.timeout, config.delay) == (2.5, 0.2)


def test_a_batch_is_never_larger_than_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    assert (resolve().queue_size, resolve().batch_size) == (100, 100)


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("OTEL_SDK_DISABLED", "yes", "true, false"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "always_on"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "tempo:4318", "http://"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "http://"),
        ("TEMPO_ENDPOINT", "http://tempo:port", "http://"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "http/protobuf, grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "thrift", "http/protobuf, grpc"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "0", "above 0"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli", "gzip"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team", "key=value"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "above 0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1", "milliseconds"),
        ("OTEL_TRACES_EXPORTER", "jaeger", "otlp, none"),
        ("OTEL_METRICS_EXPORTER", "prometheus", "otlp, none"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_variable_the_value_and_what_is_accepted(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, accepted: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match="is not accepted") as caught:
        resolve()
    for part in (variable, repr(value), accepted):
        assert part in str(caught.value)


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "half"])
def test_a_ratio_outside_0_to_1_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", value)
    with pytest.raises(ValueError, match=r"OTEL_TRACES_SAMPLER_ARG.*a number from 0 to 1"):
        resolve()


@pytest.mark.parametrize("value", [1.5, -1, True, float("nan")])
def test_a_sampling_argument_outside_0_to_1_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match=r"sampling=.*a number from 0 to 1"):
        resolve(ratio=value)


def test_an_argument_of_the_wrong_type_is_an_error() -> None:
    with pytest.raises(TypeError, match="service takes a string, not int"):
        resolve(service=3)
    with pytest.raises(TypeError, match="endpoint takes a string, not int"):
        resolve(endpoint=4318)
    with pytest.raises(TypeError, match="baggage takes several keys"):
        resolve(baggage="tenant.id")
    for headers in ("a=b", [("a", "b")], {1: "b"}):
        with pytest.raises(TypeError, match="headers takes a mapping of names to values"):
            resolve(headers=headers)


def test_known_methods_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_methods() == KNOWN_METHODS
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET, PURGE,")
    assert known_methods() == frozenset({"GET", "PURGE"})


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
    ("endpoint", "compression"),
    [
        (None, "none"),
        ("http://localhost:4318", "none"),
        ("http://127.1.2.3:4318", "none"),
        ("http://[::1]:4318", "none"),
        ("http://10.0.0.1:4318", "gzip"),
        ("http://tempo:4318", "gzip"),
        ("https://localhost.example", "gzip"),
    ],
)
def test_what_leaves_the_machine_is_compressed_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, endpoint: str | None, compression: str
) -> None:
    assert resolve(endpoint=endpoint).traces.compression == compression
    assert resolve(endpoint=endpoint, compression="none").traces.compression == "none"
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    assert resolve(endpoint=endpoint).traces.compression == "gzip"


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS"])
@pytest.mark.parametrize(
    "value",
    [
        "Authorization: Bearer s3cr3t",  # no pair
        "x-team=shop,s3cr3t",
        "=s3cr3t",
        "Authorization: Basic s3cr3t==",  # a pair, with the secret in its name
        "authorization=s3cr3t%0A",
    ],
)
def test_headers_that_are_not_accepted_are_an_error_that_does_not_show_them(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match=f"^{variable} is not accepted: ") as caught:
        resolve()
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize("endpoint", ["http://tempo:4318", "https://tempo:4318"])
def test_a_configuration_can_be_shown_without_its_secrets(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=s3cr3t")
    config = resolve(endpoint=endpoint, proxy="http://bob:s3cr3t@proxy:3128", metrics=True)
    assert config.metrics is not None
    assert url_of(config.traces.proxy) == url_of(config.metrics.proxy) == "http://bob:s3cr3t@proxy:3128"
    assert "s3cr3t" not in repr(config)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{endpoint}/v1/traces?api_key=s3cr3t")
    config = resolve()
    assert config.traces.endpoint.query == "api_key=s3cr3t"
    assert str(config.traces.endpoint) == f"{endpoint}/v1/traces"
    assert "s3cr3t" not in repr(config)


def test_a_tenant_is_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Scope-OrgID=a,Authorization=b")
    assert resolve().traces.headers == {"x-scope-orgid": "a", "authorization": "b"}
    monkeypatch.setenv("TRACEMW_TENANT", "c")
    assert resolve().traces.headers["x-scope-orgid"] == "c"
    assert resolve(headers={"X-Scope-OrgId": "d"}).traces.headers["x-scope-orgid"] == "d"
    assert resolve(headers={"X-Scope-OrgId": "d"}, tenant="e").traces.headers["x-scope-orgid"] == "e"


@pytest.mark.parametrize(
    ("name", "value"), [("a b", "x"), ("", "x"), ("a\r\nb", "x"), ("a", "secret\r\nb: c"), ("a", "secretö")]
)
def test_a_header_that_cannot_be_sent_is_an_error_that_does_not_show_its_value(name: str, value: str) -> None:
    for protocol in PROTOCOLS:
        with pytest.raises(ValueError, match="header") as caught:
            resolve(headers={name: value}, protocol=protocol)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(("name", "value"), [("x-trace-bin", "x"), ("-bin", "x"), ("a!b", "x"), ("a", "x\ty")])
def test_a_header_that_grpc_does_not_send_is_an_error_with_grpc(name: str, value: str) -> None:
    assert resolve(headers={name: value}).traces.headers == {name: value}
    with pytest.raises(ValueError, match=r"^headers is not accepted: the (name|value)"):
        resolve(headers={name: value}, protocol="grpc")


@pytest.mark.parametrize("argument", [0, -1, True, "5", float("inf"), float("nan")])
def test_a_timeout_is_seconds_above_0(monkeypatch: pytest.MonkeyPatch, argument: Any) -> None:
    assert resolve(timeout=2).traces.timeout == 2.0
    with pytest.raises(ValueError, match=r"timeout=.*seconds, above 0"):
        resolve(timeout=argument)


def test_an_argument_wins_over_its_variable_and_the_one_for_traces_over_that_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "1000")
    assert (resolve().traces.protocol, resolve().traces.timeout) == ("http/protobuf", 1.0)
    config = resolve(protocol="grpc", timeout=3)
    assert (config.traces.protocol, config.traces.timeout) == ("grpc", 3.0)
    with pytest.raises(ValueError, match=r"protocol='http/json' is not accepted: one of http/protobuf, grpc"):
        resolve(protocol="http/json")


@pytest.mark.parametrize(
    ("name", "setting", "value", "other", "expected"),
    [
        ("ENDPOINT", "endpoint", "http://a:1/x", "http://b:1/y", ("http://a:1/x", "http://b:1/y")),
        ("PROTOCOL", "protocol", "grpc", "http/protobuf", ("grpc", "http/protobuf")),
        ("HEADERS", "headers", "authorization=a", "x-team=b", ({"authorization": "a"}, {"x-team": "b"})),
        ("TIMEOUT", "timeout", "1000", "2000", (1.0, 2.0)),
        ("COMPRESSION", "compression", "gzip", "none", ("gzip", "none")),
    ],
)
def test_a_variable_of_one_signal_says_nothing_about_the_other(
    monkeypatch: pytest.MonkeyPatch, name: str, setting: str, value: str, other: str, expected: tuple[object, object]
) -> None:
    def resolved() -> tuple[object, object]:
        config = resolve(metrics=True)
        traces, metrics = getattr(config.traces, setting), getattr(config.metrics, setting)
        return (str(traces), str(metrics)) if setting == "endpoint" else (traces, metrics)

    default = resolved()
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_TRACES_{name}", value)
    assert resolved() == (expected[0], default[1])
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_METRICS_{name}", other)
    assert resolved() == expected
    monkeypatch.delenv(f"OTEL_EXPORTER_OTLP_TRACES_{name}")
    assert resolved() == (default[0], expected[1])


@pytest.mark.parametrize("name", ["CERTIFICATE", "CLIENT_CERTIFICATE"])
def test_certificates_of_one_signal_are_not_those_of_the_other(
    monkeypatch: pytest.MonkeyPatch, files: Path, name: str
) -> None:
    setting = name.lower()
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", str(files / "shop-both.pem"))
    monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_METRICS_{name}", str(files / "other-both.pem"))
    config = resolve(metrics=True)
    assert config.metrics is not None
    assert getattr(config.traces.tls, setting) == str(files / "shop-both.pem")
    assert getattr(config.metrics.tls, setting) == str(files / "other-both.pem")


def test_tls_of_grpc_and_proxies_go_by_the_signal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_INSECURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "tempo:4317")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "mimir:4317")
    monkeypatch.setenv("HTTP_PROXY", "http://p")
    monkeypatch.setenv("HTTPS_PROXY", "http://q")
    monkeypatch.setenv("NO_PROXY", "tempo")
    config = resolve(metrics=True)
    assert config.metrics is not None
    assert (str(config.traces.endpoint), config.traces.proxy) == ("https://tempo:4317", None)
    assert (str(config.metrics.endpoint), url_of(config.metrics.proxy)) == ("http://mimir:4317", "http://p")


@pytest.mark.parametrize("name", ["queue_bytes", "batch_bytes"])
def test_limits_in_bytes_are_arguments_or_variables(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"TRACEMW_{name.upper()}", "50000")
    assert getattr(resolve(), name) == 50_000
    options: dict[str, Any] = {name: 60_000}
    assert getattr(resolve(**options), name) == 60_000
    for value in (0, 4095, -1, 1.5, True, "3 MB", "", float("inf")):
        with pytest.raises(ValueError, match=f"{name}=.* is not accepted: a whole number of bytes from 4096 up"):
            resolve(**{name: value})
    for text in ("3MB", "4095", "-5000", "1e6", "\uff15\uff10000"):
        monkeypatch.setenv(f"TRACEMW_{name.upper()}", text)
        with pytest.raises(ValueError, match=f"TRACEMW_{name.upper()}=.* is not accepted"):
            resolve()


def test_a_batch_is_no_larger_than_the_queue() -> None:
    assert resolve(queue_bytes=10_000).batch_bytes == 10_000
    assert resolve().batch_bytes < 4 * 1024 * 1024


@pytest.mark.parametrize(
    ("variable", "field", "value"),
    [
        ("TEMPORALITY_PREFERENCE", "metrics_temporality", "delta"),
        ("DEFAULT_HISTOGRAM_AGGREGATION", "metrics_histograms", "base2_exponential_bucket_histogram"),
    ],
)
def test_preferences_of_metrics_are_as_the_specification_has_them(
    monkeypatch: pytest.MonkeyPatch, variable: str, field: str, value: str
) -> None:
    name = f"OTEL_EXPORTER_OTLP_METRICS_{variable}"
    monkeypatch.setenv(name, value.upper())
    assert getattr(resolve(), field) == value
    monkeypatch.setenv(name, "some")
    with pytest.raises(ValueError, match=f"{name}='some' is not accepted"):
        resolve()


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
def test_proxies_are_where_they_are_for_everybody(
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
    with pytest.raises(ValueError, match=r"proxy is not accepted: an http:// URL") as caught:
        resolve(proxy=proxy)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(ValueError, match=r"HTTP_PROXY is not accepted"):
        resolve()


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
    with pytest.raises(ValueError, match=r"endpoint is not accepted: credentials belong into headers") as caught:
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
        ValueError, match=rf"^{variable}='.*[?#]\.\.\.' is not accepted: .*no query or fragment"
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
    with pytest.raises(ValueError, match=r"^endpoint='.*' is not accepted: .*in ASCII: percent-encoded"):
        resolve(endpoint=endpoint)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint)
    with pytest.raises(ValueError, match=r"^OTEL_EXPORTER_OTLP_TRACES_ENDPOINT='.*' is not accepted"):
        resolve()


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A folder with certificates, and with what is none."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name in ("shop", "other"):
        leaf = authority.issue_cert(name)
        leaf.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
        leaf.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        leaf.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / f"{name}-both.pem"))
    (tmp_path / "folder").mkdir()
    (tmp_path / "empty").touch()
    (tmp_path / "garbage").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    key = load_pem_private_key((tmp_path / "shop.key").read_bytes(), None)
    (tmp_path / "locked.key").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    return tmp_path


def test_certificates_are_files_that_variables_or_arguments_name(monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(files / "ca.pem"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(files / "shop.pem"))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(files / "shop.key"))
    tls = resolve().traces.tls
    assert tls.certificate == str(files / "ca.pem")
    assert (tls.client_certificate, tls.client_key) == (str(files / "shop.pem"), str(files / "shop.key"))
    assert tls.context is not None
    arguments = {"client_certificate": str(files / "other.pem"), "client_key": str(files / "other.key")}
    assert resolve(**arguments).traces.tls.client_certificate == str(files / "other.pem")
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_CLIENT_KEY")
    assert resolve(client_certificate=str(files / "shop-both.pem")).traces.tls.client_key is None


@pytest.mark.parametrize(
    ("named", "blamed"),
    [
        ({"CERTIFICATE": "none.pem"}, "CERTIFICATE"),
        ({"CERTIFICATE": "folder"}, "CERTIFICATE"),
        ({"CERTIFICATE": "empty"}, "CERTIFICATE"),
        ({"CERTIFICATE": "garbage"}, "CERTIFICATE"),
        ({"CERTIFICATE": "shop.key"}, "CERTIFICATE"),
        ({"CLIENT_CERTIFICATE": "none.pem"}, "CLIENT_CERTIFICATE"),
        ({"CLIENT_CERTIFICATE": "garbage", "CLIENT_KEY": "shop.key"}, "CLIENT_CERTIFICATE"),
        ({"CLIENT_CERTIFICATE": "shop.pem"}, "CLIENT_CERTIFICATE"),
        ({"CLIENT_CERTIFICATE": "shop.pem", "CLIENT_KEY": "empty"}, "CLIENT_KEY"),
        ({"CLIENT_CERTIFICATE": "shop.pem", "CLIENT_KEY": "other.key"}, "CLIENT_KEY"),
        ({"CLIENT_CERTIFICATE": "shop.pem", "CLIENT_KEY": "locked.key"}, "CLIENT_KEY"),
        ({"CLIENT_KEY": "shop.key"}, "CLIENT_KEY"),
    ],
)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_certificate_that_cannot_be_read_is_an_error_that_names_it(
    monkeypatch: pytest.MonkeyPatch, files: Path, named: dict[str, str], blamed: str, protocol: str
) -> None:
    arguments: dict[str, Any] = {name.lower(): str(files / file) for name, file in named.items()}
    with pytest.raises(ValueError, match=rf"^{blamed.lower()}='.*{re.escape(named[blamed])}' is not accepted"):
        resolve(protocol=protocol, **arguments)
    for name, file in named.items():
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_TRACES_{name}", str(files / file))
    with pytest.raises(ValueError, match=rf"^OTEL_EXPORTER_OTLP_TRACES_{blamed}='"):
        resolve(protocol=protocol)


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

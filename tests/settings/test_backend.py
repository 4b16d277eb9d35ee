"""How a signal is sent: each setting by argument, by its own variable, or by the common one."""

from __future__ import annotations

from typing import Any

import pytest

from settings.resolving import resolve, url_of


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


@pytest.mark.parametrize("argument", [0, -1, True, "5", float("inf"), float("nan")])
def test_a_timeout_is_seconds_above_0(monkeypatch: pytest.MonkeyPatch, argument: Any) -> None:
    assert resolve(timeout=2).traces.timeout == 2.0
    with pytest.raises(ValueError, match=r"timeout=.*a number of seconds above 0"):
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
    with pytest.raises(ValueError, match=r"protocol='http/json' is not accepted; use one of http/protobuf, grpc"):
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


def test_each_signal_has_its_own_tls_of_grpc_and_its_own_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
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

"""The settings of the whole process."""

from __future__ import annotations

from typing import Any

import pytest

from settings.resolving import resolve, url_of
from tracemw.config import KNOWN_METHODS, Config, known_methods
from tracemw.config.endpoint import DEFAULT_ENDPOINT


def test_without_any_setting_spans_go_where_the_viewer_listens_and_all_are_sampled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("TRACEMW_BLAME", "TRACEMW_ALLOW"):  # which are set for all tests
        monkeypatch.delenv(name)
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


def test_a_sampler_argument_without_a_sampler_is_the_ratio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    config = resolve(environment="production")
    assert (config.sampler, config.ratio) == ("parentbased_traceidratio", 0.25)


def test_the_older_resource_attribute_names_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=production")
    assert resolve().ratio == 0.1


def test_empty_items_between_the_pairs_of_a_variable_say_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", ",service.name=shop, ,")
    assert resolve().service == "shop"


def test_durations_in_variables_are_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
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
    for name in ("baggage", "instrument"):
        with pytest.raises(TypeError, match=f"{name} takes several names, not 5"):
            resolve(**{name: 5})
    for name in ("metrics", "blame", "swallowed", "warn"):
        for value in ("false", "yes", 0):
            with pytest.raises(TypeError, match=f"{name} takes True or False, not {value!r}"):
                resolve(**{name: value})
    with pytest.raises(TypeError, match="baggage takes several keys"):
        resolve(baggage="tenant.id")
    for headers in ("a=b", [("a", "b")], {1: "b"}):
        with pytest.raises(TypeError, match="headers takes a mapping of names to values"):
            resolve(headers=headers)


def test_a_variable_replaces_the_known_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_methods() == KNOWN_METHODS
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET, PURGE,")
    assert known_methods() == frozenset({"GET", "PURGE"})


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


@pytest.mark.parametrize("name", ["queue_bytes", "batch_bytes"])
def test_limits_in_bytes_are_arguments_or_variables(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"TRACEMW_{name.upper()}", "50000")
    assert getattr(resolve(), name) == 50_000
    options: dict[str, Any] = {name: 60_000}
    assert getattr(resolve(**options), name) == 60_000
    for value in (0, 4095, -1, 1.5, True, "3 MB", "", float("inf")):
        with pytest.raises(ValueError, match=f"{name}=.* is not accepted; use a whole number of bytes from 4096 up"):
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
def test_the_preferences_of_metrics_are_those_of_the_specification(
    monkeypatch: pytest.MonkeyPatch, variable: str, field: str, value: str
) -> None:
    name = f"OTEL_EXPORTER_OTLP_METRICS_{variable}"
    monkeypatch.setenv(name, value.upper())
    assert getattr(resolve(), field) == value
    monkeypatch.setenv(name, "some")
    with pytest.raises(ValueError, match=f"{name}='some' is not accepted"):
        resolve()


@pytest.mark.parametrize(("name", "field"), [("INTERVAL", "metrics_interval"), ("TIMEOUT", "metrics_timeout")])
def test_the_times_of_metrics_are_milliseconds_above_0(monkeypatch: pytest.MonkeyPatch, name: str, field: str) -> None:
    monkeypatch.setenv(f"OTEL_METRIC_EXPORT_{name}", "1500")
    assert getattr(resolve(), field) == 1.5
    monkeypatch.setenv(f"OTEL_METRIC_EXPORT_{name}", "0")
    with pytest.raises(ValueError, match=f"OTEL_METRIC_EXPORT_{name}='0' is not accepted"):
        resolve()

"""Arguments and environment -> configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracemw.config import DEFAULT_ENDPOINT, Config, known_methods


def test_without_any_setting_spans_go_where_the_viewer_listens_and_all_are_sampled() -> None:
    config = Config.resolve(service="shop")
    assert config == Config(service="shop", version=None, environment=None)
    assert config.endpoint == DEFAULT_ENDPOINT == "http://localhost:4318/v1/traces"


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
    config = Config.resolve()
    assert (config.service, config.version, config.environment) == expected


def test_arguments_win_over_every_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SERVICE_NAME", "SERVICE_VERSION", "ENVIRONMENT"):
        monkeypatch.setenv(name, "from-variable")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://variable:4318")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc,x-team=shop")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    config = Config.resolve(
        service="s",
        version="1",
        environment="dev",
        endpoint="http://argument:4318",
        headers={"x-team": "pay"},
        ratio=0.25,
    )
    assert (config.service, config.version, config.environment) == ("s", "1", "dev")
    assert config.endpoint == "http://argument:4318/v1/traces"
    assert config.headers == {"authorization": "Basic abc", "x-team": "pay"}
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
    assert Config.resolve().endpoint == endpoint


@pytest.mark.parametrize(
    ("environment", "ratio"),
    [("production", 0.1), ("PROD", 0.1), ("staging", 0.5), ("dev", 1.0), (None, 1.0)],
)
def test_the_environment_chooses_the_sampling_ratio(environment: str | None, ratio: float) -> None:
    config = Config.resolve(environment=environment)
    assert (config.sampler, config.ratio) == ("parentbased_traceidratio", ratio)


def test_the_sampler_variables_mean_what_the_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "traceidratio")
    assert Config.resolve(environment="production").ratio == 1.0
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.125")
    config = Config.resolve(environment="production")
    assert (config.sampler, config.ratio) == ("traceidratio", 0.125)


def test_a_ratio_without_a_sampler_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    config = Config.resolve(environment="production")
    assert (config.sampler, config.ratio) == ("parentbased_traceidratio", 0.25)


def test_the_older_name_of_the_environment_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=production")
    assert Config.resolve().ratio == 0.1


def test_durations_are_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2500")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "200")
    config = Config.resolve()
    assert (config.timeout, config.delay) == (2.5, 0.2)


def test_a_batch_is_never_larger_than_the_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "100")
    assert (Config.resolve().queue_size, Config.resolve().batch_size) == (100, 100)


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("OTEL_SDK_DISABLED", "yes", "true, false"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "always_on"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "tempo:4318", "http://"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://", "http://"),
        ("TEMPO_ENDPOINT", "http://tempo:port", "http://"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization", "key=value"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "brotli", "gzip"),
        ("OTEL_RESOURCE_ATTRIBUTES", "team", "key=value"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "above 0"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1", "milliseconds"),
        ("OTEL_TRACES_EXPORTER", "jaeger", "otlp, none"),
    ],
)
def test_a_bad_value_is_an_error_that_names_the_variable_the_value_and_what_is_accepted(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, accepted: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ValueError, match="is not accepted") as caught:
        Config.resolve()
    for part in (variable, repr(value), accepted):
        assert part in str(caught.value)


@pytest.mark.parametrize("value", ["1.5", "-0.1", "nan", "half"])
def test_a_ratio_outside_0_to_1_is_an_error(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", value)
    with pytest.raises(ValueError, match=r"OTEL_TRACES_SAMPLER_ARG.*a number from 0 to 1"):
        Config.resolve()


@pytest.mark.parametrize("value", [1.5, -1, True, float("nan")])
def test_a_sampling_argument_outside_0_to_1_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match=r"sampling=.*a number from 0 to 1"):
        Config.resolve(ratio=value)


def test_an_argument_of_the_wrong_type_is_an_error() -> None:
    with pytest.raises(TypeError, match="service takes a string, not int"):
        Config.resolve(service=3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="endpoint takes a string, not int"):
        Config.resolve(endpoint=4318)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="baggage takes several keys"):
        Config.resolve(baggage="tenant.id")


def test_known_methods_can_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert known_methods() is None
    monkeypatch.setenv("OTEL_INSTRUMENTATION_HTTP_KNOWN_METHODS", "GET, PURGE,")
    assert known_methods() == frozenset({"GET", "PURGE"})


def test_certificates_are_files_that_the_variables_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("CERTIFICATE", "CLIENT_CERTIFICATE", "CLIENT_KEY"):
        (tmp_path / name).touch()
        monkeypatch.setenv(f"OTEL_EXPORTER_OTLP_{name}", str(tmp_path / name))
    config = Config.resolve()
    assert config.certificate == str(tmp_path / "CERTIFICATE")
    assert config.client_certificate == (str(tmp_path / "CLIENT_CERTIFICATE"), str(tmp_path / "CLIENT_KEY"))
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_CLIENT_KEY")
    assert Config.resolve().client_certificate == str(tmp_path / "CLIENT_CERTIFICATE")


def test_a_certificate_that_cannot_be_read_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", str(tmp_path / "none.pem"))
    with pytest.raises(ValueError, match=r"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE=.*none.pem.*No such file"):
        Config.resolve()

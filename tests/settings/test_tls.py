"""The certificates that exports trust and show."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from settings.resolving import resolve


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

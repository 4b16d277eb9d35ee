"""The headers of exports, which may be secrets."""

from __future__ import annotations

import pytest

from settings.resolving import resolve
from tracemw.config.backend import PROTOCOLS


def test_a_tenant_becomes_a_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "X-Scope-OrgID=a,Authorization=b")
    assert resolve().traces.headers == {"x-scope-orgid": "a", "authorization": "b"}
    monkeypatch.setenv("TRACEMW_TENANT", "c")
    assert resolve().traces.headers["x-scope-orgid"] == "c"
    assert resolve(headers={"X-Scope-OrgId": "d"}).traces.headers["x-scope-orgid"] == "d"
    assert resolve(headers={"X-Scope-OrgId": "d"}, tenant="e").traces.headers["x-scope-orgid"] == "e"


def test_a_header_that_is_no_text_is_a_type_error_that_names_it() -> None:
    with pytest.raises(TypeError, match="headers takes a string as the value of x-team, not int"):
        resolve(headers={"X-Team": 1})


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
    with pytest.raises(ValueError, match=f"^the value of {variable} is not accepted; use ") as caught:
        resolve()
    assert "s3cr3t" not in str(caught.value)


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
    with pytest.raises(ValueError, match=r"^the value of headers is not accepted; use (header names|printable ASCII)"):
        resolve(headers={name: value}, protocol="grpc")

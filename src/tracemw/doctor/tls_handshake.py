"""The TLS handshake with the backend: who is trusted, for which name, and for how long."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Final

from tracemw.config import Backend
from tracemw.doctor.diagnosis import Check, failure, ok, warning
from tracemw.doctor.reaching import open_tunnel

_FEW_DAYS: Final = 14
"""Days of a certificate below which a renewal is due."""

_EXPIRED: Final = 10
_NOT_YET: Final = 9
_WRONG_NAME: Final = (62, 64)
"""Codes of X509_verify_cert(3): a certificate has expired, does not hold yet, is for another name or address."""

_NO_TLS: Final = frozenset({"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"})
_NO_CHECK_TIME: Final = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which `ssl` has no name for: a certificate that has expired is read, too."""

_TRUST: Final = "init(certificate=...) or OTEL_EXPORTER_OTLP_CERTIFICATE names the CA certificates to trust"
_SHOW: Final = (
    "init(client_certificate=..., client_key=...) or OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and _CLIENT_KEY name the "
    "certificate to show"
)


def check_tls(backend: Backend, deadline: float) -> Check:
    """Shake hands as the exporter does, and say how that went."""
    where = backend.endpoint.host_and_port
    try:
        shown = _certificate(backend, context_for(backend), deadline)
    except ssl.SSLCertVerificationError as error:
        return _not_trusted(backend, error, deadline)
    except ssl.SSLError as error:
        if error.reason in _NO_TLS:
            return failure(
                "tls",
                f"{where} does not speak TLS, and the endpoint is an https:// URL",
                "write http:// in place of https://, or for gRPC set OTEL_EXPORTER_OTLP_INSECURE=true",
            )
        return failure(
            "tls",
            f"{where} ends the handshake ({error.reason or error})",
            f"does it want a client certificate? {_SHOW}",
        )
    except TimeoutError:
        return failure(
            "tls",
            f"{where} takes the connection, and does not answer the TLS handshake",
            "does the backend hang, or is that not the port for TLS? See its log",
        )
    except OSError as error:
        return failure("tls", f"{where} breaks the TLS handshake off ({error})", f"see the backend's log; {_SHOW}")
    return _trusted(backend, shown)


def context_for(backend: Backend) -> ssl.SSLContext:
    """Return how the exporter trusts. grpc brings its own CA certificates; here, those of the system stand for them."""
    if backend.protocol != "grpc" and backend.tls.context is not None:
        return backend.tls.context
    context = ssl.create_default_context(cafile=backend.tls.certificate)
    if backend.tls.client_certificate is not None:
        context.load_cert_chain(backend.tls.client_certificate, backend.tls.client_key)
    if backend.protocol == "grpc":
        context.set_alpn_protocols(["h2"])
    return context


def _certificate(backend: Backend, context: ssl.SSLContext, deadline: float) -> dict[str, Any]:
    with _shaken(backend, context, deadline) as secured:
        return secured.getpeercert() or {}


def _shaken(backend: Backend, context: ssl.SSLContext, deadline: float) -> ssl.SSLSocket:
    bare: socket.socket = open_tunnel(backend, deadline)
    try:
        bare.settimeout(max(deadline - time.monotonic(), 0.001))
        return context.wrap_socket(bare, server_hostname=backend.endpoint.host)
    except BaseException:
        bare.close()
        raise


def _trusted(backend: Backend, shown: dict[str, Any]) -> Check:
    ends = ssl.cert_time_to_seconds(str(shown["notAfter"]))
    days = int((ends - time.time()) // 86400)
    said = f"the certificate of {backend.endpoint.host} is trusted, for {days} more days (until {_day(ends)})"
    if days < _FEW_DAYS:
        return warning("tls", said, "renew the certificate: after that day no span arrives")
    return ok("tls", said)


def _not_trusted(backend: Backend, error: ssl.SSLCertVerificationError, deadline: float) -> Check:
    host, shown = backend.endpoint.host, _read_untrusted(backend, deadline)
    if error.verify_code == _EXPIRED:
        since = f" on {_day(ssl.cert_time_to_seconds(str(shown['notAfter'])))}" if "notAfter" in shown else ""
        return failure(
            "tls", f"the certificate of {host} has expired{since}", "renew the certificate there; is this clock right?"
        )
    if error.verify_code == _NOT_YET:
        return failure("tls", f"the certificate of {host} does not hold yet", "is this machine's clock right?")
    if error.verify_code in _WRONG_NAME:
        names = ", ".join(value for _, value in shown.get("subjectAltName", ())) or "no name"
        return failure(
            "tls",
            f"the certificate is for another host: it holds for {names}, and not for {host}",
            "use one of these names in the endpoint, or have a certificate issued for this one",
        )
    issuer = _named(shown.get("issuer", ()))
    by = f", issued by {issuer}," if issuer else ""
    return failure("tls", f"the certificate of {host}{by} is not trusted here ({error.verify_message})", _TRUST)


def _read_untrusted(backend: Backend, deadline: float) -> dict[str, Any]:
    """Return what a certificate says that is not trusted; nothing where that cannot be read.

    Python decodes trusted certificates only. So this very certificate is fetched, and trusted once.
    """
    blind = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    blind.check_hostname, blind.verify_mode = False, ssl.CERT_NONE
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname = False
    try:
        with _shaken(backend, blind, deadline) as secured:
            trusting.load_verify_locations(cadata=secured.getpeercert(binary_form=True))
        trusting.verify_flags |= ssl.VerifyFlags(ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME)
        return _certificate(backend, trusting, deadline)
    except (OSError, ValueError):
        return {}


def _named(issuer: Iterable[Iterable[tuple[str, str]]]) -> str:
    parts = {key: value for relative in issuer for key, value in relative}
    return parts.get("commonName") or parts.get("organizationName") or ""


def _day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")

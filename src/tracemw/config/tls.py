"""The certificates of an export: whom we trust, and what we show."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tracemw.config.arguments import Arguments
from tracemw.config.environment import of_signal
from tracemw.config.parsers import wrong

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, kw_only=True)
class Tls:
    """The certificates of one signal, by the paths of their PEM files."""

    certificate: str | None = None
    """The CA certificates to trust. None is for those that the system trusts, or that `SSL_CERT_FILE` and
    `SSL_CERT_DIR` name; with gRPC, for those that grpc brings."""

    client_certificate: str | None = None
    """The certificate to show to the backend."""

    client_key: str | None = None
    """The key of that certificate; None when both are in one file."""

    context: ssl.SSLContext | None = field(default=None, compare=False, repr=False)
    """The certificates and the key, loaded. None if none is named and nothing goes to an https:// URL."""

    @classmethod
    def resolve(cls, signal: str, arguments: Arguments, *, needs_context: bool) -> Tls:
        """Return the certificates that the arguments and the variables of a signal name.

        Args:
            signal: `traces` or `metrics`.
            arguments: What `init` was told.
            needs_context: Whether there is TLS even when no file is named.

        Raises:
            ValueError: for a file that cannot be read, or holds no certificate or key; for a key without a certificate.
        """
        trusted = _find(signal, "certificate", arguments.certificate)
        shown = _find(signal, "client_certificate", arguments.client_certificate)
        key = _find(signal, "client_key", arguments.client_key)
        if key is not None and shown is None:
            raise wrong(key.source, key.path, "a client key together with a client certificate, or neither")
        return cls(
            certificate=None if trusted is None else trusted.path,
            client_certificate=None if shown is None else shown.path,
            client_key=None if key is None else key.path,
            context=_load(trusted, shown, key) if needs_context or trusted or shown else None,
        )

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Return the content of the files, in grpc's order: certificates to trust, client key, client certificate."""
        shown = self.client_certificate
        paths = (self.certificate, self.client_key or shown, shown)
        trusted, key, certificate = (None if path is None else Path(path).read_bytes() for path in paths)
        return trusted, key, certificate


class _File(NamedTuple):
    path: str
    source: str
    """The argument or the variable that names the file."""

    def unreadable(self, error: Exception) -> ValueError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return wrong(self.source, self.path, f"the path of a PEM file that can be read ({reason})")


def _find(signal: str, name: str, argument: str | None) -> _File | None:
    def opened(source: str, path: str) -> _File:
        file = _File(path, source)
        try:
            with Path(path).open("rb"):
                return file
        except OSError as error:
            raise file.unreadable(error) from None

    return of_signal(signal, name.upper(), argument, opened)


def _load(trusted: _File | None, shown: _File | None, key: _File | None) -> ssl.SSLContext:
    import ssl  # takes 5 ms, and is needed only for TLS

    if trusted is None:
        context = _trusting_the_system()
    else:
        try:
            context = ssl.create_default_context(cafile=trusted.path)
        except (OSError, ValueError) as error:
            raise trusted.unreadable(error) from None
    if shown is not None:
        try:  # the empty password refuses a key that needs one; without it, OpenSSL asks on the terminal
            context.load_cert_chain(shown.path, None if key is None else key.path, password=lambda: b"")
        except (OSError, ValueError) as error:
            blamed = key if key is not None and _reads_as_certificate(shown.path) else shown
            raise blamed.unreadable(error) from None
    return context


def _reads_as_certificate(path: str) -> bool:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):
        return False
    return True


def _trusting_the_system() -> ssl.SSLContext:
    """Return a context that trusts what the system trusts, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name.

    Python for macOS knows of no such files. There the context trusts certifi's certificates, if certifi is installed.
    """
    import ssl

    context = ssl.create_default_context()
    paths = ssl.get_default_verify_paths()
    if not (paths.cafile or paths.capath):
        try:
            import certifi
        except ImportError:
            pass
        else:
            context.load_verify_locations(certifi.where())
    return context

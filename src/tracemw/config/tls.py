"""The certificates of an export: whom we trust, and what we show."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tracemw.config.arguments import Arguments
from tracemw.config.environment import of_signal
from tracemw.config.parsers import wrong

if TYPE_CHECKING:
    import ssl


@dataclass(frozen=True, kw_only=True)
class Tls:
    """The certificates of one signal, by the paths of their PEM files."""

    certificate: str | None = None
    """The CA certificates to trust; None for those that the system trusts, or with gRPC those that grpc brings."""

    client_certificate: str | None = None
    """The certificate to show to the backend."""

    client_key: str | None = None
    """The key of that certificate; None when both are in one file."""

    context: ssl.SSLContext | None = field(default=None, compare=False, repr=False)
    """All of them, loaded; None without any, unless something is posted to an https:// URL."""

    @classmethod
    def resolve(cls, signal: str, arguments: Arguments, *, needs_context: bool) -> Tls:
        """Return the certificates that the arguments and the variables of a signal name.

        Args:
            signal: `traces` or `metrics`.
            arguments: What `init` was told.
            needs_context: Whether there is TLS even when no file is named.

        Raises:
            ValueError: for a file that cannot be read, or has no certificate or key in it.
        """
        named = _Files(signal, arguments)
        return cls(
            certificate=named.certificate,
            client_certificate=named.client_certificate,
            client_key=named.client_key,
            context=named.loaded(needs_context),
        )

    def pem(self) -> tuple[bytes | None, bytes | None, bytes | None]:
        """Read what grpc takes: the certificates to trust, the key of the one to show, and that one."""
        shown = self.client_certificate
        paths = (self.certificate, self.client_key or shown, shown)
        trusted, key, certificate = (None if path is None else Path(path).read_bytes() for path in paths)
        return trusted, key, certificate


class _Files:
    """The files of a signal, and who has named each: an error has to say so."""

    def __init__(self, signal: str, arguments: Arguments) -> None:
        self._signal = signal
        self._sources: dict[str, str] = {}
        self.certificate = self._named("certificate", arguments.certificate)
        self.client_certificate = self._named("client_certificate", arguments.client_certificate)
        self.client_key = self._named("client_key", arguments.client_key)
        if self.client_key is not None and self.client_certificate is None:
            raise wrong(self._sources["client_key"], self.client_key, "a key, and its certificate with it")

    def loaded(self, needs_context: bool) -> ssl.SSLContext | None:
        if not needs_context and self.certificate is None and self.client_certificate is None:
            return None
        import ssl  # takes 5 ms, for nothing without TLS

        if self.certificate is None:
            context = _trusting_the_system()
        else:
            try:
                context = ssl.create_default_context(cafile=self.certificate)
            except (OSError, ValueError) as error:
                raise self._unreadable("certificate", self.certificate, error) from None
        if self.client_certificate is not None:
            try:  # a key with a password is refused, rather than asked for on a terminal
                context.load_cert_chain(self.client_certificate, self.client_key, password=lambda: b"")
            except (OSError, ValueError) as error:
                name, path = "client_certificate", self.client_certificate
                if self.client_key is not None and _reads_as_certificate(path):
                    name, path = "client_key", self.client_key
                raise self._unreadable(name, path, error) from None
        return context

    def _named(self, name: str, argument: str | None) -> str | None:
        def noted(source: str, value: str) -> str:
            self._sources[name] = source
            try:
                with Path(value).open("rb"):
                    return value
            except OSError as error:
                raise self._unreadable(name, value, error) from None

        return of_signal(self._signal, name.upper(), argument, noted)

    def _unreadable(self, name: str, path: str, error: Exception) -> ValueError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return wrong(self._sources[name], path, f"the path of a PEM file that can be read ({reason})")


def _reads_as_certificate(path: str) -> bool:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):
        return False
    return True


def _trusting_the_system() -> ssl.SSLContext:
    """Return a context that trusts what the system trusts, or what `SSL_CERT_FILE` and `SSL_CERT_DIR` name.

    Python for macOS knows of no such files. There the context trusts what certifi does, when that is installed.
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

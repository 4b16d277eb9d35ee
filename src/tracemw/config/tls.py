"""The certificates of an export: those that the backend's is checked against, and the one shown to it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tracemw.config.values import of_signal, wrong

if TYPE_CHECKING:
    import ssl


class Tls:
    """The files for a signal's TLS, each by the argument or the variable that names it."""

    def __init__(
        self, signal: str, certificate: str | None, client_certificate: str | None, client_key: str | None
    ) -> None:
        self._signal = signal
        self._names: dict[str, str] = {}
        self.certificate = self._file("certificate", certificate)
        self.client_certificate = self._file("client_certificate", client_certificate)
        self.client_key = self._file("client_key", client_key)
        if self.client_key is not None and self.client_certificate is None:
            raise wrong(self._names["client_key"], self.client_key, "a key, and its certificate with it")

    def context(self, *, https: bool) -> ssl.SSLContext | None:
        """Return the certificates, loaded; None when there are none, and no need of the system's.

        Raises:
            ValueError: for a file that cannot be read, or is not what it is said to be.
        """
        if not https and self.certificate is None and self.client_certificate is None:
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
                of_key = self.client_key is not None and _reads_as_certificate(self.client_certificate)
                name, path = ("client_key", self.client_key) if of_key else ("client_certificate", None)
                raise self._unreadable(name, path or self.client_certificate, error) from None
        return context

    def _file(self, name: str, argument: str | None) -> str | None:
        def noted(source: str, value: str) -> str:
            self._names[name] = source
            try:
                with Path(value).open("rb"):
                    return value
            except OSError as error:
                raise self._unreadable(name, value, error) from None

        return of_signal(self._signal, name.upper(), argument, noted)

    def _unreadable(self, name: str, path: str, error: Exception) -> ValueError:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        return wrong(self._names[name], path, f"the path of a PEM file that can be read ({reason})")


def _reads_as_certificate(path: str) -> bool:
    import ssl

    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except (OSError, ValueError):
        return False
    return True


def _trusting_the_system() -> ssl.SSLContext:
    """Return a context that trusts what the system trusts, or `SSL_CERT_FILE` and `SSL_CERT_DIR` name.

    Where there is no such thing, as in Python for macOS, it is what certifi trusts, when that is installed.
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

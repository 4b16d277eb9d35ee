"""What make-secrets.sh makes lets services in, keeps others out, and is made once."""

from __future__ import annotations

import base64
import shutil
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key

from backend import backend_serving
from deploy.stack import COMPOSE, DEPLOY, compose, loaded, teams
from tracemw.config import pseudonym_keys

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


SERVED = ("collector", "tempo", "loki", "grafana")
"""What has a certificate."""


def make(folder: Path, *names: str) -> Path:
    """Run the script of a copy of the stack, and return the folder that it makes."""
    said(folder, *names)
    return folder / "compose/secrets"


def said(folder: Path, *names: str) -> str:
    """Run the script of a copy of the stack, and return what it says."""
    script = folder / "compose/make-secrets.sh"
    return subprocess.run(["sh", str(script), *names], check=True, capture_output=True, text=True).stdout


def read(certificate: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(certificate.read_bytes())


def days_left(certificate: Path) -> int:
    return (read(certificate).not_valid_after_utc - datetime.now(UTC)).days


def names_in(certificate: Path) -> list[str]:
    extension = read(certificate).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return extension.value.get_values_for_type(x509.DNSName)


def sign_again(secrets: Path, name: str, days: int) -> None:
    """Have the authority sign a certificate once more, for so many days."""
    path = secrets / name / "tls.crt"
    former, now = read(path), datetime.now(UTC)
    key = load_pem_private_key((secrets / "authority/tls.key").read_bytes(), None)
    assert isinstance(key, EllipticCurvePrivateKey)
    builder = x509.CertificateBuilder(former.issuer, former.subject, former.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now).not_valid_after(now + timedelta(days=days, hours=1))
    for extension in former.extensions:
        builder = builder.add_extension(extension.value, extension.critical)
    path.write_bytes(builder.sign(key, SHA256()).public_bytes(Encoding.PEM))


def contents(secrets: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {str(path.relative_to(secrets)): path.read_bytes() for path in secrets.rglob("*") if path.is_file()}


def copy(folder: Path) -> Path:
    """Return a copy of the stack without secrets."""
    copied = folder / "deploy"
    shutil.copytree(DEPLOY, copied, ignore=shutil.ignore_patterns("secrets"))
    return copied


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(copy(tmp_path_factory.mktemp("stack")), "telemetry.example.com")


def server_side(secrets: Path, name: str, *, clients_need_certificates: bool = False) -> ssl.SSLContext:
    """TLS as a service of the stack has it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(secrets / name / "tls.crt", secrets / name / "tls.key")
    if clients_need_certificates:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(secrets / name / "ca.crt")
    return context


@contextmanager
def answering(context: ssl.SSLContext) -> Iterator[int]:
    """A server that says `taken` to whoever gets through the handshake, once; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                    connection.sendall(b"taken")
            except OSError:
                pass

        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def client_side(authority: Path) -> ssl.SSLContext:
    """TLS as a client has it that takes certificates to the letter, as Python does from 3.13 on."""
    context = ssl.create_default_context(cafile=authority)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def ask(port: int, context: ssl.SSLContext, name: str) -> bytes:
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname=name) as tls,
    ):
        return tls.recv(10)


def test_compose_finds_all_that_it_mounts(secrets: Path) -> None:
    for service in compose().values():
        for mount in service.get("volumes", ()):
            source = mount.partition(":")[0]
            if source.startswith("./secrets"):
                assert (secrets.parent / source).is_dir(), source
                assert stat.S_IMODE((secrets.parent / source).stat().st_mode) == 0o755, "its user may look into it"


def test_others_on_the_machine_read_none_of_it_and_containers_read_what_is_theirs(secrets: Path) -> None:
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700
    for name in ("collector", "tempo", "loki", "grafana"):
        assert stat.S_IMODE((secrets / name / "tls.key").stat().st_mode) == 0o644
    for name in ("authority/tls.key", "pseudonyms.env", *(f"teams/{team}" for team in teams())):
        assert stat.S_IMODE((secrets / name).stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["collector", "tempo", "loki", "grafana"])
@pytest.mark.parametrize("asked", ["", ".observability.svc", "localhost", "telemetry.example.com"])
def test_a_certificate_has_the_names_under_which_a_service_is_asked(secrets: Path, name: str, asked: str) -> None:
    host = f"{name}{asked}" if asked.startswith(".") or not asked else asked
    trusting = client_side(secrets / "trust/ca.crt")
    with answering(server_side(secrets, name)) as port:
        assert ask(port, trusting, host) == b"taken"


@pytest.mark.parametrize(
    ("who", "is_let_in"), [("collector", True), ("grafana", False), ("loki", False), (None, False)]
)
def test_only_the_collector_shows_a_certificate_that_tempo_takes(
    secrets: Path, who: str | None, is_let_in: bool
) -> None:
    client = client_side(secrets / "collector/ca.crt")
    if who is not None:
        client.load_cert_chain(secrets / who / "tls.crt", secrets / who / "tls.key")
    with answering(server_side(secrets, "tempo", clients_need_certificates=True)) as port:
        if is_let_in:
            assert ask(port, client, "tempo") == b"taken"
        else:
            with pytest.raises(OSError, match=r"alert|reset|EOF|closed"):
                ask(port, client, "tempo")


@pytest.mark.parametrize("team", sorted(teams()))
def test_a_service_with_the_variables_of_its_team_gets_through_as_that_team(secrets: Path, team: str) -> None:
    name, _, value = (secrets / f"teams/{team}.env").read_text().strip().partition("=")
    with backend_serving(tls=server_side(secrets, "collector")) as backend:
        port = backend.url.rpartition(":")[2]
        environment = {
            name: value,
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"https://localhost:{port}",
            "OTEL_EXPORTER_OTLP_CERTIFICATE": str(secrets / "trust/ca.crt"),
        }
        code = "import tracemw\nwith tracemw.init('storefront'):\n    with tracemw.span('x'): pass"
        subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
        assert backend.names == ["x"]
        scheme, _, credentials = backend.headers[0]["authorization"].partition(" ")
    user, _, password = base64.b64decode(credentials).decode().partition(":")
    assert (scheme, user) == ("Basic", team)
    hashes = dict(line.split(":") for line in (secrets / "collector-teams/teams.htpasswd").read_text().split())
    salt = hashes[team].split("$")[2]
    hashed = ["openssl", "passwd", "-apr1", "-salt", salt, password]
    assert subprocess.run(hashed, check=True, capture_output=True, text=True).stdout.strip() == hashes[team]
    assert set(hashes) == teams()


def test_a_second_run_changes_no_key_and_no_password_fills_an_empty_one_and_adds_a_new_team(tmp_path: Path) -> None:
    stack = copy(tmp_path)
    secrets = make(stack)
    before = contents(secrets)
    (secrets / "teams/payments").write_text("")  # as of a run that was ended
    folder = stack / "grafana/datasources"
    (folder / "billing.yaml").write_text((folder / "shop.yaml").read_text().replace("shop", "billing"))
    make(stack)
    after = contents(secrets)
    changed = {path for path in before if after[path] != before[path]}
    assert changed == {"collector-teams/teams.htpasswd", "teams/payments", "teams/payments.env"}
    assert after["teams/payments"].strip()
    assert set(after) - set(before) == {"teams/billing", "teams/billing.env"}


def test_another_name_makes_every_certificate_anew_and_no_password_and_no_authority(tmp_path: Path) -> None:
    stack = copy(tmp_path)
    assert "Restart" not in said(stack), "nothing runs yet"
    secrets = stack / "compose/secrets"
    before = contents(secrets)
    told = said(stack, "telemetry.example.com", "grafana.example.com")
    after = contents(secrets)
    changed = {path for path in before if after[path] != before[path]} - {"collector-teams/teams.htpasswd"}
    assert changed - {"authority/tls.srl"} == {f"{name}/tls.{kind}" for name in SERVED for kind in ("crt", "key")}
    for name in SERVED:
        assert names_in(secrets / name / "tls.crt")[-2:] == ["telemetry.example.com", "grafana.example.com"]
        assert f"Certificate of {name}: new, for a year, since its names were DNS:{name}," in told
        assert f"Restart {name}." in told


def test_a_run_without_names_keeps_those_that_certificates_have_and_says_of_none(tmp_path: Path) -> None:
    stack = copy(tmp_path)
    secrets = make(stack, "telemetry.example.com")
    before = contents(secrets)
    assert "ertificate" not in said(stack)
    assert contents(secrets)["grafana/tls.crt"] == before["grafana/tls.crt"]
    assert "ertificate" not in said(stack, "telemetry.example.com")
    assert contents(secrets)["grafana/tls.crt"] == before["grafana/tls.crt"]


@pytest.mark.parametrize(("days", "is_renewed"), [(29, True), (32, False)])
def test_a_certificate_is_renewed_within_its_last_30_days_and_keeps_its_names(
    tmp_path: Path, days: int, is_renewed: bool
) -> None:
    stack = copy(tmp_path)
    secrets = make(stack, "telemetry.example.com")
    names = names_in(secrets / "loki/tls.crt")
    sign_again(secrets, "loki", days)
    told = said(stack)
    assert ("Certificate of loki: new, for a year, since it would have ended within 30 days" in told) is is_renewed
    assert "Certificate of tempo" not in told
    assert (days_left(secrets / "loki/tls.crt") > 360) is is_renewed
    assert names_in(secrets / "loki/tls.crt") == names


def test_the_authority_lasts_ten_years_and_its_certificates_one(secrets: Path) -> None:
    assert days_left(secrets / "trust/ca.crt") > 3600
    assert {days_left(secrets / name / "tls.crt") for name in SERVED} == {364}


def test_an_authority_near_its_end_is_renewed_and_old_and_new_trust_let_one_another_in(tmp_path: Path) -> None:
    stack = copy(tmp_path)
    secrets = make(stack)
    sign_again(secrets, "authority", 300)
    (secrets / "trust/ca.crt").write_bytes((secrets / "authority/tls.crt").read_bytes())
    former, key = (
        (secrets / "trust/ca.crt").rename(tmp_path / "former.crt"),
        (secrets / "authority/tls.key").read_bytes(),
    )
    assert "Authority: new certificate, for 10 years." in said(stack)
    assert (secrets / "authority/tls.key").read_bytes() == key
    assert days_left(secrets / "trust/ca.crt") > 3600
    assert (secrets / "tempo/ca.crt").read_bytes() == (secrets / "trust/ca.crt").read_bytes()
    for trusted in (former, secrets / "trust/ca.crt"):
        with answering(server_side(secrets, "grafana")) as port:
            assert ask(port, client_side(trusted), "grafana") == b"taken"


def test_certificates_follow_an_authority_that_is_made_anew(tmp_path: Path) -> None:
    stack = copy(tmp_path)
    secrets = make(stack)
    shutil.rmtree(secrets / "authority")
    assert said(stack).count("since another authority had signed it") == len(SERVED)
    with answering(server_side(secrets, "grafana")) as port:
        assert ask(port, client_side(secrets / "trust/ca.crt"), "grafana") == b"taken"


def test_the_key_of_pseudonyms_is_one_that_tracemw_takes_and_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = copy(tmp_path)
    line = (make(stack) / "pseudonyms.env").read_text()
    name, _, value = line.strip().partition("=")
    monkeypatch.setenv(name, value)
    (key,) = pseudonym_keys()
    assert value.startswith(f"{datetime.now(UTC).year}a:")
    assert key is not None
    assert (make(stack) / "pseudonyms.env").read_text() == line


def test_it_says_that_nobody_is_told_of_alerts_until_receivers_have_addresses(tmp_path: Path) -> None:
    stack = copy(tmp_path)
    assert said(stack).count("NOBODY IS TOLD") == 2
    for receiver in loaded("alertmanager/alertmanager.yaml")["receivers"]:
        address = stack / f"compose/secrets/alertmanager-receivers/{receiver['name']}-url"
        assert address.read_bytes() == b""
        address.write_text("https://pager.example.com/1")
    assert "NOBODY IS TOLD" not in said(stack)


def test_git_ignores_what_is_made() -> None:
    if shutil.which("git") is None or not (COMPOSE.parents[1] / ".git").exists():
        pytest.skip("only a clone has a .git")
    asked = ["git", "-C", str(COMPOSE), "check-ignore", "--quiet", "secrets/authority/tls.key"]
    assert subprocess.run(asked, check=False).returncode == 0

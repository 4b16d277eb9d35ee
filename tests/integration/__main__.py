"""The multi-service test against a real Tempo: `make test-tempo`, or ``python -m tests.integration``.

The Tempo is the one that TEMPO_URL (its query API) and TEMPO_ENDPOINT (its OTLP over HTTP) name, as TEMPO_TENANT if
that is set; else one that docker compose starts and takes down again. Status 0 when all holds, 1 when a test fails,
2 when there is no Tempo to test against, or the test did not come to its end.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from .backends import Backend

HERE = Path(__file__).parent
COMPOSE_FILE = HERE / "tempo" / "compose.yaml"
START_SECONDS = 120.0


class NoTempoError(Exception):
    """There is no Tempo to test against; the message says what is missing."""


def main() -> int:
    """Find or start a Tempo, run the test, and return the exit status."""
    for number in (signal.SIGTERM, signal.SIGHUP):  # as Ctrl-C does: what was started is stopped
        signal.signal(number, signal.default_int_handler)
    try:
        with tempo() as backend:
            print(f"test-tempo: spans go to {backend.endpoint} and are looked for at {backend.url}", flush=True)
            return run(backend)
    except NoTempoError as error:
        print(f"test-tempo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("test-tempo: interrupted", file=sys.stderr)
        return 2


@contextmanager
def tempo() -> Iterator[Backend]:
    """The Tempo that the environment names, or one of our own for the length of the block."""
    url, endpoint, tenant = (os.environ.get(f"TEMPO_{name}", "").strip() for name in ("URL", "ENDPOINT", "TENANT"))
    for name, value in (("TEMPO_URL", url), ("TEMPO_ENDPOINT", endpoint)):
        if value and not value.startswith(("http://", "https://")):
            raise NoTempoError(f"{name}={value!r} lacks its scheme: http:// or https:// comes first")
    if url and endpoint:
        named = Backend(url.rstrip("/"), endpoint, tenant or None)
        complaint = asyncio.run(named.complaint())
        if complaint is not None:
            raise NoTempoError(complaint)
        yield named
    elif url or endpoint:
        missing = "TEMPO_ENDPOINT (OTLP over HTTP)" if url else "TEMPO_URL (the query API)"
        raise NoTempoError(f"{missing} is not set, and the Tempo of {url or endpoint} needs both")
    else:
        with composed() as started:
            yield started


@contextmanager
def composed() -> Iterator[Backend]:
    """A Tempo in a container, ready to take spans; it is gone after the block, however that ends."""
    require_compose()
    project = f"tracemw-test-{secrets.token_hex(4)}"
    try:
        compose(project, "up", "--detach", "--quiet-pull")
        try:
            addresses = [compose(project, "port", "tempo", port).strip() for port in ("3200", "4318")]
            started = Backend(*(f"http://{address}" for address in addresses))
            complaint = asyncio.run(until_ready(started))
            if complaint is not None:
                raise NoTempoError(f"Tempo was not ready within {START_SECONDS:g} s: {complaint}")
        except NoTempoError as error:
            log = compose(project, "logs", "--tail", "20", "tempo")
            raise NoTempoError(f"{error}; the end of its log:\n{log}") from None
        yield started
    finally:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # what follows is what they ask for
            signal.signal(number, signal.SIG_IGN)
        try:
            compose(project, "down", "--volumes", "--timeout", "5")
        except NoTempoError as error:  # what came before matters more than that
            print(f"test-tempo: {error}", file=sys.stderr)


def require_compose() -> None:
    """Raise NoTempoError unless docker compose can be run."""
    wanted = (
        "no Tempo to test against: set TEMPO_URL (its query API, such as http://tempo:3200) and TEMPO_ENDPOINT "
        "(its OTLP over HTTP, such as http://tempo:4318), or have Docker with Compose start one"
    )
    if shutil.which("docker") is None:
        raise NoTempoError(f"{wanted}; there is no docker command here")
    version = subprocess.run(["docker", "compose", "version"], capture_output=True, text=True, check=False)
    if version.returncode != 0:
        raise NoTempoError(f"{wanted}; `docker compose version` fails here: {first_line(version.stderr)}")


def compose(project: str, *arguments: str) -> str:
    """Run docker compose on the project and return what it prints; NoTempoError when it fails."""
    command = ["docker", "compose", "--file", str(COMPOSE_FILE), "--project-name", project, *arguments]
    # A session of its own: the terminal's Ctrl-C is for us, who take the container down.
    ran = subprocess.run(command, capture_output=True, text=True, check=False, start_new_session=True)
    if ran.returncode != 0:
        raise NoTempoError(f"`{' '.join(command)}` fails: {ran.stderr.strip()}")
    return ran.stdout


def first_line(text: str) -> str:
    """The first line that is not empty, or a word that says there is none."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "it says nothing")


async def until_ready(backend: Backend) -> str | None:
    """Wait until it says that it is ready, takes a span and answers a query; else return what is wrong in the end."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        complaint = await not_ready(backend) or await backend.complaint()
        if complaint is None or time.monotonic() > deadline:
            return complaint
        await asyncio.sleep(0.5)


async def not_ready(backend: Backend) -> str | None:
    """What ``/ready`` says when it is anything but yes."""
    async with backend.client() as client:
        try:
            answer = await client.get(f"{backend.url}/ready")
        except httpx.HTTPError as error:
            return f"{backend.url}/ready does not answer: {error!r}"
    return None if answer.is_success else f"{answer.url} answers {answer.status_code}: {answer.text.strip()}"


def run(backend: Backend) -> int:
    """Run the test, until something fails, and return the exit status: what a Tempo has not found takes a minute."""
    command = [sys.executable, "-m", "pytest", str(HERE / "test_multi_service.py"), "--verbose", "--exitfirst"]
    command += ["--tempo-url", backend.url, "--tempo-endpoint", backend.endpoint]
    if backend.tenant is not None:
        command += ["--tempo-tenant", backend.tenant]
    # A session of its own: the terminal's Ctrl-C is for us, who pass it on once, and the test stops its services.
    testing = subprocess.Popen(command, start_new_session=True)
    try:
        status = testing.wait()
        return status if status in (0, 1) else 2
    finally:
        if testing.poll() is None:
            testing.send_signal(signal.SIGINT)
            testing.wait()


if __name__ == "__main__":
    sys.exit(main())

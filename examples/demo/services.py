"""How the viewer and the three services are started, and how they find each other."""

from dataclasses import dataclass
from pathlib import Path

import httpx

from examples.demo.processes import Child, Children, free_ports

REPOSITORY = Path(__file__).parents[2]
FAULTY = REPOSITORY / "examples" / "incidents"

WORKING = {
    "storefront": "examples.fastapi_app.storefront",
    "profile": "examples.flask_app.app",
    "payments": "examples.fastapi_app.payments",
}


@dataclass(frozen=True)
class Addresses:
    """Where the viewer and the services listen."""

    viewer: str
    services: dict[str, str]


def choose_addresses() -> Addresses:
    """Return addresses on free ports, so that the demo meets no other server of this machine."""
    viewer, *services = (f"http://127.0.0.1:{port}" for port in free_ports(4))
    return Addresses(viewer, dict(zip(WORKING, services, strict=True)))


async def start_viewer(children: Children, client: httpx.AsyncClient, addresses: Addresses) -> None:
    """Start the viewer and wait until it takes traces."""
    port = _port(addresses.viewer)
    viewer = children.start("viewer", "tracemw", "view", "--port", port, environment={})
    await viewer.ready(client, f"{addresses.viewer}/ready")


class Shop:
    """The three services, with the faults of an incident in them if one is named."""

    def __init__(
        self, children: Children, client: httpx.AsyncClient, addresses: Addresses, *, incident: str | None = None
    ) -> None:
        self.addresses = addresses.services
        self.client = client
        self._children = children
        self._incident = incident
        self._viewer = addresses.viewer

    async def open(self) -> None:
        """Start the services and wait until each is healthy."""
        started = [self._start(name, "1.0") for name in self.addresses]
        for child in started:
            await self._ready(child)

    async def release(self, name: str, version: str) -> None:
        """Replace one service by another version of it."""
        self._children.stop(name)
        await self._ready(self._start(name, version))

    def warnings(self) -> list[str]:
        """Return the lines in which the services have said themselves what goes wrong."""
        logs = [(self._children.folder / f"{name}.log").read_text(errors="replace") for name in self.addresses]
        return [line for log in logs for line in log.splitlines() if "; see http" in line]

    async def _ready(self, child: Child) -> None:
        await child.ready(self.client, f"{self.addresses[child.name]}/health")

    def _start(self, name: str, version: str) -> Child:
        application, port = f"{self._module(name)}:app", _port(self.addresses[name])
        environment = {**self._environment(), "SERVICE_VERSION": version}
        if name == "profile":
            # An incident takes one worker with threads, which has one pool of connections for all requests.
            workers = ["--workers", "2"] if self._incident is None else ["--workers", "1", "--threads", "8"]
            arguments = ["gunicorn", application, *workers, "--bind", f"127.0.0.1:{port}"]
            # gunicorn puts its control socket into the runtime directory: not into the user's.
            environment["XDG_RUNTIME_DIR"] = str(self._children.folder)
        else:
            arguments = ["uvicorn", application, "--host", "127.0.0.1", "--port", port]
        return self._children.start(name, *arguments, environment=environment)

    def _module(self, name: str) -> str:
        """Return the module of a service: the one in the incident's folder if there is one, else the one that works."""
        faulty = FAULTY / str(self._incident) / f"{name}.py"
        return f"examples.incidents.{self._incident}.{name}" if faulty.is_file() else WORKING[name]

    def _environment(self) -> dict[str, str]:
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self._viewer,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_BSP_SCHEDULE_DELAY": "200",  # ms: nobody wants to wait 5 s for the first trace
            "PROFILE_URL": self.addresses["profile"],
            "PAYMENTS_URL": self.addresses["payments"],
            "NO_PROXY": "127.0.0.1",
            "TRACEMW_WARN": "true",  # as on a terminal; here it goes into a log
        }


def _port(address: str) -> str:
    return str(httpx.URL(address).port)

"""How the viewer and the three services are started, and how they find each other."""

from dataclasses import dataclass
from pathlib import Path

import httpx

from examples.demo.processes import Child, Children, free_ports

REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True)
class Addresses:
    """Where the viewer and the services listen."""

    viewer: str
    services: dict[str, str]


def choose_addresses() -> Addresses:
    """Return addresses on free ports, so that the demo meets no other server of this machine."""
    viewer, *services = (f"http://127.0.0.1:{port}" for port in free_ports(4))
    return Addresses(viewer, dict(zip(("storefront", "profile", "payments"), services, strict=True)))


async def start_viewer(children: Children, client: httpx.AsyncClient, addresses: Addresses) -> None:
    """Start the viewer and wait until it takes traces."""
    port = _port(addresses.viewer)
    viewer = children.start("viewer", "tracemw", "view", "--port", port, environment={})
    await viewer.ready(client, f"{addresses.viewer}/ready")


async def start_services(children: Children, client: httpx.AsyncClient, addresses: Addresses) -> None:
    """Start the three services and wait until each is healthy."""
    started = [
        _start_fastapi(children, "storefront", addresses),
        _start_profile(children, addresses),
        _start_fastapi(children, "payments", addresses),
    ]
    for child in started:
        await child.ready(client, f"{addresses.services[child.name]}/health")


def _start_fastapi(children: Children, name: str, addresses: Addresses) -> Child:
    port = _port(addresses.services[name])
    arguments = ["uvicorn", f"examples.fastapi_app.{name}:app", "--host", "127.0.0.1", "--port", port]
    return children.start(name, *arguments, environment=_environment(addresses))


def _start_profile(children: Children, addresses: Addresses) -> Child:
    address = f"127.0.0.1:{_port(addresses.services['profile'])}"
    arguments = ["gunicorn", "examples.flask_app.app:app", "--workers", "2", "--bind", address]
    # gunicorn puts its control socket into the runtime directory: not into the user's.
    environment = {**_environment(addresses), "XDG_RUNTIME_DIR": str(children.folder)}
    return children.start("profile", *arguments, environment=environment)


def _environment(addresses: Addresses) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": addresses.viewer,
        "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_BSP_SCHEDULE_DELAY": "200",  # ms: nobody wants to wait 5 s for the first trace
        "PROFILE_URL": addresses.services["profile"],
        "PAYMENTS_URL": addresses.services["payments"],
        "NO_PROXY": "127.0.0.1",
    }


def _port(address: str) -> str:
    return str(httpx.URL(address).port)

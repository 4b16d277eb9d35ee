"""The files of the stack, and what several tests ask of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).parents[2]
DEPLOY: Final = ROOT / "deploy"
COMPOSE: Final = DEPLOY / "compose"
KUBERNETES: Final = DEPLOY / "kubernetes"

OPERATORS: Final = "operators"
"""Whose data source shows the metrics of all teams."""


def loaded(name: str) -> Any:
    """What a file of YAML says."""
    return yaml.safe_load((DEPLOY / name).read_text())


def compose() -> dict[str, dict[str, Any]]:
    """The services of docker compose, by their names."""
    services: dict[str, dict[str, Any]] = loaded("compose/compose.yaml")["services"]
    return services


def objects() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of Kubernetes, after the name of its file."""
    for path in sorted(KUBERNETES.glob("*.yaml")):
        if path.name != "kustomization.yaml":
            yield from ((path.name, each) for each in yaml.safe_load_all(path.read_text()))


def data_sources() -> dict[str, list[dict[str, Any]]]:
    """The data sources of Grafana, by the team that they are for."""
    return {
        path.stem: loaded(f"grafana/datasources/{path.name}")["datasources"]
        for path in sorted((DEPLOY / "grafana/datasources").glob("*.yaml"))
    }


def teams() -> set[str]:
    """The teams that there are."""
    return set(data_sources()) - {OPERATORS}


def dashboards() -> dict[str, dict[str, Any]]:
    """The dashboards, by the names of their files."""
    return {path.name: json.loads(path.read_text()) for path in sorted((DEPLOY / "grafana/dashboards").glob("*.json"))}


def panels() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each panel, after the names of its dashboard and itself."""
    for name, board in dashboards().items():
        yield from ((f"{name}: {panel['title']}", panel) for panel in board["panels"])


def texts(value: object) -> Iterator[str]:
    """Every text within a document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)

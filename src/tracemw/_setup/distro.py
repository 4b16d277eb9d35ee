"""What `opentelemetry-instrument` finds: `opentelemetry-instrument uvicorn app:app` traces by tracemw, with no code.

The environment says all; instrumentations that are installed are loaded, as that command does, and their spans are
recorded, kept and exported as those of `tracemw.init` are. An `init` in the application puts its own settings in place.

Another distribution that is installed has precedence unless `OTEL_PYTHON_DISTRO=tracemw` names this one.
"""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from opentelemetry.instrumentation.distro import BaseDistro  # type: ignore[attr-defined]  # it has no types

NAME: Final = "tracemw"
_DISTRO: Final = "OTEL_PYTHON_DISTRO"
_CONFIGURATOR: Final = "OTEL_PYTHON_CONFIGURATOR"


class Distro(BaseDistro):  # type: ignore[misc]  # nor has this
    """tracemw as a distribution of OpenTelemetry."""

    def _configure(self, **kwargs: Any) -> None:
        del kwargs
        os.environ.setdefault(_CONFIGURATOR, NAME)


def distro() -> Distro | None:
    """Return tracemw as a distribution; none, which `opentelemetry-instrument` passes over, beside another one."""
    is_chosen = os.environ.get(_DISTRO) == NAME or not _others("opentelemetry_distro")
    return Distro() if is_chosen else None


class Configurator:
    """Sets up tracing by the environment."""

    def configure(self, **kwargs: Any) -> None:
        """Call `init` without arguments; beside the configurator of others that is not told apart, leave it to that."""
        others = _others("opentelemetry_configurator")
        if others and os.environ.get(_CONFIGURATOR) != NAME:
            others[0].load()().configure(**kwargs)
            return
        from tracemw.bootstrap import start_without_code

        start_without_code()


def _others(group: str) -> list[EntryPoint]:
    return [found for found in entry_points(group=group) if found.name != NAME]

"""The entry points for `opentelemetry-instrument uvicorn app:app`: tracemw without a line of code.

All settings come from the environment. The command loads the installed instrumentations. Their spans are recorded, kept
and exported as after `tracemw.init`. An `init` in the application replaces the settings.

Another installed distribution has precedence, unless `OTEL_PYTHON_DISTRO=tracemw` names this one.
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
    """Return tracemw as a distribution; None if another one is installed, so that the command takes that one."""
    is_chosen = os.environ.get(_DISTRO) == NAME or not _others("opentelemetry_distro")
    return Distro() if is_chosen else None


class Configurator:
    """Sets up tracing by the environment."""

    def configure(self, **kwargs: Any) -> None:
        """Do what `init` does without arguments. A later `init` replaces the settings.

        If another configurator is installed, that one is called, unless `OTEL_PYTHON_CONFIGURATOR` names tracemw.
        """
        others = _others("opentelemetry_configurator")
        if others and os.environ.get(_CONFIGURATOR) != NAME:
            others[0].load()().configure(**kwargs)
            return
        from tracemw._setup.installation import IN_THIS_PROCESS
        from tracemw.config import Arguments, Config
        from tracemw.sampling import Sampling

        IN_THIS_PROCESS.install(Config.resolve(Arguments()), Sampling(), is_replaceable=True)


def _others(group: str) -> list[EntryPoint]:
    return [found for found in entry_points(group=group) if found.name != NAME]

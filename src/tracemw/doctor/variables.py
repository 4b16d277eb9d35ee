"""Environment variables that are misspelt, ignored or missing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Final

from tracemw._setup.otel_variables import OTEL_VARIABLES
from tracemw.config import Config, ignored_files, unknown_propagators, unknown_variables
from tracemw.config.environment import get
from tracemw.doctor.diagnosis import Check, failure, hint, ok, warning

_PSEUDONYM_KEY = "TRACEMW_PSEUDONYM_KEY"
_CLOSE: Final = 0.94
"""How much of two names has to agree: a letter or two may be wrong."""


def check_variables(config: Config | None) -> list[Check]:
    """Look at the variables of this process."""
    return [*_spelling(), _pseudonyms(), *_service(config)]


def _spelling() -> list[Check]:
    wrong = [
        warning("variables", f"{name} is ignored: tracemw has no such variable", f"use {meant}, or unset it")
        for name, meant in unknown_variables().items()
    ]
    wrong += [
        warning("variables", f"{name} is no variable of OpenTelemetry that is known here", f"use {meant}, or unset it")
        for name, meant in _misspelt()
    ]
    wrong += [
        warning(
            "variables",
            f"{name} is ignored: tracemw reads no configuration file",
            "use arguments of tracemw.init() or the other OTEL_* variables, and unset it",
        )
        for name in ignored_files()
    ]
    error = unknown_propagators() if get("OTEL_PROPAGATORS") else None
    if error is not None:
        wrong.append(failure("variables", f"no door can be imported: {error}", "correct OTEL_PROPAGATORS"))
    return wrong or [ok("variables", "no variable is misspelt or ignored")]


def _misspelt() -> Iterator[tuple[str, str]]:
    """Give variables of OpenTelemetry that are unknown and close to a known one. Others may be those of other tools."""
    for name in sorted(os.environ):
        if name.startswith("OTEL_") and name not in OTEL_VARIABLES:
            yield from ((name, meant) for meant in get_close_matches(name, OTEL_VARIABLES, n=1, cutoff=_CLOSE))


def _pseudonyms() -> Check:
    if get(_PSEUDONYM_KEY):
        return ok("pseudonym key", f"{_PSEUDONYM_KEY} is set: tracemw.user() records pseudonyms")
    return hint(
        "pseudonym key",
        f"{_PSEUDONYM_KEY} is not set: tracemw.user() records nothing without it",
        f"set {_PSEUDONYM_KEY} where traces are to be found, and erased, by user; else leave it",
    )


def _service(config: Config | None) -> list[Check]:
    if config is None or config.service is not None:
        return []
    return [
        warning(
            "service name",
            "the service has no name: its spans stand with those of all others that have none",
            "pass a name to tracemw.init(), or set OTEL_SERVICE_NAME",
        )
    ]

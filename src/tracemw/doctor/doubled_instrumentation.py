"""Official instrumentations beside tracemw's doors, which would trace one call twice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from tracemw._setup.instrumentations import WITH_DOOR
from tracemw.doctor.diagnosis import Check, ok, warning

_NAME: Final = "instrumentation"
_AUTOMATIC: Final = "opentelemetry/instrumentation/auto_instrumentation"


def check_doubling() -> list[Check]:
    """Say which official instrumentations trace what a door of tracemw traces."""
    installed = [each for each in entry_points(group="opentelemetry_instrumentor") if each.name in WITH_DOOR]
    on = sorted({each.name for each in installed if _is_on(each)})
    if on:
        doors = ", ".join(f"tracemw.{name}" for name in on)
        return [
            warning(
                _NAME,
                f"the official instrumentation of {', '.join(on)} is on: with {doors}, a call would be traced twice",
                f"leave the instrumentor out, or set OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={','.join(on)}",
            )
        ]
    left = sorted({each.name for each in installed} - set(_disabled()))
    if left and _AUTOMATIC in os.environ.get("PYTHONPATH", ""):
        return [
            warning(
                _NAME,
                f"opentelemetry-instrument turns the official instrumentation of {', '.join(left)} on beside doors",
                f"set OTEL_PYTHON_DISABLED_INSTRUMENTATIONS={','.join(left)}",
            )
        ]
    return [ok(_NAME, "no official instrumentation traces what a door of tracemw traces")]


def _disabled() -> Iterator[str]:
    yield from (name.strip() for name in os.environ.get("OTEL_PYTHON_DISABLED_INSTRUMENTATIONS", "").split(","))


def _is_on(instrumentation: EntryPoint) -> bool:
    """Tell whether an instrumentation is turned on. One whose module nobody has imported is not."""
    module: Any = sys.modules.get(instrumentation.module)
    instrumentor = getattr(module, instrumentation.attr, None)
    return instrumentor is not None and bool(getattr(instrumentor(), "is_instrumented_by_opentelemetry", False))

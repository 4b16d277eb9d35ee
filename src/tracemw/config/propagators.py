"""The error for an `OTEL_PROPAGATORS` that names what is not installed."""

from __future__ import annotations

from tracemw.config.environment import get
from tracemw.config.parsers import wrong


def unknown_propagators() -> ValueError | None:
    """Return an error when `OTEL_PROPAGATORS` names a propagator that is not installed, else None."""
    from importlib.metadata import entry_points  # slow to import, and needed only for the error

    value = get("OTEL_PROPAGATORS") or ""
    installed = {*entry_points(group="opentelemetry_propagator").names, "none"}
    unknown = [name for item in value.split(",") if (name := item.strip()) not in installed]
    if not unknown:
        return None
    return wrong(
        "OTEL_PROPAGATORS",
        value,
        f"some of {', '.join(sorted(installed))}, or install the package that has {', '.join(map(repr, unknown))}, "
        "such as opentelemetry-propagator-b3 or opentelemetry-propagator-aws-xray",
    )

"""What `OTEL_PROPAGATORS` says, when OpenTelemetry cannot do as it says."""

from __future__ import annotations

from tracemw.config.environment import get
from tracemw.config.parsers import wrong


def unknown_propagators() -> ValueError | None:
    """Return an error when `OTEL_PROPAGATORS` names a propagator that is not installed, else None."""
    from importlib.metadata import entry_points  # takes some time, for nothing when all is well

    value = get("OTEL_PROPAGATORS") or ""
    installed = {*entry_points(group="opentelemetry_propagator").names, "none"}
    unknown = [name for item in value.split(",") if (name := item.strip()) not in installed]
    if not unknown:
        return None
    return wrong(
        "OTEL_PROPAGATORS",
        value,
        f"there is no {', '.join(map(repr, unknown))}; installed are {', '.join(sorted(installed))}, and others come "
        "with packages such as opentelemetry-propagator-b3 and opentelemetry-propagator-aws-xray",
    )

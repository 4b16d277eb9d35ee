"""The environment variables that OpenTelemetry's own packages know."""

from __future__ import annotations

from typing import Final

from opentelemetry import environment_variables as of_api
from opentelemetry.sdk import environment_variables as of_sdk

OTEL_VARIABLES: Final = frozenset(
    name for module in (of_api, of_sdk) for name in vars(module) if name.startswith("OTEL_")
)
"""Their names, those of signals and exporters that tracemw does not have among them."""

"""Which traces are recorded."""

from __future__ import annotations

from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    DEFAULT_OFF,
    DEFAULT_ON,
    ParentBased,
    Sampler,
    TraceIdRatioBased,
)

from tracemw.config import Config


def sampler_for(config: Config) -> Sampler:
    """Return the sampler that the configuration names; a parent's decision holds unless it names another kind."""
    ratio = TraceIdRatioBased(config.ratio)
    samplers: dict[str, Sampler] = {
        "always_on": ALWAYS_ON,
        "always_off": ALWAYS_OFF,
        "traceidratio": ratio,
        "parentbased_always_on": DEFAULT_ON,
        "parentbased_always_off": DEFAULT_OFF,
        "parentbased_traceidratio": ParentBased(ratio),
    }
    return samplers[config.sampler]

"""A sampler of the SDK as numbers: to compare a trace id with a number costs less than a call."""

from __future__ import annotations

from typing import Final, NamedTuple, cast

from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, StaticSampler, TraceIdRatioBased

LOW_BITS: Final = TraceIdRatioBased.TRACE_ID_LIMIT
"""The bits of a trace id that the SDK's samplers compare."""

_ALWAYS: Final = LOW_BITS + 1


class Bounds(NamedTuple):
    """A sampler of the SDK as numbers, one for each kind of parent.

    A trace is sampled when the low 64 bits of its id are below the number.
    """

    root: int
    remote_sampled: int
    remote_unsampled: int
    local_sampled: int
    local_unsampled: int

    @classmethod
    def of(cls, sampler: Sampler) -> Bounds | None:
        """Return the bounds of a sampler; None for a sampler that must be called."""
        if type(sampler) is ParentBased:
            remote = (sampler._remote_parent_sampled, sampler._remote_parent_not_sampled)
            local = (sampler._local_parent_sampled, sampler._local_parent_not_sampled)
            bounds = [_bound(each) for each in (sampler._root, *remote, *local)]
        else:
            bounds = [_bound(sampler)] * 5
        return None if None in bounds else cls(*cast("list[int]", bounds))


def _bound(sampler: Sampler) -> int | None:
    if type(sampler) is TraceIdRatioBased:
        return sampler.bound
    if type(sampler) is StaticSampler:
        return {Decision.DROP: 0, Decision.RECORD_AND_SAMPLE: _ALWAYS}.get(sampler._decision)
    return None

"""Which traces are recorded: a ratio, rules by request, and spikes that end by themselves.

    from tracemw.sampling import Rule, Sampling

    rules = [Rule("POST /checkout/*", 1.0), Rule("GET /poll*", 0.001)]
    tracemw.init("shop", sampling=Sampling(ratio=0.05, rules=rules))

The decision falls once, at the root of a trace, and holds for all of it. It is a consistent one, as OpenTelemetry's
"TraceState: Probability Sampling" has it: a trace is sampled when the random low 56 bits of its id are not below a
threshold, so that a service with a higher ratio samples every trace that one with a lower ratio does; and the
threshold travels in `tracestate` as `ot=th:...`, so that a backend knows how many traces each one stands for. It has to
leave out those that are there for another reason, and carry none: Tempo counts them as one (README, "Count in Tempo").
Ids are presumed random whether or not their flag says so, as the specification wants; those of `tracemw.init` are.

A trace that only a spike has sampled carries `tracemw.spike` on its root, and no `th`. One that would have been sampled
anyway stays as it is, with its `th`: what is counted by `th` is exactly what it is without the spike.
"""

from tracemw.sampling.rules import Rule, Sampling
from tracemw.sampling.sampler import ConsistentSampler, sampler_for

__all__ = ["ConsistentSampler", "Rule", "Sampling", "sampler_for"]

"""Which traces are recorded: a ratio, rules by request, and spikes that end by themselves.

    from tracemw.sampling import Rule, Sampling

    rules = [Rule("POST /checkout/*", 1.0), Rule("GET /poll*", 0.001)]
    tracemw.init("shop", sampling=Sampling(ratio=0.05, rules=rules))

This is head sampling: the decision falls once, at the root of a trace, and holds for the whole trace. Sampling is
consistent (OpenTelemetry, "TraceState: Probability Sampling"): a trace is sampled when the random low 56 bits of its id
are not below a threshold. So a service with a higher ratio samples every trace that a service with a lower ratio does.

The threshold travels in `tracestate` as `ot=th:...`. A backend learns from it how many traces each one stands for. A
trace that is recorded for another reason carries no `th`, and Tempo counts it as one (docs, "Count in Tempo"). Ids
count as random whatever their flag says, as the specification wants. The ids that tracemw makes are random.

The way through this room, one module per step:

1. `rules`: what a user configures: `Sampling`, and a `Rule` for each exception from the ratio.
2. `threshold`: ratios become thresholds, which travel in `tracestate`.
3. `sampler`: the decision at the root of a trace, by ratio, rules, and the spikes of `tracemw.spikes`.
"""

from tracemw.sampling.rules import Rule, Sampling
from tracemw.sampling.sampler import ConsistentSampler, sampler_for

__all__ = ["ConsistentSampler", "Rule", "Sampling", "sampler_for"]

"""Which traces are recorded: a ratio, rules by request, and spikes that end by themselves.

    from tracemw.sampling import Rule, Sampling

    rules = [Rule("POST /checkout/*", 1.0), Rule("GET /poll*", 0.001)]
    tracemw.init("shop", sampling=Sampling(ratio=0.05, rules=rules))

The decision falls once, at the root of a trace, and holds for all of it. Sampling is consistent (OpenTelemetry,
"TraceState: Probability Sampling"): a trace is sampled when the random low 56 bits of its id are not below a threshold.
So a service with a higher ratio samples every trace that a service with a lower ratio does. The threshold travels in
`tracestate` as `ot=th:...`, by which a backend knows how many traces each one stands for. Traces that are there for
another reason carry no `th`, and Tempo counts them as one each (README, "Count in Tempo"). Ids count as random whether
or not their flag says so, as the specification wants; those of `tracemw.init` are random.

The way through the room:

* ``rules``: what a user configures: `Sampling`, and a `Rule` for each exception
* ``threshold``: ratios as thresholds, and how they travel in `tracestate`
* ``sampler``: the decision at the root of a trace, by ratio, rules and the spikes of `tracemw.spikes`
"""

from tracemw.sampling.rules import Rule, Sampling
from tracemw.sampling.sampler import ConsistentSampler, sampler_for

__all__ = ["ConsistentSampler", "Rule", "Sampling", "sampler_for"]

"""What can be wrong with a trace: one module per finding or family.

* ``finding``: the record of a finding
* ``durations``: `long-trace`, `bottleneck`, `slow-query`
* ``repetition``, ``attempts_of_calls``, ``sequence``: `n-plus-one`, `retry-storm`, `sequential-calls`
* ``spread``, ``broken_trace``: `wide-trace`, `deep-trace`, `broken-trace`
* ``error_source``, ``swallowed_error``, ``killed``: `error-source`, `swallowed-error`, `killed`
* ``hidden_failures``: the way of an error that was swallowed on it
* ``pool_waits``, ``gaps``: `pool-wait`, `leaked-connection`, `idle-gap`, `blocked-loop`
* ``dependencies``: `failing-dependency`, over many traces
* ``finders``: all of them over one trace, worst first
"""

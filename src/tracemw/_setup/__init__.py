"""What `tracemw.init` sets up.

The way through the room:

* ``installation``: what this process has installed; `init` arms it, `shutdown` ends it
* ``pipeline``: from the configuration to sampler, resource, delivery, flight recorder and exporters
* ``outlet``, ``baggage_keys``, ``development_warnings``: the span processors of the provider, which each `init` sets
* ``between_requests``: how spans are sent where no thread can
* ``endings``: the ways in which the process may end; queued spans are delivered first
* ``rehearsal``: all that without a backend, for a test or a check
* ``otel_variables``: the environment variables that OpenTelemetry knows
* ``tracing``: what `init` returns to the application

``distro`` does the work of `init` for `opentelemetry-instrument`, which needs no line of code.
"""

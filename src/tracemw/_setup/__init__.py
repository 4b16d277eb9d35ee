"""What `tracemw.init` sets up.

The way through the room:

* ``installation``: what this process has installed; `init` arms it, `shutdown` ends it
* ``pipeline``: from the configuration to sampler, resource, delivery, flight recorder and exporters
* ``outlet``, ``baggage_keys``: the span processors of the provider, which each `init` sets
* ``between_requests``: how spans are sent where no thread can
* ``endings``: how the process may end, so that what is queued is delivered before
* ``tracing``: what `init` returns to the application

``distro`` does what `init` does for `opentelemetry-instrument`, without a line of code.
"""

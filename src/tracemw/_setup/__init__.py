"""What `tracemw.init` sets up.

The way through the room:

* ``installation``: what this process has installed; `init` arms it, `shutdown` ends it
* ``pipeline``: from the configuration to sampler, resource, delivery, flight recorder and exporters
* ``processors``: the span processors that lead from the provider to the pipeline
* ``between_requests``: how spans are sent where no thread can
* ``endings``: how the process may end, so that what is queued is delivered before
* ``tracing``: what `init` returns to the application

``distro`` does what `init` does for `opentelemetry-instrument`, without a line of code.
"""

"""The ground floor under all doors: everything that they ask of OpenTelemetry and of our recorder.

* ``context``: what travels in the OpenTelemetry context of a request
* ``providers``: the tracer and meter provider in use
* ``attributes``, ``cleaning``: attributes that are made late, and values of any type as those that spans may hold
* ``recorder``: what doors ask of our recorder, and how they know it
* ``exceptions``, ``stacktrace``: an exception on a span
* ``clock``: the time within a request
* ``guard``: faults of tracing, which end here
"""

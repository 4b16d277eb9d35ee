"""The embedded viewer: what ``tracemw view`` runs when there is no Grafana Tempo at hand.

A span's way through this room, one module per step:

* ``bodies``  the body of a request comes in, if it is neither too large nor too slow
* ``otlp``    the body of an OTLP/HTTP request becomes spans, or an error that says what is wrong with it; ``bounds``
  counts what is in it before anything is built
* ``store``   spans are kept in SQLite, in memory or in a file: ``transaction`` writes them, ``database`` is the file
* ``query``   the parameters of a search (Tempo's tag search and a part of TraceQL) become conditions on spans;
  ``effort`` is what it may cost
* ``tempo``   what was found, in the shape of Tempo's HTTP API
* ``app``     the routes, and the ``guard`` in front of them
* ``serve``   the process: port, ``connections``, signals, and a clean end
* ``page/``   the web page, plain ES modules without a build step

Everything that comes from outside is bounded where it comes in: in bytes, objects, CPU time and patience.

The room depends on Starlette, uvicorn and RE2 (the ``viewer`` extra) and on the OTLP message classes. It never imports
the OpenTelemetry SDK or a tracing door: a viewer that traced itself would show itself.
"""

"""The embedded viewer: what ``tracemw view`` runs when there is no Grafana Tempo at hand.

A span's way through this room, one module per step:

* ``otlp``   the body of an OTLP/HTTP request becomes spans, or an error that says what is wrong with it
* ``store``  spans are kept in SQLite, in memory or in a file
* ``query``  the parameters of a search (Tempo's tag search and a part of TraceQL) become conditions on spans
* ``tempo``  what was found, in the shape of Tempo's HTTP API
* ``app``    the routes, and the guard in front of them
* ``serve``  the process: port, signals, and a clean end
* ``page/``  the web page, plain ES modules without a build step

The room depends on Starlette and uvicorn (the ``viewer`` extra) and on the OTLP message classes. It never imports the
OpenTelemetry SDK or a tracing door: a viewer that traced itself would show itself.
"""

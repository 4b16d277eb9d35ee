"""The embedded viewer: ``tracemw view`` runs it where no Grafana Tempo is at hand.

The way through this room:

* ``serve``         the process: port, signals, and a clean end
* ``patience``      how long a connection waits for its peer; ``sending`` holds what the peer has not taken
* ``app``           the routes; ``isolation`` refuses the requests of other people's web pages, and ``admission`` asks
                    for the token
* ``receiver``      the endpoint that takes spans: ``receiving`` reads them, ``storing`` keeps them in SQLite
* ``queries``       the endpoints that answer: ``querying`` reads the question, ``storing`` finds the spans
* ``erasing``       the endpoint that erases traces, for ``tracemw forget``
* ``explaining``    the endpoints that say what `tracemw.analysis` finds, by way of ``answering``
* ``page/``         the web page, plain ES modules without a build step; ``one_file`` makes one file of it

Everything from outside is bounded where it comes in: in bytes, objects, CPU time and patience. ``allowance`` has the
limits that a caller may set, and ``budget`` measures the CPU time of one question.

The room depends on Starlette, uvicorn and RE2 (the ``viewer`` extra) and on the OTLP message classes. It never imports
the OpenTelemetry SDK or a tracing door: a viewer that traced itself would show itself.
"""

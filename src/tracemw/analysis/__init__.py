"""From traces to what is wrong with them: pure functions, over anybody's traces.

The way through the room:

* ``load/``: bytes of OTLP, Tempo, Jaeger and Zipkin become spans; and traces are asked for over HTTP
* ``conventions``: both generations of the semantic conventions, read in one place
* ``model``: spans become a trace, whatever is missing, doubled or askew
* ``critical_path``: which span holds the trace's end, and what a span did itself
* ``stack_lines``: the line of code that a stack trace leads to
* ``shapes``: what makes two queries or calls alike
* ``findings/``: one module per finding or family, over one trace or over many
* ``verdict``: the one sentence on a trace
* ``grouping``: findings of many traces, grouped and counted
* ``comparison/``: two sets of traces, and what sets them apart; ``gathering/`` gets these two
* ``traffic``: the routes of services, and who calls whom; ``latencies`` counts how long calls take
* ``report/``: all of this in words and documents, for whoever shows it

Nothing here imports a door or the SDK. All but ``load/`` and ``gathering/`` is free of I/O, and needs the
standard library only.
"""

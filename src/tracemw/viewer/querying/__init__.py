"""A question becomes conditions on spans. The traces that are found become an answer in Tempo's shape.

* ``parameters``   the parameters of a search
* ``traceql``      TraceQL, as far as the viewer knows it; ``literals`` are its numbers, durations and texts
* ``conditions``   conditions, which a span matches or not
* ``fields``       the values of a span that conditions look at; ``regex`` matches texts
* ``search``       finds the traces
* ``tempo``        writes them, in the shape of Tempo's HTTP API
"""

"""A question becomes conditions on spans, and what is found becomes an answer in Tempo's shape.

* ``parameters``   the parameters of a search
* ``traceql``      TraceQL, as far as the viewer knows it; ``literals`` are its numbers, durations and texts
* ``conditions``   what is true or false of a span
* ``fields``       what a condition can ask of a span; ``regex`` matches the texts
* ``search``       finds the traces
* ``tempo``        writes them, in the shape of Tempo's HTTP API
"""

"""A question becomes conditions on spans. The traces that are found become an answer in Tempo's shape.

* ``parameters``   the parameters of a question, such as the window and the limit

TraceQL, from its text to what a trace holds:

* ``tokens``       the words of a query; ``literals`` are its numbers, durations and texts
* ``traceql``      the parser of a query; ``expressions`` parses what stands in braces
* ``conditions``   what stands in braces, true of a span or not; ``fields`` are the values of a span, and ``regex``
  matches texts
* ``spansets``     filters and the operators between them; ``relations`` are those of the spans of a trace
* ``pipelines``    the stages between bars

What is made of it:

* ``search``       finds traces and spans
* ``tags``         the names and values of tags
* ``timeseries``   TraceQL metrics; ``contrasts`` are those of ``compare(...)``
* ``tempo``        writes the answers, in the shape of Tempo's HTTP API
"""

"""The body of a trace request becomes a batch of spans (OTLP/HTTP: opentelemetry-proto, ``docs/specification.md``).

* ``intake``      the body comes in, if it is neither too large nor too slow
* ``content``     its Content-Type and Content-Encoding are read, and the encoding is undone
* ``decoding``    protobuf or JSON becomes messages; ``counting`` counts what is in it before anything is built
* ``batch``       the spans that can be kept, and the number of those that cannot
* ``responses``   the answer to the sender; ``refusals`` has the error for a request that is refused whole
"""

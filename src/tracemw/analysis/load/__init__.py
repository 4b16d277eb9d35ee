"""Spans from bytes of whichever format, and from a server that has them.

* ``reading``: which format bytes are in, and traces of them
* ``files``: traces whose spans may be in several files
* ``otlp_json``: OTLP as JSON, with hex ids or, as Tempo answers, base64 ids
* ``otlp_binary``: OTLP as protobuf
* ``jaeger_json``, ``zipkin_json``: what these two export
* ``query_api``: traces by id and by search, of Tempo or of the viewer, over HTTP
* ``unreadable``: the errors, each with its remedy
"""

"""The encoder: it makes the same OTLP bytes of spans as the official encoder does, for a fraction of the cost.

The thread that ends a span encodes it into a record, which waits. The worker puts many records into one request:

* ``span_encoder``: the encoder, and the message of one span
* ``mending``: spans with wrong fields, mended
* ``memo``: attributes whose bytes are remembered; ``tables`` holds those of one key
* ``span_names``: the same for names of spans and events
* ``any_value``: the value of an attribute that is not remembered
* ``envelopes``: resources and scopes around the spans of a request
* ``protobuf``: the wire format
"""

from tracemw._export.encoding.span_encoder import SpanEncoder as SpanEncoder

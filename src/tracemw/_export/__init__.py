"""The way of ended spans out of the process.

A span's way through this room, one module per step:

* ``delivery``          the span processor takes spans as they end, and puts the other steps together
* ``encoding``          a span becomes a record, its bytes, in the thread that ends it
* ``queue``             the record waits; when too many wait, the oldest are dropped
* ``worker``            one thread of each process carries out ``orders``: look at the queue, flush, stop
* ``batches``           queued records go out in batches; ``in_flight`` is the batch that is being sent, ``portions``
  says how much of it goes into one request
* ``retries``           the request is sent again until it is answered for good, or its time is over
* ``breaker``           a backend that fails again and again is left alone for a while
* ``process_exporter``  whatever the exporter raises becomes an outcome
* ``otlp_http`` (over a ``connection``) and ``otlp_grpc``  the request is sent; ``answers`` reads the answer

The steps from ``retries`` on have one interface, ``exporter.Sender``: a request and a timeout go in, and an outcome
comes out. Each step is made of the next one, so that it can be tested alone.

Beside the way, ``losses`` counts what becomes of spans and tells the operator; ``stats`` are the numbers that users
see, and ``observer`` shows them as metrics. ``metrics_reader`` has metrics collected, and ``metrics_exporter`` sends
them over the same transports.
"""

from tracemw._export.delivery import Delivery as Delivery
from tracemw._export.stats import Stats as Stats

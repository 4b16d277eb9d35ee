"""The way of ended spans out of the process.

A span's way through this room, one module per step:

* ``delivery``          the span processor: spans come in as they end; it puts the other steps together
* ``encoding``          a span becomes a record, its bytes, in the thread that ends it
* ``queue``             the record waits; when too many wait, the oldest are dropped
* ``worker``            one thread of each process carries out ``orders``: look at the queue, flush, stop
* ``batches``           what waits goes out in batches; ``in_flight`` is the batch that is being sent, and ``portions``
  says how much of it goes into one request
* ``retries``           the request is sent again until it is answered for good, or its time is over
* ``breaker``           a backend that fails again and again is left alone for a while
* ``process_exporter``  whatever the exporter raises is an outcome
* ``otlp_http`` (over a ``connection``) and ``otlp_grpc``  the request is sent; ``answers`` says what the answer means

The steps from ``retries`` on have one interface, ``exporter.Sender``: a request and a timeout go in, and an outcome
comes out. Each step is made of the next one, so that it can be tested alone.

Beside the way, ``losses`` counts what becomes of spans and tells the operator; ``stats`` are the numbers that users
see, and ``observer`` shows them as metrics. ``metrics_exporter`` sends metrics over the same transports.
"""

from tracemw._export.delivery import Delivery as Delivery
from tracemw._export.stats import Stats as Stats

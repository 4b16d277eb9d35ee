"""What a service records, as a fixture of pytest: ``traces``.

    def test_a_list_of_orders_takes_two_queries(traces, client):
        client.get("/orders")
        assert traces.one().queries <= 2

pytest finds the fixture by itself once tracemw is installed. Within a test that asks for ``traces``, tracing is set up
as ``tracemw.init`` would, every request is recorded, and nothing is sent. After the test all is as it was before.

The way through the room:

* ``plugin``: the fixture, and how pytest shows an assertion about a number of spans that fails
* ``traces``: all traces of a test
* ``trace``: one of them, and what can be asserted about it
* ``count``: a number of spans that knows which they are
* ``leaking``: texts that hold a secret
* ``snapshot``: a trace without times and ids
"""

from tracemw.testing.count import Count
from tracemw.testing.trace import RecordedTrace, Step
from tracemw.testing.traces import Traces

__all__ = ["Count", "RecordedTrace", "Step", "Traces"]

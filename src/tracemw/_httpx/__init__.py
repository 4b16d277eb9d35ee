"""What `tracemw.httpx` and `tracemw.httpx2` have in common: one implementation for both libraries.

* ``transports``: the transports that trace, sync and async, and `trace_client`
"""

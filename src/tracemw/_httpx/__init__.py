"""What `tracemw.httpx` and `tracemw.httpx2` have in common: one implementation for both libraries.

The two libraries have the same classes under the same names, and no class of one is a class of the other.

* ``library``: the classes of one library, and what its door refuses
* ``clients``: `trace_client`
* ``transports``: the transports that trace, sync and async
* ``resends``: how many attempts at a request came before
* ``bodies``: the body of a response; the span ends with it
"""

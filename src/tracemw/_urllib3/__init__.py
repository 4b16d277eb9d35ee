"""What tracing needs to see of urllib3, which retries beneath the libraries that are built on it.

* ``attempts``: the attempts at one request, each with a span of its own
* ``pools``: managers and connection pools that start the attempts
* ``classes``: how an existing object is made to trace
"""

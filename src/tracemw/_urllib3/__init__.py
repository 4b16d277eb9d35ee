"""What tracing needs to see of urllib3, which retries beneath the libraries that are built on it.

* ``attempts``: the attempts at one request, each with a span of its own
* ``pools``: managers and connection pools that start the attempts
* ``outgoing``: the body of a request, taken in the context of the caller
* ``chunks``: the body of a response, chunk by chunk; its end ends the attempt
* ``classes``: how an existing object is made to trace
"""

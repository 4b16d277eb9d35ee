"""The watch: what explains a request, and that no span of its own tells.

* `swallowed`: exceptions that the application handles, and that end no span.
"""

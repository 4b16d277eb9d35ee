"""What `tracemw.init` builds.

* ``distro``: `init` for `opentelemetry-instrument`, without a line of code
"""

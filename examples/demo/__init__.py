"""The demo: three services, real traffic, and every trace checked (``python -m examples.demo``)."""

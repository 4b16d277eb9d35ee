"""Services that use tracemw, and the demo that runs them together."""

"""Redaction: what may leave the process. `urls` takes secrets out of URLs."""

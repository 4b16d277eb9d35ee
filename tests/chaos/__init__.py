"""The delivery of spans to a backend that misbehaves, while real services are under real load."""

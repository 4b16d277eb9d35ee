"""The tracer provider that `tracemw.init` installs: an SDK `TracerProvider` that can be armed again.

Every private name of the SDK that this room touches stands in `provider.py`.
"""

from tracemw._recording.provider import TracerProvider as TracerProvider

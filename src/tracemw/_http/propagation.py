"""Headers -> remote context, and current context -> headers, by the propagator that OpenTelemetry is set to.

That is W3C Trace Context and Baggage unless `OTEL_PROPAGATORS` or `set_global_textmap` says otherwise. What cannot be
read is ignored, as those specifications say: a malformed header starts a new trace, it never fails a request.
"""

from __future__ import annotations

from typing import Final

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter

from tracemw._http.semconv import Headers


class _HeaderGetter(Getter[Headers]):
    """Lets an OpenTelemetry propagator read `Headers`."""

    def get(self, carrier: Headers, key: str) -> list[str] | None:
        """Return the header's values; `baggage` as one, since several baggage headers mean one list."""
        values = carrier.get(key.lower())
        if len(values) > 1 and key == "baggage":
            return [",".join(values)]
        return values or None

    def keys(self, carrier: Headers) -> list[str]:
        """Return the names of all headers."""
        return carrier.keys()


_GETTER: Final = _HeaderGetter()


def extract(headers: Headers, context: Context) -> Context:
    """Return `context` with the caller's span and baggage, as far as `headers` carry them."""
    return propagate.extract(headers, context, _GETTER)


def inject(context: Context) -> dict[str, str]:
    """Return the headers that hand `context` on to the service being called."""
    headers: dict[str, str] = {}
    propagate.inject(headers, context)
    return headers

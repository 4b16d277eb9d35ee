"""Tracing for the length of one test, or one check: all that `init` builds, with the test in place of the backend."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Span, SpanProcessor

from tracemw._export.exporter import AttemptResult, Exporter, ExportRequest, Outcome
from tracemw._otel.providers import replace_provider
from tracemw._recording import TracerProvider
from tracemw._setup.installation import IN_THIS_PROCESS, STANDING_IN, Installation
from tracemw._setup.tracing import Tracing
from tracemw.config import Arguments, Config
from tracemw.redaction import Redaction
from tracemw.sampling import Sampling

_AT_ONCE: Final = 0.01
"""Seconds that spans wait to be delivered. Whoever wants to see them flushes."""


class Rehearsal(Installation):
    """What `init` builds for one test. Every trace is recorded, and nothing leaves the process.

    The application's own `init` is obeyed in all but what a test must not depend on: where spans and metrics go, what
    is sampled, and the file that spikes come from.
    """

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[bytes] = []
        """The OTLP export requests, as a backend would have received them."""
        self._latest: Tracing | None = None

    def install(
        self,
        config: Config,
        sampling: Sampling,
        redaction: Redaction | None = None,
        *,
        is_replaceable: bool = False,
    ) -> Tracing:
        """Set up tracing as the settings say, and as a test needs it."""
        here = replace(
            config,
            exporter="otlp",
            sampler="always_on",
            ratio=1.0,
            metrics=None,
            delay=_AT_ONCE,
            control_file=None,
            disabled=False,
        )
        everything = replace(sampling, rules=(), ratio=None)
        self._latest = super().install(here, everything, redaction, is_replaceable=is_replaceable)
        return self._latest

    def flush(self) -> None:
        """Have all spans that have ended in `requests`."""
        if self._latest is not None:
            self._latest.flush()

    def _exporter_for(self, _config: Config, /) -> Callable[[], Exporter] | None:
        return lambda: _ToTheTest(self.requests)

    def _publish(self, provider: TracerProvider) -> None:
        replace_provider(provider)


@contextmanager
def rehearsing() -> Iterator[Rehearsal]:
    """Trace this process for a test, by the settings of its own `init` if there was one. Leave all as it was."""
    rehearsal = Rehearsal()
    config, sampling, redaction = IN_THIS_PROCESS.settings or (_settings(), Sampling(), None)
    was = replace_provider(None)
    STANDING_IN.append(rehearsal)
    try:
        rehearsal.install(config, sampling, redaction, is_replaceable=True)
        yield rehearsal
    finally:
        rehearsal.shutdown(timeout=1.0)
        STANDING_IN.remove(rehearsal)
        replace_provider(was)


def tell_starts(told: Callable[[Span], object]) -> None:
    """Tell of each span that starts from now on, and let nothing leave, also where the provider is not ours."""
    provider: Any = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider) and hasattr(provider, "shutdown"):
        provider.shutdown()  # whoever exports its spans is told to stop
    if hasattr(provider, "add_span_processor"):
        provider.add_span_processor(_Starts(told))


class _Starts(SpanProcessor):
    def __init__(self, told: Callable[[Span], object]) -> None:
        self._told = told

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        del parent_context
        self._told(span)


def _settings() -> Config:
    """Return what the environment says, with a name for a service that has none."""
    config = Config.resolve(Arguments())
    return config if config.service is not None else replace(config, service="test")


class _ToTheTest(Exporter):
    """Hands export requests to a test."""

    def __init__(self, requests: list[bytes]) -> None:
        self._requests = requests

    def send(self, request: ExportRequest, timeout: float) -> Outcome:  # noqa: ARG002 - nothing is waited for
        self._requests.append(request.body)
        return Outcome(AttemptResult.ACCEPTED)

    def close(self) -> None:
        """Nothing is open."""

    def leave_to_parent(self) -> None:
        """Nothing is shared with the parent."""

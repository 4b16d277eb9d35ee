"""The span processors of a provider, sorted by what they hear of."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, SynchronousMultiSpanProcessor

from tracemw._otel.recorder import is_ours


class Processors(SynchronousMultiSpanProcessor):
    """The span processors of a provider, sorted by the hooks that they implement.

    If all processors are tracemw's own, they get the ended span itself: they change nothing in it, and need no copy.

    A held span is not shown to every processor. A foreign processor that acts at the end of spans may export them,
    whatever their sampled flag says. So it hears only of kept spans, first of the start and then of the end
    (`showing.start_again`, `end_again`): each start that it hears of has an end. A foreign processor that acts only at
    starts, and sets attributes, hears of all spans at once.
    """

    starting: tuple[SpanProcessor, ...] = ()
    """The processors that implement `on_start`."""
    ending: tuple[SpanProcessor, ...] = ()
    """The processors that implement `_on_ending`."""
    ended: tuple[SpanProcessor, ...] = ()
    """The processors that implement `on_end`."""
    are_plain = True
    """Whether an ended span only has to be handed out, as it is: nobody needs the SDK's copy or the ending hook."""
    has_foreign = False
    """Whether there is a processor that is not tracemw's own."""
    is_private = True
    """Whether only tracemw's own processors hear of held spans at once."""
    of_held: tuple[tuple[SpanProcessor, ...], ...] = ((), (), ())
    """The processors that hear of held spans at once, by hook: start, ending, end."""
    later: tuple[SpanProcessor, ...] = ()
    """The processors that hear only of kept spans."""
    redact: Callable[[ReadableSpan], ReadableSpan] | None = None
    """Makes of a span the copy that foreign processors see; None if they see the span."""
    shows_unsampled = False
    """Whether foreign processors hear of all held spans at once, as OpenTelemetry has it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    if not TYPE_CHECKING:  # for a type checker this stays the attribute of the SDK's class

        @property
        def _span_processors(self) -> tuple[SpanProcessor, ...]:
            return self._all

        @_span_processors.setter
        def _span_processors(self, processors: tuple[SpanProcessor, ...]) -> None:
            # The SDK assigns the whole tuple, and so does code that takes processors out again.
            self._all = processors
            self.starting = tuple(each for each in processors if _does(each, "on_start"))
            self.ending = tuple(each for each in processors if _does(each, "_on_ending"))
            self.ended = tuple(each for each in processors if _does(each, "on_end"))
            self.has_foreign = not all(map(is_ours, processors))
            self.are_plain = not self.ending and all(map(is_ours, self.ended))
            self._sort()

    def on_end(self, span: ReadableSpan) -> None:
        """Hand on a span of a tracer that is not ours, and only what may leave of it."""
        super().on_end(span if self.redact is None else self.redact(span))

    def show_unsampled(self, shows: bool) -> None:
        """Say whether foreign processors hear of all held spans at once."""
        self.shows_unsampled = shows
        self._sort()

    def _sort(self) -> None:
        self.later = () if self.shows_unsampled else tuple(each for each in self.ended if not is_ours(each))
        hooks = (self.starting, self.ending, self.ended)
        self.of_held = tuple(tuple(each for each in hook if each not in self.later) for hook in hooks)
        self.is_private = all(is_ours(each) for hook in self.of_held for each in hook)


def _does(processor: SpanProcessor, hook: str) -> bool:
    """Tell whether a processor implements a hook. The inherited one does nothing."""
    return hook in vars(processor) or getattr(type(processor), hook, None) is not getattr(SpanProcessor, hook, None)

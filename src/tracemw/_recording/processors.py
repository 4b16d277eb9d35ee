"""The span processors of a provider, and which of them hear of what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import SpanProcessor, SynchronousMultiSpanProcessor

from tracemw._otel.recorder import is_ours


class Processors(SynchronousMultiSpanProcessor):
    """The span processors of a provider, sorted by the hooks that do something.

    tracemw's own get the ended span itself, as long as they are among themselves: they change none, and need no copy as
    the SDK makes it.

    Spans of unsampled traces are held until it is known whether somebody will see them. A processor of somebody else
    that does something when spans end may export them, whatever their flag says: it learns of those which are kept, and
    then of their start and their end (`Tracer.start_again`, `end_again`), so that each start that it hears of has an
    end. One that only looks at starts, to set attributes, hears of them at once.
    """

    starting: tuple[SpanProcessor, ...] = ()
    ending: tuple[SpanProcessor, ...] = ()
    ended: tuple[SpanProcessor, ...] = ()
    are_plain = True
    """Whether all that is to be done when a span ends is to hand it out, and not as the SDK's read-only copy."""
    is_private = True
    """Whether all that hear of spans of unsampled traces at once are of tracemw."""
    of_held: tuple[tuple[SpanProcessor, ...], ...] = ((), (), ())
    """Of those, the ones with each of the three hooks."""
    later: tuple[SpanProcessor, ...] = ()
    """Those that hear of such spans once they are kept."""
    shows_unsampled = False
    """Whether everybody's hear of such spans at once, as OpenTelemetry has it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    if not TYPE_CHECKING:  # to a checker it is the attribute that the SDK's class declares

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
            self.are_plain = not self.ending and all(map(is_ours, self.ended))
            self._sort()

    def show_unsampled(self, shows: bool) -> None:
        """Say whether everybody's processors hear of all spans of unsampled traces."""
        self.shows_unsampled = shows
        self._sort()

    def _sort(self) -> None:
        self.later = () if self.shows_unsampled else tuple(each for each in self.ended if not is_ours(each))
        hooks = (self.starting, self.ending, self.ended)
        self.of_held = tuple(tuple(each for each in hook if each not in self.later) for hook in hooks)
        self.is_private = all(is_ours(each) for hook in self.of_held for each in hook)


def _does(processor: SpanProcessor, hook: str) -> bool:
    """Tell whether a processor has a hook of its own; the inherited one does nothing."""
    return hook in vars(processor) or getattr(type(processor), hook, None) is not getattr(SpanProcessor, hook, None)

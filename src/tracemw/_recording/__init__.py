"""The tracer provider that `tracemw.init` installs: an SDK `TracerProvider` whose spans are cheap.

The way of a span through this room, one module per step:

1. `provider.py`: the provider gives out tracers, and takes new settings at a later `init`.
2. `tracer.py`: a tracer decides whether a span is sampled, starts the span, and hands it to processors at its end.
   `bounds.py` has the SDK's samplers as numbers; `current_span.py` makes the span current in a block.
3. `processors.py`: the processors, sorted by what they do, hear of the span's start and end.
   `showing.py` has what foreign processors need: copies, and kept spans after the fact. `redacted.py` leaves out of
   such copies what may not leave the process.
4. `span.py`: the span holds its attributes, events and links, within the limits of `limits.py`.
   `folds.py` makes one span of many like ones beneath one parent. `swallowed_events.py` adds what the span
   tells of swallowed exceptions.
5. `held_span.py`: the span of an unsampled trace also knows its local root, and why its local trace is kept.
6. `flight_recorder.py`: the flight recorder holds such spans until their local root ends, then keeps or drops all of
   them. `keep_rate.py` says whether one more local trace may be kept.
7. `books.py`: a fragment has the held spans of one local trace. The books count what becomes of all spans.
8. `unfinished.py`: spans that are open at the end of the process end as errors.

Imports run from the provider to tracer, flight recorder, held span and span. The books and the keep rate import none of
these. The room uses private names of the SDK; a test lists them.
"""

from tracemw._recording.books import Books as Books
from tracemw._recording.flight_recorder import FlightRecorder as FlightRecorder
from tracemw._recording.limits import OwnLimits as OwnLimits
from tracemw._recording.provider import TracerProvider as TracerProvider
from tracemw._recording.redacted import RedactedSpans as RedactedSpans
from tracemw._recording.redacted import RedactingExporter as RedactingExporter
from tracemw._recording.unfinished import end_unfinished as end_unfinished

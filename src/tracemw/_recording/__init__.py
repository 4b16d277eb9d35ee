"""The tracer provider that `tracemw.init` installs: an SDK `TracerProvider` whose spans are cheap.

The way of a span, one module per step:

1. `provider.py`: the provider gives out tracers, and takes new settings at a later `init`.
2. `tracer.py`: a tracer decides whether a span is sampled, starts the span, and hands it to processors at its end.
3. `span.py`: a span holds what it is told.
4. `held_span.py`: the span of an unsampled trace also knows its local root, and why a local trace is kept.
5. `flight_recorder.py`: the flight recorder holds such spans until their local root ends, then keeps or drops all.
6. `keep_rate.py`: the rate says whether one more local trace may be kept.
7. `books.py`: a fragment has the held spans of one local trace; the books count what becomes of all.
8. `unfinished.py`: spans that are open at the end of the process end as errors.

Imports run from provider to tracer, flight recorder, held span and span. The books and the rate know none of these. The
room stands on private names of the SDK, which a test lists.
"""

from tracemw._recording.books import Books as Books
from tracemw._recording.flight_recorder import FlightRecorder as FlightRecorder
from tracemw._recording.provider import TracerProvider as TracerProvider
from tracemw._recording.unfinished import end_unfinished as end_unfinished

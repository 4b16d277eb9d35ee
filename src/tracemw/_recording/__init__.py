"""The tracer provider that `tracemw.init` installs: an SDK `TracerProvider` whose spans are cheap.

`provider.py` gives out tracers, `tracer.py` decides, starts and ends, `span.py` holds what a span was told, and
`keeping.py` holds the spans of unsampled traces until it is known whether they are worth keeping;
`unfinished.py` ends those that are open at the end of the process. They stand on private names of the SDK, which a test
lists.
"""

from tracemw._recording.keeping import Books as Books
from tracemw._recording.keeping import FlightRecorder as FlightRecorder
from tracemw._recording.provider import TracerProvider as TracerProvider
from tracemw._recording.unfinished import end_unfinished as end_unfinished

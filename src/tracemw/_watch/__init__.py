"""The watch: what explains a request, and no span of its own tells.

One thread a process looks at the requests being served (`tracemw._otel.served`), and leaves notes at them. The first
request begins the thread, and the thread sleeps while nobody is served. The modules, from the top:

* `watchdog`: the thread, and when it looks. `rounds` says what it does then.
* `heartbeat`: event loops that somebody blocks; `run_queue`: those that have no processor, and are blocked by nobody.
* `thread_pool`: tasks that wait for a thread.
* `stacks`: the stacks of those who work for a request: threads, asyncio's tasks, greenlets.
* `stack_text`: such stacks as the text and the attributes of an event.
* `collector`: long pauses of the garbage collector. It needs no thread.
* `swallowed`: exceptions that the application handles, and that end no span. It needs no thread, either.

A fast request pays for its entry and its leave, and for nothing else.
"""

from tracemw._watch.watchdog import Watchdog as Watchdog
from tracemw._watch.watchdog import watchdog_for as watchdog_for

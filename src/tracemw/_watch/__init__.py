"""The watch: what explains a request that is slow, and that no span of its own tells.

One thread a process looks at the requests being served (`tracemw._otel.served`), and leaves notes at them. The first
request begins the thread, and the thread sleeps while nobody is served. The modules, from the top:

* `watchdog`: the thread, and when it looks. `rounds` says what it does then.
* `stacks`: the stacks of those who work for a request: threads, asyncio's tasks, greenlets.
* `shown`: such stacks as the text and the attributes of an event.

A fast request pays for its entry and its leave, and for nothing else.
"""

from tracemw._watch.watchdog import Watchdog as Watchdog
from tracemw._watch.watchdog import watchdog_for as watchdog_for

"""A script that is traced: it tells the traces of its spans, and ends, by itself or, with `wait`, by a signal.

In the former case its last line is what has become of its spans.
"""

from __future__ import annotations

import atexit
import json
import sys
import time
from dataclasses import asdict

import tracemw


def _tell_stats() -> None:
    stats = tracing.stats()
    sys.stdout.write(json.dumps({"ended": stats.ended, **asdict(stats)}) + "\n")


atexit.register(_tell_stats)  # before `init`, so that it comes after its end
tracing = tracemw.init("chaos")
made = []
for _ in range(3000):
    with tracemw.span("step"):
        made.append(tracemw.current_trace_id())
sys.stdout.write(json.dumps(made) + "\n")
sys.stdout.flush()
while "wait" in sys.argv:
    time.sleep(0.1)  # a signal just before a sleep does not cut it short

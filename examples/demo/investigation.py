"""What somebody on call does: asks `tracemw analyze` and `tracemw compare`. The injected cause has to come out."""

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from examples.demo.processes import inherited
from examples.demo.traces import Trace, TraceStore

ARRIVAL_SECONDS = 10.0


class AnalysisFailedError(Exception):
    """A command of tracemw did not do its work; the message is what the command said."""


@dataclass(frozen=True, kw_only=True)
class Cause:
    """What the analysis of many traces has found."""

    code: str | None
    """The code of the finding behind the verdict."""

    verdict: str
    trace_id: str
    """A trace that shows it; empty without a finding."""


async def arrive(store: TraceStore, trace_ids: set[str]) -> None:
    """Wait until the store has these traces, whole, for ARRIVAL_SECONDS at most."""
    deadline = time.monotonic() + ARRIVAL_SECONDS
    missing = set(trace_ids)
    while missing and time.monotonic() < deadline:
        missing -= {trace_id for trace_id in missing if _is_whole(await store.trace(trace_id))}
        await asyncio.sleep(0.2 if missing else 0)


def _is_whole(trace: Trace) -> bool:
    """Return whether each span has its parent, and each call the request that it made."""
    with_children = {span.parent_id for span in trace.spans}
    return bool(trace.roots) and all(
        (span.parent_id is None or span.parent_id in trace.by_id)
        and (span.kind != "CLIENT" or "http.request.method" not in span.attributes or span.span_id in with_children)
        for span in trace.spans
    )


async def find_cause(*question: str) -> Cause:
    """Ask `tracemw analyze`, which answers in JSON here."""
    document: dict[str, Any] = json.loads(await tracemw("analyze", *question, "--json"))
    shown = next((finding for finding in document["findings"] if finding["code"] == document["cause"]), None)
    return Cause(code=document["cause"], verdict=document["verdict"], trace_id=shown["trace_id"] if shown else "")


async def tracemw(*arguments: str) -> str:
    """Run a command of tracemw and return what it prints; AnalysisFailedError if the command fails."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tracemw", *arguments),
        env=inherited(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    output, error = await process.communicate()
    if process.returncode not in (0, 1):  # 1 says that there are findings
        raise AnalysisFailedError(error.decode(errors="replace").strip())
    return output.decode()

"""Requests that find the caches as another's work has left them.

Between two requests the same thread reads a block of memory that is larger than the caches of a core, and runs some
hundred functions of Python, which differ, in an order and along branches that are drawn anew each time. They call into
many corners of the interpreter and of its libraries in C, so that the data, the machine code and what the branch
predictors have learnt of the request before has been replaced by others'. That work is off the clock.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.contestants import Burst
from benchmarks.contestants.asgi import REQUESTS, App, receive, send
from benchmarks.contestants.pipelines import Pipeline

_FUNCTIONS = 600
_AT_A_TIME = 150
_CORNERS = (
    "json.dumps({'a': [x, str(x)], 'b': {str(y): None}})",
    "json.loads('{\"k\": [%d, 2.5, null, true]}' % x)",
    "re.sub(r'(\\\\d)(\\\\d)', r'\\\\2-\\\\1', '%d' % (x * y))",
    "str(decimal.Decimal(x) / (y + 1))",
    "datetime.datetime.fromtimestamp(x * 86400, datetime.timezone.utc).isoformat()",
    "hashlib.sha1(b'%d' % x).hexdigest()",
    "sorted(((x * k) % 17 for k in range(y % 9 + 3)), reverse=True)",
    "struct.pack('<QdH', x, y / 7, y & 255)",
    "base64.b64encode(zlib.compress(b'%d' % x * 3))",
    "'{:>12,.3f}|{!r}'.format(x / (y + 1), str(y))",
    "urllib.parse.quote('k=%d&v=é%d' % (x, y))",
    "unicodedata.normalize('NFD', 'né%d' % x).encode('utf-8', 'replace')",
    "collections.Counter('%d%d' % (x, y)).most_common(2)",
    "math.fsum([x, y, math.sqrt(x + 1)])",
    "bytes(bytearray(b'%d' % x).translate(bytes(range(256))))",
    "textwrap.shorten('one %d two %d three' % (x, y), 12)",
)
_MODULES = (
    *("base64", "collections", "datetime", "decimal", "hashlib", "json", "math", "re", "struct", "textwrap"),
    *("unicodedata", "urllib.parse", "zlib"),
)


def driven_cold(app: App, pipeline: Pipeline, request: str) -> Burst:
    """Serve requests, and take the CPU time of the whole process less that of what spoils the caches in between."""
    make = REQUESTS[request]
    loop = asyncio.new_event_loop()
    spoil = spoiler()

    async def serve(operations: int) -> float:
        spoiling = 0.0
        for _ in range(operations):
            scope = make()
            started = time.thread_time()
            spoil()
            spoiling += time.thread_time() - started
            await app(scope, receive, send)
        return spoiling

    def burst(operations: int) -> dict[str, float]:
        gc.collect()
        started = time.process_time()
        spoiling = loop.run_until_complete(serve(operations))
        pipeline.flush()
        served = time.process_time() - started - spoiling
        return {"us": served / operations * 1e6, "us of spoiling": spoiling / operations * 1e6}

    return burst


def spoiler() -> Callable[[], None]:
    """Return what replaces the contents of the caches."""
    draw = random.Random(0)
    block = bytearray(2 * _core_cache())
    functions = _functions(draw)
    turn = draw.getrandbits

    def spoil() -> None:
        block.find(b"\x01")  # reads every byte, there is none
        for function in draw.choices(functions, k=_AT_A_TIME):
            function(turn(20), turn(8))

    return spoil


def _functions(draw: random.Random) -> list[Callable[[int, int], object]]:
    namespace: dict[str, Any] = {}
    exec("\n".join(f"import {module}" for module in _MODULES), namespace)
    for number in range(_FUNCTIONS):
        body = [f"def f{number}(x, y):", " out = []"]
        for bit in draw.sample(range(20), 8):
            one, other = draw.sample(_CORNERS, 2)
            body += [f" if x >> {bit} & 1 and (x ^ y) % {draw.randint(2, 5)}:", f"  out.append({one})"]
            body += [
                f" elif y & {1 << bit % 8}:",
                f"  out.append({other})",
                f" x = (x * {draw.randint(3, 99)}) & 0xFFFFF",
            ]
        exec("\n".join([*body, " return out"]), namespace)
    return [namespace[f"f{number}"] for number in range(_FUNCTIONS)]


def _core_cache() -> int:
    """Return the bytes of a core's own cache, of the second level; 1 MiB where the system does not tell."""
    caches = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")
    own = [cache / "size" for cache in caches if (cache / "level").read_text().strip() == "2"]
    return max([1 << 20, *(int(size.read_text().strip().removesuffix("K")) << 10 for size in own)])

"""Work for other threads, and labels of metrics."""

import asyncio
import contextvars
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial

from opentelemetry import metrics
from prometheus_client import Counter

import tracemw
from shop import app, pools

shared = ThreadPoolExecutor()
shared.submit(print)
counter = metrics.get_meter("x").create_counter("orders")
HITS = Counter("hits", "hits", ["route", "trace_id"])


@tracemw.traced
def spread(items, work, collection):
    shared.submit(work)  # expect: TMW303
    shared.submit(contextvars.copy_context().run, work)
    context = contextvars.copy_context()
    shared.submit(context.run, work)
    shared.submit(partial(context.run, work))
    with ThreadPoolExecutor() as pool:
        pool.map(work, items)  # expect: TMW303
        pool.submit(work, 1)  # expect: TMW303
    collection.map(work, items)
    collection.submit(work)
    with ProcessPoolExecutor() as processes:
        processes.submit(work)
    threading.Thread(target=work, args=(items,)).start()  # expect: TMW303
    threading.Thread(target=work, daemon=True).start()  # a worker, which gets nothing of a request
    threading.Thread(target=contextvars.copy_context().run, args=(work,)).start()
    with tracemw.span("x"):
        threading.Timer(1, function=work, args=(items,)).start()  # expect: TMW303


def no_trace_is_seen(work, items):
    shared.submit(work)
    threading.Thread(target=work, args=(items,)).start()


def charge(order):
    with tracemw.span("charge"):
        pass


def charge_later(order):
    shared.submit(charge, order)  # expect: TMW303


@app.get("/orders")
async def offload(work):
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, work)  # expect: TMW303
    await loop.run_in_executor(None, contextvars.copy_context().run, work)
    await asyncio.to_thread(work)
    await pools.run_in_executor(work, 1)
    asyncio.create_task(work())


def measure(trace_id, route):
    counter.add(1, {"trace_id": trace_id})  # expect: TMW403
    counter.add(1, {"http.route": route})
    counter.add(1, attributes={"span.id": trace_id})  # expect: TMW403
    HITS.labels(trace_id=trace_id, route=route).inc()  # expect: TMW403
    HITS.labels(route=route).inc()
    {1}.add(trace_id)

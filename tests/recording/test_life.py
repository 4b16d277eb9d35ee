"""The flight recorder in the life of a process: a second `init`, forked children, and what is let go of."""

from __future__ import annotations

import gc
import io
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry import trace

import calls
import tracemw
import tracemw.asgi
import tracemw.wsgi
from backend import Backend
from recording.local_traces import Init, answer, kept_for, open_children, swallow
from servers import process
from test_cost import asgi_request, fastapi_request, flask_request, mounted_request, starlette_request


def test_a_new_init_keeps_by_its_own_settings_and_what_was_held_before_is_counted(init: Init) -> None:
    first = init()
    root, (held, later) = open_children(2)
    held.end()
    second = init(keep_slow=0.0)
    later.end()
    root.end()
    gc.collect()
    assert second.names == ["child", "root"]
    assert {kept_for(span) for span in second.spans} == {"slow"}
    assert first.lost == {"abandoned": 1}
    assert first.holds_nothing()
    assert second.holds_nothing()
    third = init(1.0)
    swallow()
    assert kept_for(third.spans[-1]) is None
    fourth = init()
    swallow()
    assert kept_for(fourth.spans[-1]) == "error"


def test_a_forked_child_keeps_what_it_records_itself_and_leaves_its_parents_to_the_parent(backend: Backend) -> None:
    code = (
        "import os, tracemw\n"
        "from tracemw.sampling import Sampling\n"
        "tracing = tracemw.init('shop', sampling=Sampling(ratio=0.0))\n"
        "with tracemw.span('root'):\n"
        "    with tracemw.span('before'): pass\n"
        "    pid = os.fork()\n"
        "    who = 'parent' if pid else 'child'\n"
        "    with tracemw.span(who): tracemw.keep(who)\n"
        "if not pid:\n"
        "    with tracemw.span('own'), tracemw.span('beneath'): tracemw.keep('own')\n"
        "stats = tracing.stats()\n"
        "tracing.flush()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "print(who, stats.held, stats.kept['manual'], flush=True)\n"
    )
    with process("-W", "error", "-c", code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
        output, _ = running.communicate(timeout=60)
    assert sorted(output.splitlines()) == ["child 0 2", "parent 0 1"]
    assert Counter(backend.names) == {"root": 2, "before": 1, "child": 1, "parent": 1, "own": 1, "beneath": 1}


def test_a_forked_child_that_ends_a_root_of_its_parents_delivers_its_own_copy_only(backend: Backend) -> None:
    code = (
        "import os, tracemw\n"
        "from tracemw.sampling import Sampling\n"
        "tracing = tracemw.init('shop', sampling=Sampling(ratio=0.0))\n"
        "with tracemw.span('root'):\n"
        "    with tracemw.span('before'): tracemw.keep('both')\n"
        "    pid = os.fork()\n"
        "tracing.flush()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "stats = tracing.stats()\n"
        "print('parent' if pid else 'child', stats.ended, stats.held, stats.exported, flush=True)\n"
    )
    with process("-W", "error", "-c", code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
        output, _ = running.communicate(timeout=60)
    assert sorted(output.splitlines()) == ["child 1 0 1", "parent 2 0 2"]
    assert Counter(backend.names) == {"root": 2, "before": 1}


def test_a_forked_child_has_a_rate_of_its_own(backend: Backend) -> None:
    code = (
        "import os, tracemw\n"
        "from tracemw.sampling import Sampling\n"
        "tracing = tracemw.init('shop', sampling=Sampling(ratio=0.0, keep_rate=0.001))\n"
        "def keep(name):\n"
        "    with tracemw.span(name): tracemw.keep('because')\n"
        "keep('before')\n"
        "pid = os.fork()\n"
        "keep('parent' if pid else 'child')\n"
        "tracing.flush()\n"
        "if pid: os.waitpid(pid, 0)\n"
    )
    with process("-W", "error", "-c", code, env={"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url}) as running:
        running.communicate(timeout=60)
    assert Counter(backend.names) == {"before": 1, "child": 1}


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_span_that_somebody_holds_on_to_does_not_hold_the_request(init: Init, is_kept: bool) -> None:
    class Input(io.BytesIO):
        pass

    running = init()
    spans = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        spans.append(trace.get_current_span())
        if is_kept:
            tracemw.keep("because")
        start_response("200 OK", [])
        return [b"ok"]

    given = Input()
    more: Any = {"wsgi.input": given}
    calls.WSGIServer().ask(tracemw.wsgi.TraceMiddleware(app), **more)
    ref = weakref.ref(given)
    del given, more
    gc.collect()
    assert ref() is None
    assert len(running.spans) == is_kept
    assert len(spans) == 1


@pytest.mark.parametrize(
    "request_to",
    [starlette_request, mounted_request, fastapi_request, flask_request, lambda _: asgi_request(plain_app(), "/")],
)
def test_an_unsampled_request_leaves_nothing_of_tracemw_to_the_garbage_collector(
    init: Init, request_to: Callable[[int], Callable[[], None]]
) -> None:
    running = init()
    request = request_to(3)
    request()
    gc.collect()
    gc.disable()
    gc.freeze()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        request()
        gc.collect()
        left = [type(found) for found in gc.garbage if type(found).__module__.startswith("tracemw")]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
    assert left == []
    assert running.stats.unsampled >= 2


def plain_app() -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        with tracemw.span("child"):
            await answer(send)

    return tracemw.asgi.TraceMiddleware(app)

"""Failing requests leave no more behind than without a door: nothing alive, and nothing to the garbage collector.

Each server runs with its garbage collector off, and tells how many exceptions, and objects that tracemw has
for a request, are there.
"""

from __future__ import annotations

import http.client
import importlib.util
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing

import pytest
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from field.servers import Served, reset, serving
from servers import wait_until

TIMES = 3


def get(served: Served, path: str) -> None:
    with served.raw(f"GET {path} HTTP/1.1\nHost: shop.example\nConnection: close") as connection:
        while connection.recv(65536):
            pass


def get_half(served: Served, path: str) -> None:
    with served.raw(f"GET {path} HTTP/1.1\nHost: shop.example") as connection:
        received = b""
        while b"half" not in received and (chunk := connection.recv(65536)):
            received += chunk


def hang_up(served: Served, path: str) -> None:
    connection = served.raw(f"GET {path} HTTP/1.1\nHost: shop.example")
    connection.recv(100)
    reset(connection)


def abort(served: Served, path: str) -> None:
    connection = served.raw(f"POST {path} HTTP/1.1\nHost: shop.example\nContent-Length: 9\nExpect: 100-continue")
    connection.recv(100)
    reset(connection)


def talk(served: Served, path: str) -> None:
    try:
        with connect(served.url.replace("http", "ws") + path) as client:
            client.send("hello")
            client.recv()
    except WebSocketException:
        pass


WSGI = {"boom": get, "handled": get, "half": get_half, "stream": hang_up, "upload": abort}
ASGI = {"boom": get, "handled": get, "refused": get, "swallowed": get, "upload": abort, "socket": talk}
ASGI |= {"broken_socket": talk}
has_fastapi = importlib.util.find_spec("fastapi") is not None
APPS = ["bare", "starlette", "page"] + ["fastapi"] * has_fastapi
STREAMS = {"half": get_half, "stream": hang_up}


@pytest.fixture(scope="module")
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    server, app, ratio, *watching = request.param
    with serving(server, f"garbage:{app}", RATIO=ratio, TRACEMW_SWALLOWED="true" if watching else "") as serving_it:
        yield serving_it


def on(*servers: tuple[str, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("served", servers, indirect=True, scope="module", ids=" ".join)


def left_by(served: Served, app: str, ways: Mapping[str, Callable[[Served, str], None]]) -> Counter[str]:
    """Return what is there after some requests of each way that was not there before them."""

    def ask() -> None:
        for path, how in ways.items():
            how(served, f"/{app}/{path}")

    ask()  # what is made once is made
    before = settled(served)
    for _ in range(TIMES):
        ask()
    return settled(served) - before


def settled(served: Served) -> Counter[str]:
    """Return what is there once nothing more goes away."""
    seen: list[Counter[str]] = []
    with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=60)) as client:

        def is_settled() -> bool:
            client.request("GET", "/left", headers={"connection": "close"})
            seen.append(Counter(json.loads(client.getresponse().read())))
            return len(seen) > 10 and all(each == seen[-1] for each in seen[-10:])

        wait_until(is_settled)
    return seen[-1]


def excess(found: Counter[str], without: Counter[str]) -> dict[str, int]:
    """Return what is more than without a door.

    Where a framework leaves a cycle itself, by way of the exception's traceback, it leads to what we have of the
    request: Starlette and anyio do so for each stream that breaks off, Flask for each exception that nobody handles.
    """
    theirs = sum(number for name, number in without.items() if is_theirs(name))
    return {name: number for name, number in found.items() if number > (without[name] if is_theirs(name) else theirs)}


def is_theirs(name: str) -> bool:
    return name == "exceptions" or name.startswith("their ")


@on(("uvicorn", "asgi", "1"), ("uvicorn", "asgi", "0"), ("hypercorn", "asgi", "1"), ("granian", "asgi", "1"))
@pytest.mark.parametrize("app", APPS)
def test_failing_requests_leave_no_more_than_without_a_door(served: Served, app: str) -> None:
    without = left_by(served, f"{app}-without", ASGI)
    assert excess(left_by(served, app, ASGI), without) == {}
    if app != "bare":
        assert excess(left_by(served, f"{app}-outside", ASGI), without) == {}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Python tells of handled exceptions from version 3.12 on")
@on(("uvicorn", "asgi", "1", "swallowed"))
@pytest.mark.parametrize("app", APPS)
def test_exceptions_that_are_watched_leave_no_more_than_without_a_door(served: Served, app: str) -> None:
    without = left_by(served, f"{app}-without", ASGI)
    assert excess(left_by(served, app, ASGI), without) == {}


@on(("uvicorn", "asgi", "1"))
@pytest.mark.parametrize("app", APPS)
def test_a_cancelled_request_leaves_no_more_than_without_a_door(served: Served, app: str) -> None:
    without = left_by(served, f"{app}-without", {"cancelled": get})
    assert excess(left_by(served, app, {"cancelled": get}), without) == {}


@on(("uvicorn", "asgi", "1"), ("hypercorn", "asgi", "0"))
@pytest.mark.parametrize("app", APPS)
def test_streams_that_break_off_leave_what_is_ours_only_where_they_leave_what_is_theirs(
    served: Served, app: str
) -> None:
    # How often Starlette and anyio leave something depends on which of their tasks sees the end first.
    found = left_by(served, app, STREAMS)
    theirs = sum(number for name, number in found.items() if is_theirs(name))
    assert all(number <= theirs for name, number in found.items())


@on(("gunicorn sync", "wsgi", "1"), ("gunicorn gthread", "wsgi", "0"), ("gunicorn gevent", "wsgi", "1"))
@pytest.mark.parametrize("app", ["wsgi", "within", "flask"])
def test_failing_requests_to_wsgi_leave_no_more_than_without_a_door(served: Served, app: str) -> None:
    without = left_by(served, f"{app}-without", WSGI)
    assert excess(left_by(served, app, WSGI), without) == {}

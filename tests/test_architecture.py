"""The way of a request as docs/architecture.md tells it is the way that a request takes."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.util._once import Once

import tracemw
import tracemw.asgi
from backend import backend_serving
from calls import ask
from tracemw._setup import installation
from tracemw._setup.endings import Endings
from tracemw._setup.installation import Installation

SOURCE = Path(tracemw.__file__).parent
PAGE = Path(__file__).parents[1] / "docs" / "architecture.md"


def section(title: str) -> str:
    return PAGE.read_text().partition(f"## {title}\n")[2].partition("\n## ")[0]


def stations() -> list[tuple[str, str]]:
    """The numbered steps of the page: the file, and the function that is entered."""
    return re.findall(r"^\d+\. `([\w/]+\.py)` `([\w.]+)`", section("The way of a request"), re.MULTILINE)


@pytest.fixture
def sampled(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)
    monkeypatch.setattr(trace, "_TRACER_PROVIDER_SET_ONCE", Once())
    monkeypatch.setattr(Endings, "handle_signals", lambda self: None)
    monkeypatch.setattr(installation, "IN_THIS_PROCESS", Installation())
    with backend_serving() as backend:
        tracing = tracemw.init("shop", endpoint=backend.url, sampling=1.0)
        yield
        tracing.shutdown(5)


async def app(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
async def entered(sampled: None) -> list[tuple[str, str]]:
    """The functions of tracemw that one request enters, in their order."""
    traced = tracemw.asgi.TraceMiddleware(app)
    await ask(traced, "/order/7")
    found: list[tuple[str, str]] = []

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(SOURCE):
            found.append((str(path.relative_to(SOURCE)), frame.f_code.co_qualname))

    sys.setprofile(note)
    try:
        await ask(traced, "/order/7")
    finally:
        sys.setprofile(None)
    return found


def test_a_request_passes_the_stations_of_the_page_in_their_order(entered: list[tuple[str, str]]) -> None:
    told = stations()
    assert len(told) >= 12
    passed = iter(entered)
    assert [station for station in told if station not in passed] == []


def test_a_request_enters_no_module_that_the_page_does_not_name(entered: list[tuple[str, str]]) -> None:
    named = set(re.findall(r"`([\w/]+\.py)`", section("The way of a request")))
    assert {path for path, _ in entered} - named == set()


def test_a_request_takes_at_most_38_calls(entered: list[tuple[str, str]]) -> None:
    assert 30 < len(entered) <= 38


def test_every_room_and_every_door_is_in_the_table_of_the_house() -> None:
    told = set(re.findall(r"`(\w+)`", section("The house")))
    rooms = {path.stem for path in SOURCE.iterdir() if not path.name.startswith("__") and path.suffix in ("", ".py")}
    assert rooms - told == {"_version"}

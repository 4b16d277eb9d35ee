"""What the viewer's tests share: a running viewer for each test that asks or for a module, and a real Chromium."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .running import Viewer, viewer
from .samples import one

expect.set_options(timeout=60_000)  # milliseconds: a busy machine takes its time


@pytest.fixture(name="viewer")
def running_viewer() -> Iterator[Viewer]:
    with viewer() as running:
        yield running


@pytest.fixture(name="attacked", scope="module")
def viewer_that_is_attacked() -> Iterator[Viewer]:
    """One viewer for all attacks of a module that leave nothing behind."""
    with viewer() as running:
        running.send(one(1, name="a" * 40 + "!", note="x" * 60_000)).raise_for_status()
        yield running


_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome")
_CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = next(filter(None, map(shutil.which, _CHROMIUM_NAMES)), None)
    if path is None:
        missing = f"no Chromium found: none of {', '.join(_CHROMIUM_NAMES)} is on the PATH"
        if os.environ.get("TESTS_REQUIRE_BROWSER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=_CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, viewer: Viewer) -> Iterator[Page]:
    """A page of the viewer."""
    with page_of(browser, viewer.url) as page:
        yield page


def photograph(page: Page, name: str) -> None:
    """Take a picture for the documentation, if `TESTS_PICTURES` names a directory for it."""
    if directory := os.environ.get("TESTS_PICTURES"):
        page.screenshot(path=Path(directory) / name)


@contextmanager
def page_of(browser: Browser, url: str, **more: Any) -> Iterator[Page]:
    """A page of which nothing may leave for another host, and which may not complain."""
    options = {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light", **more}
    context = browser.new_context(base_url=url, **options)
    context.set_default_timeout(60_000)
    page = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on(
        "console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []
    assert [each for each in requests if not each.startswith((url, "data:"))] == []

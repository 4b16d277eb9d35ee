"""The page in a real Chromium, against a real viewer."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from .running import Viewer
from .samples import CHECKOUT, MILLISECOND, Spans, checkout, hex_id, one, span

pytestmark = pytest.mark.browser

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
        if os.environ.get("TRACEMW_REQUIRE_BROWSER") == "1":
            pytest.fail(missing)
        pytest.skip(missing)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=_CHROMIUM_ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, viewer: Viewer) -> Iterator[Page]:
    """A page of which nothing may leave for another host, and which may not complain."""
    context = browser.new_context(base_url=viewer.url, viewport={"width": 1280, "height": 800}, color_scheme="light")
    page = context.new_page()
    requests: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: complaints.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    context.close()
    assert complaints == []
    assert [url for url in requests if not url.startswith((viewer.url, "data:"))] == []


def test_an_empty_viewer_tells_how_to_send_traces_and_shows_the_first_one_by_itself(
    page: Page, viewer: Viewer
) -> None:
    page.goto("/")
    expect(page.get_by_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={viewer.url}")).to_be_visible()
    viewer.send(one(name="GET /first"))
    expect(page.get_by_role("link", name="GET /first")).to_be_visible()


def test_from_the_list_over_the_error_filter_to_the_attributes_of_the_failed_span(
    page: Page, viewer: Viewer
) -> None:
    now = time.time_ns()
    for number in range(1, 6):
        viewer.send(one(number, "storefront", name=f"GET /products/{number}", start=now - number * 10**9))
    viewer.send(*checkout(start=now))
    page.goto("/")
    expect(page.locator("tbody tr")).to_have_count(6)
    page.get_by_label("Status").select_option("Errors")
    expect(page.locator("tbody tr")).to_have_count(1)

    page.get_by_role("link", name="POST /checkout/{cart_id}").click()
    expect(page).to_have_url(f"{viewer.url}/trace/{hex_id(CHECKOUT)}")
    expect(page.get_by_role("treeitem")).to_have_count(15)
    expect(page.get_by_role("list", name="Services").get_by_role("listitem")).to_have_count(3)

    page.get_by_role("treeitem", name="payments authorize card").click()
    panel = page.get_by_role("complementary", name="Span")
    expect(panel.get_by_role("row", name="payment.amount")).to_contain_text("129.9")
    expect(panel.get_by_role("row", name="payment.methods")).to_contain_text('["card", "invoice"]')
    expect(panel.get_by_role("row", name="service.name")).to_contain_text("payments")
    expect(panel.get_by_label("Stack trace")).to_contain_text("raise CardDeclined(reply.reason)")

    if target := os.environ.get("TRACEMW_SCREENSHOT"):
        page.screenshot(path=Path(target))

    page.reload()
    expect(page.get_by_role("treeitem")).to_have_count(15)
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(1)

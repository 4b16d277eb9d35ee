"""The page in a real Chromium, against a real viewer."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from .conftest import photograph
from .running import Viewer
from .samples import CHECKOUT, Spans, checkout, hex_id, one, span

pytestmark = pytest.mark.browser


def test_an_empty_viewer_tells_how_to_send_traces_and_shows_the_first_one_by_itself(page: Page, viewer: Viewer) -> None:
    page.goto("/")
    expect(page.get_by_text(f"OTEL_EXPORTER_OTLP_ENDPOINT={viewer.url}")).to_be_visible()
    viewer.send(one(name="GET /first"))
    expect(page.get_by_role("link", name="GET /first")).to_be_visible()


def test_from_the_list_over_the_error_filter_to_the_attributes_of_the_failed_span(page: Page, viewer: Viewer) -> None:
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

    photograph(page, "viewer.png")

    page.reload()
    expect(page.get_by_role("treeitem")).to_have_count(15)
    page.go_back()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_the_keyboard_alone_walks_folds_and_opens_the_tree(page: Page, viewer: Viewer) -> None:
    viewer.send(*checkout())
    page.goto(f"/trace/{hex_id(CHECKOUT)}")
    tree = page.get_by_role("tree")
    tree.focus()
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    panel = page.get_by_role("complementary", name="Span")
    expect(panel.get_by_role("heading", level=2)).to_contain_text("SELECT carts")
    page.keyboard.press("ArrowDown")  # an open panel follows
    expect(panel.get_by_role("heading", level=2)).to_contain_text("SELECT cart_items")
    page.keyboard.press("Escape")
    expect(panel).to_have_count(0)

    page.keyboard.press("ArrowLeft")  # to the parent, which the next one folds
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("treeitem", name="storefront load cart")).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_role("treeitem")).to_have_count(13)
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("treeitem")).to_have_count(1)
    page.get_by_role("button", name="Expand all").click()
    expect(page.get_by_role("treeitem")).to_have_count(15)


def test_a_trace_of_5000_spans_draws_only_what_is_in_sight_and_scrolls_to_its_end(page: Page, viewer: Viewer) -> None:
    spans = [span(7, 1, name="root", took=5000)]
    spans += [span(7, number, 1, name=f"step {number}", at=number, took=0) for number in range(2, 5001)]
    viewer.send(Spans("batch", tuple(spans)))
    page.goto(f"/trace/{hex_id(7)}")
    expect(page.get_by_role("definition").filter(has_text="5,000")).to_be_visible()
    assert page.get_by_role("treeitem").count() < 100
    page.get_by_role("tree").focus()
    before = time.monotonic()
    page.keyboard.press("End")
    expect(page.get_by_role("treeitem", name="batch step 5000,")).to_be_in_viewport()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowLeft")
    expect(page.get_by_role("treeitem")).to_have_count(1)
    assert time.monotonic() - before < 20


def test_names_and_values_that_look_like_markup_are_shown_and_not_run(page: Page, viewer: Viewer) -> None:
    hostile = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    viewer.send(one(3, service=hostile, name=hostile, error=hostile, hostile__key=hostile))
    page.goto("/")
    page.locator("tbody a").click()
    page.get_by_role("treeitem").click()
    expect(page.get_by_role("row", name="hostile.key")).to_contain_text(hostile)
    assert "owned" not in page.title().replace(hostile, "")
    assert page.locator("main img").count() == 0


def test_a_span_whose_parent_is_missing_is_a_marked_root_that_moves_into_place_when_the_parent_comes(
    page: Page, viewer: Viewer
) -> None:
    viewer.send(Spans("shop", (span(4, 2, 1, name="child"),)))
    page.goto(f"/trace/{hex_id(4)}")
    expect(page.get_by_role("treeitem", name="parent missing")).to_have_attribute("aria-level", "1")
    viewer.send(Spans("shop", (span(4, 1, name="parent"),)))
    expect(page.get_by_role("treeitem", name="shop child")).to_have_attribute("aria-level", "2")


def test_spans_that_are_each_others_parents_are_shown_once_each(page: Page, viewer: Viewer) -> None:
    viewer.send(Spans("shop", (span(5, 1, 2, name="hen"), span(5, 2, 1, name="egg"), span(5, 3, 3, name="self"))))
    page.goto(f"/trace/{hex_id(5)}")
    expect(page.get_by_role("treeitem")).to_have_count(3)


def test_a_trace_that_arrives_after_its_link_was_opened_appears_by_itself(page: Page, viewer: Viewer) -> None:
    page.goto(f"/trace/{hex_id(6)}")
    expect(page.get_by_role("heading", name="This trace is not here yet")).to_be_visible()
    viewer.send(one(6, name="late"))
    expect(page.get_by_role("treeitem", name="shop late")).to_be_visible()


def test_the_search_box_takes_text_tags_and_traceql_and_the_address_keeps_them(page: Page, viewer: Viewer) -> None:
    viewer.send(one(1, name="GET /a", http__route="/a"), one(2, name="GET /b", http__route="/b", took=900))
    page.goto("/")
    box = page.get_by_label("Search")
    rows = page.locator("tbody tr")
    for text in ("get /b", "http.route=/b", "{ duration > 500ms }", hex_id(2)):
        box.fill("")
        expect(rows).to_have_count(2)
        box.fill(text)
        expect(rows).to_have_count(1)
        expect(rows).to_contain_text("GET /b")
    page.reload()
    expect(box).to_have_value(hex_id(2))
    page.get_by_label("Min duration").fill("1s")
    expect(page.get_by_role("heading", name="No trace passes these filters")).to_be_visible()


@pytest.mark.parametrize(
    "text",
    ["http.response.status_code>=500", "resource.service.name=payments", "name != charge", "status=error"],
)
def test_the_search_box_takes_one_comparison_without_braces_and_quotes(page: Page, viewer: Viewer, text: str) -> None:
    viewer.send(one(1, "storefront", name="charge"))
    viewer.send(one(2, "payments", name="GET /fail", error="it broke", http__response__status_code=503))
    page.goto("/")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.get_by_label("Search").fill(text)
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.get_by_role("link", name="GET /fail")).to_be_visible()


def test_a_link_leads_to_a_span_and_the_source_of_an_error_is_marked(page: Page, viewer: Viewer) -> None:
    viewer.send(*checkout())
    page.goto(f"/trace/{hex_id(CHECKOUT)}")
    sources = page.get_by_role("treeitem", name="source of the error")
    expect(sources).to_have_count(1)
    sources.click()
    panel = page.get_by_role("complementary", name="Span")
    expect(panel.get_by_role("heading").first).to_contain_text("authorize card")
    page.reload()
    expect(panel.get_by_role("heading").first).to_contain_text("authorize card")


def test_a_kind_and_a_status_that_nobody_knows_are_shown_as_unspecified(page: Page, viewer: Viewer) -> None:
    odd = span(8, 1, name="from the future")
    odd.kind, odd.status.code = 77, 99  # type: ignore[assignment]
    far = span(8, 2, 1, name="far", start=2**63 - 10**9)
    far.kind = -5  # type: ignore[assignment]
    viewer.send(Spans("shop", (odd, far)))
    page.goto("/")
    page.get_by_role("link", name="from the future").click()
    page.get_by_role("treeitem", name="shop from the future").click()
    panel = page.get_by_role("complementary", name="Span")
    expect(panel).to_contain_text("unspecified")
    expect(panel).to_contain_text("unset")


@pytest.mark.parametrize("path", ["%ff", "xyz", "%", "0" * 33])
def test_an_address_that_is_no_trace_id_says_so(browser: Browser, viewer: Viewer, path: str) -> None:
    with browser.new_context(base_url=viewer.url) as context:
        page = context.new_page()
        page.goto(f"/trace/{path}")
        expect(page.get_by_role("alert")).to_contain_text("trace IDs can")


def test_numbers_beyond_what_javascript_counts_and_no_numbers_at_all_are_shown(page: Page, viewer: Viewer) -> None:
    values: dict[str, Any] = {
        "big": 2**63 - 1,
        "small": -(2**63),
        "nan": float("nan"),
        "inf": float("inf"),
        "nothing": None,
    }
    viewer.send(one(9, name="odd", **values, __proto__="x", nested={"a": [None, 2**53 + 1, b"\xff"], "__proto__": 1}))
    page.goto(f"/trace/{hex_id(9)}")
    page.get_by_role("treeitem").click()
    for text in ("9223372036854775807", "-9223372036854775808", "NaN", "Infinity", "(empty)", "9007199254740993"):
        expect(page.get_by_role("complementary", name="Span")).to_contain_text(text)


@contextmanager
def site(content: str) -> Iterator[str]:
    """A web site of somebody else with one page: its address."""

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(content.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://localhost:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_a_link_on_another_site_leads_to_a_trace_and_nothing_else_on_it_reaches_the_viewer(
    browser: Browser, viewer: Viewer
) -> None:
    viewer.send(one(10, name="linked"))
    trace, search = f"{viewer.url}/trace/{hex_id(10)}", f"{viewer.url}/api/search"
    content = f'<iframe src="{trace}"></iframe> <a href="{trace}">trace</a> <a href="{search}">search</a>'
    answers: dict[str, int] = {}
    with site(content) as address, browser.new_context() as context:
        page = context.new_page()
        page.on("response", lambda response: answers.update({response.url: response.status}))
        page.goto(address, wait_until="networkidle")
        assert answers[trace] == 403
        page.get_by_role("link", name="search").click()
        expect(page.get_by_text("another origin is refused")).to_be_visible()
        page.go_back()
        page.get_by_role("link", name="trace").click()
        expect(page.get_by_role("treeitem", name="shop linked")).to_be_visible()

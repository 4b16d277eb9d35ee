"""What the page says of traces: verdicts, findings, folds, waits, routes, the map, and comparisons."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from . import incidents
from .conftest import page_of, photograph
from .cost import cost, needs_proc
from .running import PATIENCE, Viewer, viewer
from .samples import SECOND, Spans, hex_id, one, span

pytestmark = pytest.mark.browser

TIMEOUT, REPEATING, GHOST, HEALTHY = 1, 2, 3, 100
POOL_WAIT = f"{4:016x}"


@pytest.fixture(scope="module")
def told() -> Iterator[Viewer]:
    """A viewer with three incidents, and with requests that are fine."""
    now = time.time_ns()
    with viewer() as running:
        running.send(*incidents.timeout(TIMEOUT, now))
        running.send(*incidents.n_plus_one(REPEATING, now))
        running.send(*incidents.ghost_error(GHOST, now))
        for number in range(30):
            running.send(*incidents.healthy(HEALTHY + number, now - number * SECOND, took=20 + 2 * number))
        yield running


@pytest.fixture(name="page")
def page_that_is_told(browser: Browser, told: Viewer) -> Iterator[Page]:
    with page_of(browser, told.url, permissions=["clipboard-read", "clipboard-write"]) as page:
        yield page


@pytest.mark.parametrize(
    ("trace", "said"),
    [
        (TIMEOUT, ["waits 2994 ms for a connection", "refunds.py:31, settle"]),
        (REPEATING, ["runs SELECT addresses 41 times", "app.py:57, orders_of", "selectinload", "saves up to"]),
        (GHOST, ["KeyError: 'device_age'", "of fraud", "score.py:23", "retries made 9 calls of one"]),
    ],
)
def test_the_cause_of_an_incident_is_in_sight_without_a_click(page: Page, trace: int, said: list[str]) -> None:
    page.goto(f"/trace/{hex_id(trace)}")
    verdict = page.get_by_role("region", name="Verdict")
    for text in said:
        expect(verdict).to_contain_text(text)
    expect(verdict).to_be_in_viewport()


def test_the_list_tells_what_is_wrong_with_each_trace(page: Page) -> None:
    page.goto("/")
    row = page.get_by_role("row").filter(has_text="profile runs SELECT addresses 41 times")
    expect(row.get_by_role("img", name="warning")).to_be_visible()
    expect(page.get_by_role("row").filter(has=page.get_by_role("img"))).to_have_count(3)


def test_a_trace_that_is_fine_says_so_and_where_the_time_went(page: Page) -> None:
    page.goto(f"/trace/{hex_id(HEALTHY)}")
    expect(page.get_by_role("region", name="Verdict")).to_contain_text(
        "Nothing is wrong with GET /account of storefront"
    )


def test_a_finding_leads_to_its_span_and_the_address_keeps_the_way(page: Page) -> None:
    page.goto(f"/trace/{hex_id(GHOST)}")
    page.get_by_role("button", name="retry-storm storefront tries").click()
    panel = page.get_by_role("complementary", name="Span")
    expect(panel.get_by_role("heading", level=2)).to_contain_text("POST payments/charges")
    expect(page).to_have_url(re.compile(r"\?span=[0-9a-f]{16}$"))
    page.reload()
    expect(panel).to_contain_text("storefront tries POST payments/charges 3 times")
    page.keyboard.press("n")
    expect(page.get_by_role("treeitem", selected=True)).to_be_in_viewport()


def test_repeats_are_one_row_that_opens(page: Page) -> None:
    page.goto(f"/trace/{hex_id(REPEATING)}")
    repeats = page.get_by_role("treeitem", name="40 more like SELECT addresses")
    repeats.wait_for()
    photograph(page, "viewer-trace.png")
    expect(repeats).to_have_attribute("aria-expanded", "false")
    expect(page.get_by_role("treeitem")).to_have_count(7)
    repeats.click()
    expect(page.get_by_role("treeitem", name="profile SELECT addresses").nth(9)).to_be_visible()
    page.get_by_role("button", name="Repeats folded").click()
    expect(page.get_by_role("treeitem")).to_have_count(7)


def test_a_span_in_a_fold_is_shown_when_a_link_leads_to_it(page: Page) -> None:
    page.goto(f"/trace/{hex_id(REPEATING)}?span={50:016x}")
    expect(page.get_by_role("treeitem", selected=True)).to_be_in_viewport()


def test_the_critical_path_is_marked_with_the_own_time_of_each_span(page: Page) -> None:
    page.goto(f"/trace/{hex_id(TIMEOUT)}")
    expect(page.get_by_role("treeitem", name="storefront pool wait")).to_have_attribute(
        "aria-label", re.compile("2.99 s on the critical path")
    )


def test_a_wait_is_shaded_where_it_is(page: Page) -> None:
    page.goto(f"/trace/{hex_id(TIMEOUT)}")
    wait = page.get_by_role("treeitem", name="storefront pool wait").get_by_title("waits for a connection")
    expect(wait).to_be_visible()


def test_logs_and_stacks_are_rows_under_their_span_and_the_own_code_of_a_stack_stands_out(page: Page) -> None:
    page.goto(f"/trace/{hex_id(TIMEOUT)}")
    expect(page.get_by_role("treeitem")).to_have_count(4)
    page.keyboard.press("e")
    expect(page.get_by_role("treeitem", name="stack · orders.py:88, reserve")).to_have_attribute("aria-level", "2")
    page.get_by_role("treeitem", name="ERROR · checkout of cart 8113 failed").click()
    stack = page.get_by_role("complementary", name="Span").get_by_label("Stack trace").first
    expect(stack.locator("b").last).to_contain_text("orders.py")
    page.reload()
    expect(page.get_by_role("treeitem")).to_have_count(7)


def test_the_line_of_code_can_be_copied(page: Page) -> None:
    page.goto(f"/trace/{hex_id(TIMEOUT)}?span={POOL_WAIT}")
    button = page.get_by_role("complementary", name="Span").get_by_role("button", name="Copy line of code")
    expect(button).to_contain_text("/srv/storefront/orders.py:88")
    button.click()
    expect(button).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "/srv/storefront/orders.py:88"


@pytest.mark.parametrize(
    ("text", "many"), [("addresses", 41), ("db.namespace=shop from profiles", 1), ("log.message=41", 1)]
)
def test_spans_are_found_by_names_attributes_and_logs(page: Page, text: str, many: int) -> None:
    page.goto(f"/trace/{hex_id(REPEATING)}")
    page.get_by_role("tree").wait_for()
    page.keyboard.press("/")
    page.keyboard.type(text)
    expect(page.get_by_text(f"{many} of 46 spans")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary", name="Span")).to_be_visible()


def test_findings_of_many_traces_are_counted_and_lead_to_a_trace_that_shows_them(page: Page) -> None:
    page.goto("/findings")
    groups = page.get_by_role("list", name="Findings, worst first").get_by_role("listitem")
    page.get_by_role("button", name="n-plus-one").wait_for()
    photograph(page, "viewer-findings.png")
    page.get_by_role("button", name="n-plus-one").click()
    expect(groups).to_have_count(1)
    expect(groups).to_contain_text("1 of 33")
    page.get_by_role("link", name="profile runs SELECT addresses 41 times").click()
    expect(page).to_have_url(re.compile(f"/trace/{hex_id(REPEATING)}"))
    expect(page.get_by_role("treeitem", selected=True)).to_contain_text("GET /profiles/{id}")
    page.go_back()
    expect(groups).to_have_count(1)


def test_a_bar_and_a_quantile_of_a_route_lead_to_traces(page: Page) -> None:
    page.goto("/routes")
    route = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name="GET /account"))
    expect(route).to_contain_text("31 requests")
    expect(route.get_by_role("definition")).to_have_count(3)
    slowest = route.get_by_role("link", name="open one").last
    expect(slowest).to_have_accessible_name(re.compile("1 request; open one"))
    slowest.click()
    expect(page).to_have_url(re.compile(f"/trace/{hex_id(REPEATING)}"))
    page.go_back()
    route.get_by_role("definition").first.get_by_role("link").click()
    expect(page.get_by_role("region", name="Verdict")).to_contain_text("Nothing is wrong")


def test_a_request_without_duration_and_a_call_that_begins_a_trace_are_shown(browser: Browser) -> None:
    with viewer() as running, page_of(browser, running.url) as page:
        running.send(Spans("shop", (incidents.request(1, 1, 0, "GET /now", 0, 0),)))
        page.goto("/routes")
        expect(page.get_by_role("listitem").filter(has_text="GET /now")).to_contain_text("1 request")
        running.send(Spans("cron", (incidents.call(2, 1, 0, "stock", "/items/77", 0, 30),)))
        page.goto("/")
        expect(page.get_by_role("link", name="cron GET stock/items/{}")).to_be_visible()


def test_the_map_says_who_calls_whom_how_often_and_how_much_of_it_fails(page: Page) -> None:
    page.goto("/map")
    row = page.get_by_role("row").filter(has_text=re.compile("^payments"))
    expect(row).to_contain_text("fraud")
    expect(row.get_by_role("cell")).to_contain_text(["payments", "fraud", "9", "100 %"])
    picture = page.locator(".map svg")
    expect(picture.locator(".place")).to_have_count(5)
    expect(picture.locator(".way.bad")).to_have_count(3)


def test_a_comparison_of_two_names_the_command_that_compares_many(page: Page) -> None:
    page.goto(f"/compare/{hex_id(HEALTHY)}/{hex_id(HEALTHY + 29)}")
    button = page.get_by_role("button", name="Copy command")
    expect(button).to_be_visible()
    command = shlex.split(button.inner_text())
    assert command[:4] == ["tracemw", "compare", "--before", "{ trace:duration < 49ms }"]
    ended = subprocess.run(
        [sys.executable, "-m", *command], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert ended.stderr == ""
    assert ended.stdout.startswith("GET /account got slower")
    page.goto(f"/compare/{hex_id(HEALTHY)}/{hex_id(TIMEOUT)}")  # another route
    expect(page.get_by_role("heading", name="Compare")).to_be_visible()
    expect(page.get_by_role("table")).to_be_visible()
    expect(button).to_have_count(0)


def test_calls_that_reach_nobody_are_calls_of_the_service_that_answers_others(browser: Browser) -> None:
    with viewer() as running:
        for number in range(1, 5):
            asked = incidents.request(number, 1, 0, "GET /cart", 0, 30)
            call = incidents.call(
                number, 2, 1, "stock", "/items/7", 2, 20, error="ConnectError" if number > 3 else None
            )
            answer = incidents.request(number, 3, 2, "GET /items/{id}", 4, 15)
            lost = incidents.call(number, 4, 1, "tax", "/rates", 25, 2, error="ConnectError")
            running.send(Spans("cart", (asked, call, lost)), *([Spans("store", (answer,))] if number <= 3 else []))
        with page_of(browser, running.url) as page:
            page.goto("/map")
            rows = page.get_by_role("row")
            expect(rows.filter(has_text="store")).to_contain_text("25 %")
            expect(rows.filter(has_text="tax")).to_contain_text("every call fails")
            expect(rows).to_have_count(3)


@pytest.mark.parametrize("way", ["trace", "compare"])
def test_a_narrow_window_shows_all_columns(browser: Browser, told: Viewer, way: str) -> None:
    address = f"/trace/{hex_id(REPEATING)}" if way == "trace" else f"/compare/{hex_id(HEALTHY)}/{hex_id(REPEATING)}"
    with page_of(browser, told.url, viewport={"width": 400, "height": 800}) as page:
        page.goto(address)
        for text in ("On path", hex_id(REPEATING)) if way == "trace" else ("Grown by", "0 → 41"):
            expect(page.get_by_text(text, exact=True).first).to_be_visible()
        table = page.locator(".waterfall" if way == "trace" else ".differences")
        assert table.evaluate("each => each.getBoundingClientRect().right") <= 400


def test_a_trace_is_compared_with_a_usual_one(page: Page) -> None:
    page.goto(f"/trace/{hex_id(REPEATING)}")
    page.get_by_role("link", name="Compare with a usual one").click()
    first = page.get_by_role("row").nth(1)
    expect(first).to_contain_text("SELECT addresses")
    expect(first).to_contain_text("0 → 41")
    expect(first.get_by_role("cell").nth(4)).to_have_text(re.compile(r"^0 ms → \d+ ms$"))
    expect(page.get_by_role("region", name="Before")).to_contain_text("Nothing is wrong")
    page.get_by_role("link", name="The other way round").click()
    expect(page.get_by_role("row").last).to_contain_text("SELECT addresses")


@pytest.mark.parametrize(("others", "said"), [(0, "has no other requests of storefront"), (2, "is the usual")])
def test_a_trace_is_not_compared_with_itself(browser: Browser, others: int, said: str) -> None:
    with viewer() as running, page_of(browser, running.url) as page:
        for number in range(1 + others):
            running.send(*incidents.healthy(HEALTHY + number, took=20 + (number % 2 - (number > 1)) * 5))
        page.goto(f"/trace/{hex_id(HEALTHY)}")
        page.get_by_role("link", name="Compare with a usual one").click()
        expect(page.get_by_role("status")).to_contain_text(said)


def test_keys_lead_through_the_page(page: Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="POST /checkout").first.wait_for()
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_contain_text("Next and previous finding")
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("f")
    page.get_by_role("list", name="Findings, worst first").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("tree")).to_be_visible()


def test_what_somebody_reads_does_not_move_when_new_traces_come(browser: Browser) -> None:
    with viewer() as running, page_of(browser, running.url) as page:
        for number in range(1, 40):
            running.send(one(number, name=f"GET /old/{number}"))
        page.goto("/")
        page.get_by_role("link", name="GET /old/7", exact=False).first.wait_for()
        page.get_by_role("main").evaluate("main => { main.scrollTop = 400 }")
        before = page.locator("tbody tr").first.inner_text()
        running.send(one(99, name="GET /new", start=time.time_ns()))
        fresh = page.get_by_role("button", name="1 new trace")
        fresh.wait_for()
        assert page.locator("tbody tr").first.inner_text() == before
        fresh.click()
        expect(page.locator("tbody tr").first).to_contain_text("GET /new")


PATHS: dict[str, Callable[[Page], None]] = {
    "/": lambda page: page.locator("tbody tr").first.wait_for(),
    f"/trace/{hex_id(TIMEOUT)}?span={1:016x}&logs=1": lambda page: page.get_by_label("Stack trace").first.wait_for(),
    f"/trace/{hex_id(REPEATING)}?span={50:016x}": lambda page: page.get_by_text("db.namespace").wait_for(),
    "/findings": lambda page: page.get_by_role("list", name="Findings, worst first").wait_for(),
    "/routes": lambda page: page.get_by_role("heading", name="GET /account").wait_for(),
    "/map": lambda page: page.get_by_role("table").wait_for(),
    f"/compare/{hex_id(HEALTHY)}/{hex_id(REPEATING)}": lambda page: page.get_by_role("table").wait_for(),
}


@pytest.mark.parametrize(("scheme", "width"), [("light", 400), ("dark", 1280)])
def test_nothing_keeps_people_out(browser: Browser, told: Viewer, scheme: str, width: int) -> None:
    found = []
    with page_of(browser, told.url, color_scheme=scheme, viewport={"width": width, "height": 800}) as page:
        for path, is_there in PATHS.items():
            page.goto(path)
            is_there(page)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            result = Axe().run(page)
            found += [(path, each["id"], each["nodes"][0]["html"]) for each in result.response["violations"]]
    assert found == []


@needs_proc
@pytest.mark.serial
def test_a_trace_of_50000_spans_opens_in_two_seconds_of_cpu_and_scrolls(browser: Browser) -> None:
    def several(first: int) -> Spans:
        numbers = range(first, first + 5_000)
        return Spans(
            "batch",
            tuple(
                span(7, number, number // 20, name=f"step {number}", at=number, took=1, line=57, path="/srv/app.py")
                for number in numbers
            ),
        )

    with viewer() as running, page_of(browser, running.url) as page:
        for first in range(1, 50_001, 5_000):
            running.send(several(first))
        page.goto("/?errors=1")
        page.get_by_role("heading", name="No trace passes").wait_for()
        devtools = page.context.new_cdp_session(page)
        devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

        def seconds() -> float:
            metrics = devtools.send("Performance.getMetrics")["metrics"]
            return next(float(each["value"]) for each in metrics if each["name"] == "TaskDuration")

        before = seconds()
        with cost(running) as spent:
            page.goto(f"/trace/{hex_id(7)}")
            page.get_by_role("treeitem").first.wait_for(timeout=1000 * PATIENCE)
        opened = seconds() - before
        assert page.get_by_role("treeitem").count() < 60
        page.evaluate(
            """async () => {
              const rows = document.querySelector(".rows");
              for (let frame = 0; frame < 60; frame++) {
                rows.scrollTop += 200;
                await new Promise(requestAnimationFrame);
              }
            }"""
        )
        scrolled = (seconds() - before - opened) / 60
    assert spent.seconds + opened < 2
    assert scrolled < 0.016

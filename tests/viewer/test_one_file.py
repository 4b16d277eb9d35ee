"""`tracemw analyze --html`: a page that is one file, opened from the disk by a browser that has no network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tracemw.cli import main

from . import incidents
from .conftest import page_of
from .samples import Spans, hex_id, one, request

HOSTILE = "</script><script>document.title='owned'</script><!--<script>\" onload='x' \u2028&lt;"


def written(directory: Path, *spans: Spans) -> Path:
    """The page of traces: it has been told what the command is told."""
    traces, page = directory / "traces.pb", directory / "incident.html"
    traces.write_bytes(request(*spans).SerializeToString())
    assert main(["analyze", str(traces), "--html", str(page)]) == 1
    return page


@pytest.mark.browser
def test_one_trace_is_shown_with_its_verdict_and_all_that_its_spans_have(browser: Browser, tmp_path: Path) -> None:
    url = written(tmp_path, *incidents.timeout(1)).as_uri()
    with page_of(browser, url) as page:
        page.goto(url)
        expect(page.get_by_role("region", name="Verdict")).to_contain_text(
            "refunds.py:31, settle holds one for 184.2 s"
        )
        page.get_by_role("treeitem", name="pool wait").click()
        expect(page).to_have_url(f"{url}#/trace/{hex_id(1)}?span={4:016x}")
        panel = page.get_by_role("complementary", name="Span")
        expect(panel.get_by_role("row", name="tracemw.pool.size")).to_contain_text("2")
        page.get_by_label("Find spans").fill("pool.size=2")
        expect(page.get_by_text("1 of 4 spans")).to_be_visible()
        page.reload()
        expect(panel).to_contain_text("pool wait")


@pytest.mark.browser
def test_many_traces_are_shown_as_findings_routes_and_a_map_with_the_traces_that_show_them(
    browser: Browser, tmp_path: Path
) -> None:
    sent = [*incidents.n_plus_one(1), *incidents.ghost_error(2), *incidents.healthy(3)]
    url = written(tmp_path, *sent).as_uri()
    with page_of(browser, url) as page:
        page.goto(url)
        page.get_by_role("link", name="profile runs SELECT addresses 41 times").click()
        expect(page.get_by_role("treeitem", name="40 more like SELECT addresses")).to_be_visible()
        for place, there in (("Routes", "GET /account"), ("Map", "postgresql shop"), ("Findings", "KeyError")):
            page.get_by_role("link", name=place, exact=True).click()
            expect(page.get_by_text(re.compile(there)).locator("visible=true").first).to_be_visible()


@pytest.mark.browser
def test_names_and_values_that_look_like_markup_stay_text(browser: Browser, tmp_path: Path) -> None:
    file = written(tmp_path, one(1, service=HOSTILE, name=HOSTILE, error=HOSTILE, hostile__key=HOSTILE))
    assert file.read_text().count("</script>") == 2
    with page_of(browser, file.as_uri()) as page:
        page.goto(file.as_uri())
        page.get_by_role("treeitem").click()
        expect(page.get_by_role("row", name="hostile.key")).to_contain_text(HOSTILE[:60])
        assert "owned" not in page.title().replace(HOSTILE, "")


@pytest.mark.browser
def test_the_page_may_run_no_other_script_and_reach_no_other_place(browser: Browser, tmp_path: Path) -> None:
    url = written(tmp_path, *incidents.timeout(1)).as_uri()
    page: Page
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(url)
        page.get_by_role("tree").wait_for()
        ran = page.evaluate(
            """async () => {
              const script = document.createElement("script");
              script.textContent = "window.ran = true";
              document.body.append(script);
              const fetched = await fetch("http://127.0.0.1:9/").then(() => true, () => false);
              return [window.ran === true, fetched];
            }"""
        )
    assert ran == [False, False]


def test_a_file_that_cannot_be_written_is_an_error_that_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    traces = tmp_path / "traces.pb"
    traces.write_bytes(request(one(1)).SerializeToString())
    assert main(["analyze", str(traces), "--html", str(tmp_path / "nowhere" / "page.html")]) == 2
    assert "nowhere/page.html" in capsys.readouterr().err

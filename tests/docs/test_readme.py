"""The README is short, names every door and every public function, and says what a newcomer needs."""

from __future__ import annotations

import inspect

import tracemw
from docs.pages import ROOT
from tracemw._http.skip import DEFAULT_PATHS

README = (ROOT / "README.md").read_text()
PAGES = "".join(page.read_text() for page in (ROOT / "docs" / "how-to").glob("*.md"))


def test_the_readme_has_at_most_a_hundred_lines() -> None:
    assert len(README.splitlines()) <= 100


def test_the_first_screen_of_the_readme_has_the_two_lines_and_the_picture() -> None:
    screen = "\n".join(README.splitlines()[:30])
    assert "tracemw.init(" in screen
    assert "add_middleware(TraceMiddleware)" in screen
    assert "docs/viewer.png" in screen
    assert (ROOT / "docs" / "viewer.png").exists()


def test_the_readme_has_a_line_for_every_door() -> None:
    doors = [name for name in dir(tracemw) if inspect.ismodule(getattr(tracemw, name)) and f"tracemw.{name}." in README]
    assert sorted(doors) == sorted(tracemw._DOORS)


def test_every_public_function_is_on_a_page_that_says_how() -> None:
    names = [name for name in tracemw.__all__ if name not in ("ClientOptions", "ServerOptions", "Stats", "__version__")]
    assert [name for name in names if name not in PAGES] == []


def test_the_page_on_requests_lists_every_path_that_is_skipped_by_default() -> None:
    page = (ROOT / "docs" / "how-to" / "requests.md").read_text()
    assert {path for path in DEFAULT_PATHS if f"`{path}`" not in page} == set()

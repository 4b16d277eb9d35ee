"""Figures in README and docs are those of `benchmarks/figures.json`, measured with this version of the code."""

from __future__ import annotations

import re

import pytest
from benchmarks import figures

import tracemw
from docs.pages import ROOT, pages

FIGURE = re.compile(r"\d us\b|\d ?% (?:of the(?! growth)|with one|throughput)")


@pytest.mark.parametrize("page", figures.PAGES)
def test_the_table_of_a_page_is_made_of_the_figures_that_were_kept(page: str) -> None:
    assert (ROOT / page).read_text() == figures.with_table(page, figures.Figures(figures.read()))


@pytest.mark.parametrize("page", figures.PAGES)
def test_figures_are_not_older_than_the_code_that_they_describe(page: str) -> None:
    made = figures.Figures(rows := figures.read())
    made.table(page)
    older = {name for name in made.used if figures.minor(rows[name]["versions"]["tracemw"]) != present()}
    assert not older, f"measured with another version: make bench ROWS='{' '.join(sorted(older))}'"


def present() -> str:
    return figures.minor(tracemw.__version__)


def test_no_page_has_figures_of_its_own() -> None:
    for page in pages():
        text = re.sub(r"<!-- figures -->.*?<!-- /figures -->", "", page.read_text(), flags=re.DOTALL)
        assert FIGURE.findall(text) == [], page

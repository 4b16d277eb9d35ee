"""Whose code a line is: the application's, a package's, or made at run time."""

from __future__ import annotations

import json

import pytest

from tracemw._otel.application import is_application


@pytest.mark.parametrize(
    ("path", "is_its_own"),
    [
        (__file__, True),
        ("<string>", True),  # `python -c`
        ("<stdin>", True),
        (json.__file__, False),
        (pytest.__file__, False),
        (r"C:\shop\venv\Lib\site-packages\flask\app.py", False),
        ("<frozen importlib._bootstrap>", False),
        ("<sqlalchemy generated warned() wrapper for 0x7f>", False),
        ("<attrs generated init shop.Order>", False),
    ],
)
def test_code_is_told_from_that_of_packages_and_from_what_they_make_at_run_time(path: str, *, is_its_own: bool) -> None:
    assert is_application(path) == is_its_own

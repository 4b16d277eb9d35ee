"""Problems as text, JSON, SARIF, and annotations of GitHub."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from tracemw._version import __version__
from tracemw.lint.codes import CODES, Violation


def as_text(problems: Sequence[Violation]) -> str:
    """Return a line for each problem."""
    return "\n".join(
        f"{_path(each)}:{each.line}:{each.column}: {each.code} {each.sentence}; {each.remedy}" for each in problems
    )


def as_json(problems: Sequence[Violation]) -> str:
    """Return a JSON document. Its names are there to stay; more may come."""
    return json.dumps({"problems": [_document(each) for each in problems]})


def as_github(problems: Sequence[Violation]) -> str:
    """Return the commands that annotate lines of a pull request in a workflow of GitHub."""
    return "\n".join(
        f"::error file={_escaped(_path(each), more=',:')},line={each.line},col={each.column},title={each.code}::"
        f"{_escaped(f'{each.sentence}; {each.remedy}')}"
        for each in problems
    )


def as_sarif(problems: Sequence[Violation]) -> str:
    """Return a SARIF 2.1.0 document, which code scanning shows."""
    rules = [
        {
            "id": code,
            "shortDescription": {"text": told.sentence.format("...")},
            "help": {"text": told.remedy.format("...")},
        }
        for code, told in CODES.items()
    ]
    results = [
        {
            "ruleId": each.code,
            "level": "warning",
            "message": {"text": f"{each.sentence}; {each.remedy}"},
            "locations": [
                {
                    "physicalLocation": {
                        "artifactLocation": {"uri": quote(_path(each))},
                        "region": {"startLine": each.line, "startColumn": each.column},
                    }
                }
            ],
        }
        for each in problems
    ]
    driver = {"name": "tracemw lint", "version": __version__, "rules": rules}
    return json.dumps(
        {
            "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
            "version": "2.1.0",
            "runs": [{"tool": {"driver": driver}, "results": results}],
        }
    )


FORMATS: Final[Mapping[str, Callable[[Sequence[Violation]], str]]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
    "sarif": as_sarif,
}


def _document(found: Violation) -> dict[str, Any]:
    return {
        "code": found.code,
        "path": _path(found),
        "line": found.line,
        "column": found.column,
        "sentence": found.sentence,
        "remedy": found.remedy,
    }


def _path(found: Violation) -> str:
    """Return a path as it is shown: relative to the working directory where it is within."""
    full, here = found.path.resolve(), Path.cwd()
    return full.relative_to(here).as_posix() if full.is_relative_to(here) else found.path.as_posix()


def _escaped(text: str, more: Iterable[str] = ()) -> str:
    for sign in ("%", "\r", "\n", *more):
        text = text.replace(sign, f"%{ord(sign):02X}")
    return text

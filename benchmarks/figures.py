"""The figures that README and docs quote. A full run keeps them in `figures.json` and writes them into the pages.

A page has its table between two comments, `<!-- figures -->` and `<!-- /figures -->`. Each row of benchmarks keeps its
own versions, so that some rows can be measured anew without the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Formatter
from typing import Any, Final

ROOT: Final = Path(__file__).parents[1]
FILE: Final = Path(__file__).with_name("figures.json")
_BLOCK: Final = re.compile(r"(<!-- figures -->\n).*?(<!-- /figures -->)", re.DOTALL)
_HEADER: Final = ("", "tracemw", "official instrumentation")

# A field is a row of benchmarks and a contestant, `{asgi/official}`, and perhaps one of the contestant's notes.
_FASTAPI: Final = (
    "a request to a FastAPI application, which takes {fastapi/untraced} itself",
    "{fastapi/ours}",
    "{fastapi/official, one span} with one span, {fastapi/official} by default; FastAPI's own telemetry "
    "{fastapi/FastAPI native}",
)
_UNSAMPLED: Final = (
    "an ASGI request that is sampled out, and recorded in case it fails",
    "{asgi-unsampled/ours}",
    "{asgi-unsampled/official, one span}",
)
_FLASK: Final = ("a request to a Flask application", "{flask/ours}", "{flask/official}")
_CLIENTS: Final = (
    "a call with httpx / requests",
    "{httpx/ours} / {requests/ours}",
    "{httpx/official} / {requests/official}",
)
_SERVED: Final = "fastapi-uvicorn-standard"
_THROUGHPUT: Final = (
    "FastAPI under uvicorn\\[standard\\]: throughput kept",
    f"{{{_SERVED}/ours}}, or {{{_SERVED}/ours, 10 %}} with one of ten traces sampled",
    f"{{{_SERVED}/official}}",
)

PAGES: Final[Mapping[str, Sequence[tuple[str, str, str]]]] = {
    "README.md": (_FASTAPI, _UNSAMPLED, _FLASK, _CLIENTS, _THROUGHPUT),
    "docs/how-it-is-fast.md": (
        _FASTAPI,
        (
            "a request to an ASGI application",
            "{asgi/ours}",
            "{asgi/official, one span} with one span, {asgi/official} by default",
        ),
        (
            "the same, called by a traced service",
            "{asgi-traceparent/ours}",
            "{asgi-traceparent/official, one span}, {asgi-traceparent/official}",
        ),
        _UNSAMPLED,
        (
            "the same with `keep_errors=False`",
            "{asgi-unrecorded/ours}",
            "{asgi-unrecorded/official, one span}",
        ),
        (
            "a request to a Starlette application",
            "{asgi-starlette/ours}",
            "{asgi-starlette/Starlette's own} (Starlette's own middleware)",
        ),
        ("a request to a WSGI application", "{wsgi/ours}", "{wsgi/official}"),
        _FLASK,
        _CLIENTS,
        _THROUGHPUT,
        (
            f"the same: 99th percentile, of {{{_SERVED}/untraced/p99 ms}} without tracing",
            f"{{{_SERVED}/ours/p99 ms}}",
            f"{{{_SERVED}/official/p99 ms}}",
        ),
    ),
}
"""The tables, page by page: what is measured, what ours came to, and what others came to."""


class Figures(Formatter):
    """Puts figures into the cells of a table.

    Args:
        rows: The rows of `figures.json`.
    """

    def __init__(self, rows: Mapping[str, Any]) -> None:
        self._rows = rows
        self.used: set[str] = set()
        """The rows that figures were asked of."""

    def get_field(self, field_name: str, args: Any, kwargs: Any) -> tuple[str, str]:
        """Return the figure of a field, with its unit."""
        del args, kwargs
        name, contestant, *note = field_name.split("/")
        self.used.add(name)
        row = self._rows[name]
        figures = row["contestants"][contestant]
        if note:
            return f"{figures[note[0]]:.0f} {note[0].split()[-1]}", field_name
        median = figures["median"]
        return f"{median:.0%}".replace("%", " %") if row[
            "unit"
        ] == "kept" else f"{median:.0f} {row['unit']}", field_name

    def table(self, page: str) -> str:
        """Return the table of a page in Markdown, with the versions that it holds for."""
        lines = [_HEADER, ("---",) * 3, *(tuple(self.format(cell) for cell in line) for line in PAGES[page])]
        table = "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)
        versions = [self._rows[name]["versions"] for name in self.used]
        told = " and ".join(
            f"{name} {_either(minor(each[package]) for each in versions)}"
            for name, package in (("Python", "python"), ("OpenTelemetry", "opentelemetry-sdk"))
        )
        own = _either(each["tracemw"] for each in versions)
        return f"{table}\n\nMedians of `make bench` for tracemw {own}, on a machine with two cores, with {told}.\n"


def minor(version: str) -> str:
    """Return `1.45` of `1.45.1`."""
    return ".".join(version.split(".")[:2])


def _either(versions: Iterable[str]) -> str:
    return " or ".join(sorted(set(versions)))


def read() -> dict[str, Any]:
    """Return the rows of `figures.json`."""
    rows: dict[str, Any] = json.loads(FILE.read_text())["rows"]
    return rows


def with_table(page: str, figures: Figures) -> str:
    """Return the text of a page with its table made of these figures."""
    text = (ROOT / page).read_text()
    return _BLOCK.sub(lambda found: f"{found[1]}{figures.table(page)}{found[2]}", text)


def keep(document: Mapping[str, Any]) -> None:
    """Take the rows of a full run over into `figures.json`, and write the tables of all pages anew.

    Args:
        document: What `report.save` has written.
    """
    rows = read()
    versions = {"python": document["python"], **document["versions"]}
    kept = ("tracemw", "python", "opentelemetry-sdk", "fastapi")
    for name, row in document["rows"].items():
        rows[name] = {
            "versions": {package: versions[package] for package in kept},
            "unit": "kept" if row["row"]["base"] == "divide" else row["row"]["unit"],
            "contestants": {
                line["name"]: {
                    key: round(value, 3) for key, value in {"median": line["median"], **line["notes"]}.items()
                }
                for line in row["lines"]
            },
        }
    FILE.write_text(json.dumps({"rows": rows}, indent=1, sort_keys=True) + "\n")
    for page in PAGES:
        (ROOT / page).write_text(with_table(page, Figures(rows)))

"""The documentation builds without warnings, its links lead somewhere, and the reference leaves nothing out."""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urldefrag, urlsplit

import pytest

import tracemw
from docs.pages import ROOT
from servers import wait_until
from settings_reference import help_of, variables_read
from tracemw.cli import COMMANDS, make_parser
from tracemw.config import OWN_VARIABLES
from tracemw.sampling import Rule, Sampling


class Page(HTMLParser):
    """The anchors, links and text of a page that was built."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.text = file.read_text()
        self.feed(self.text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            if name in ("href", "src") and value:
                self.links.append(value)


class Built(NamedTuple):
    pages: dict[str, Page]
    """Every page, by its path."""
    said: str
    """The warnings."""


@pytest.fixture(scope="session")
def documentation(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The documentation, which processes of tests that run side by side build once."""
    of_all = tmp_path_factory.getbasetemp()
    shared = (of_all.parent if "PYTEST_XDIST_WORKER" in os.environ else of_all) / "built-docs"
    ended = shared.with_suffix(".ended")
    try:
        shared.mkdir()
    except FileExistsError:
        wait_until(ended.exists, timeout=120)
    else:
        command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "docs", str(shared)]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        ended.write_text(said.stderr)
    return Built(
        {file.relative_to(shared).as_posix(): Page(file) for file in shared.rglob("*.html")}, ended.read_text()
    )


@pytest.fixture(scope="session")
def built(documentation: Built) -> dict[str, Page]:
    """Every page of the documentation, by its path."""
    return documentation.pages


def test_the_documentation_builds_without_a_warning(documentation: Built) -> None:
    assert documentation.said == ""


def test_every_link_within_leads_to_a_page_and_an_anchor(built: dict[str, Page]) -> None:
    wrong = []
    for name, page in built.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc or parts.path.startswith("_static") or "/_static/" in parts.path:
                continue
            path, anchor = urldefrag(link)
            target = (Path("/") / name).parent.joinpath(unquote(path)).resolve() if path else Path("/") / name
            found = built.get(str(target)[1:])
            is_file = found is None and target.suffix != ".html"
            if not is_file and (found is None or (anchor and anchor not in found.ids)):
                wrong.append(f"{name}: {link}")
    assert wrong == []


@pytest.fixture(scope="session")
def ids(built: dict[str, Page]) -> set[str]:
    """Every anchor of the reference."""
    return {each for name, page in built.items() if name.startswith("reference/") for each in page.ids}


def test_everything_that_the_package_exports_is_in_the_reference(ids: set[str]) -> None:
    names = {f"tracemw.{name}" for name in tracemw.__all__ if name != "__version__"}
    assert names - ids == set()


def test_every_argument_of_init_is_in_the_reference(built: dict[str, Page]) -> None:
    text = built["reference/setting-up.html"].text
    arguments = inspect.signature(tracemw.init).parameters
    assert [name for name in arguments if f"<strong>{name}</strong>" not in text] == []


def public(module: Any) -> Iterator[str]:
    """What a door has for its users; what other doors ask of it is not called after traces."""
    for name, value in vars(module).items():
        is_made_here = getattr(value, "__module__", None) == module.__name__
        if (
            is_made_here
            and re.match("(Async)?Trace|trace_", name)
            and (inspect.isclass(value) or inspect.isfunction(value))
        ):
            yield name


@pytest.mark.parametrize("door", tracemw._DOORS)
def test_everything_public_of_a_door_is_in_the_reference(door: str, ids: set[str]) -> None:
    names = {f"tracemw.{door}.{name}" for name in public(getattr(tracemw, door))}
    assert names
    assert names - ids == set()


@pytest.mark.parametrize(
    "door", [door for door in tracemw._DOORS if hasattr(getattr(tracemw, door), "TraceMiddleware")]
)
def test_every_option_of_a_server_door_is_in_the_reference(door: str, ids: set[str], built: dict[str, Page]) -> None:
    options = set(inspect.signature(getattr(tracemw, door).TraceMiddleware).parameters) - {"app"}
    assert {name for name in options if f"tracemw.ServerOptions.{name}" not in ids} == set()
    section = built["reference/server-doors.html"].text.partition(f'id="tracemw.{door}.TraceMiddleware"')[2]
    assert "#tracemw.ServerOptions" in section.partition("</dl>")[0] + section.partition("</dd></dl>")[0]


def test_every_option_of_a_client_door_is_in_the_reference(ids: set[str]) -> None:
    assert {
        name for name in tracemw.ClientOptions.__annotations__ if f"tracemw.ClientOptions.{name}" not in ids
    } == set()


@pytest.mark.parametrize("kind", [Sampling, Rule, tracemw.Stats, tracemw.RequestFacts])
def test_every_field_of_what_users_hold_is_in_the_reference(kind: type, ids: set[str]) -> None:
    home = "tracemw.sampling" if kind in (Sampling, Rule) else "tracemw"
    assert {f"{home}.{kind.__name__}.{name}" for name in kind.__annotations__} - ids == set()


def test_every_method_of_tracing_is_in_the_reference(ids: set[str]) -> None:
    names = {f"tracemw.Tracing.{name}" for name in vars(tracemw.Tracing) if not name.startswith("_")}
    assert names - ids == set()


def variables_named() -> set[str]:
    """The variables of OpenTelemetry and of ours that the source has as a string of their own."""
    found: set[str] = set()
    for path in (ROOT / "src" / "tracemw").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"\A(?:OTEL|TRACEMW)_[A-Z_]*[A-Z]\Z", node.value))
    return found - {"OTEL_PYTHON_TRACER_PROVIDER"}  # of OpenTelemetry's API, which sees to it


def test_every_environment_variable_is_in_the_reference(ids: set[str]) -> None:
    variables = variables_read() | variables_named()
    assert len(variables) > 50
    assert {name for name in variables if f"envvar-{name}" not in ids} == set()
    assert {name for name in variables if name.startswith("TRACEMW_")} == OWN_VARIABLES


@pytest.mark.parametrize("command", [command.name for command in COMMANDS])
def test_every_command_is_in_the_reference_with_all_of_its_options(command: str, built: dict[str, Page]) -> None:
    page = built["reference/commands.html"]
    assert f"tracemw-{command}" in page.ids
    section = page.text.partition(f'id="tracemw-{command}"')[2].partition("<section")[0]
    options = re.findall(r"^  (-[-\w, ]*[-\w])", help_of(command), re.MULTILINE)
    assert options
    shown = re.sub("<[^>]+>", "", section)
    assert [option for option in options if option not in shown] == []


def test_help_of_a_command_is_what_the_parser_knows() -> None:
    assert {command.name for command in COMMANDS} == set(
        re.findall(r"^    (\w+) ", make_parser().format_help(), re.MULTILINE)
    )

"""Reference pages made of the settings themselves: options, environment variables, commands. Nothing is typed twice.

* `environment-variables`: every variable that is read, as the docstrings of arguments and fields tell of it
* `command-help`: what a command of `tracemw` says with `--help`
* options of doors: autodoc shows them, and this module adds their types and defaults
* `code-or-link`: the role of single backticks in docstrings
"""

from __future__ import annotations

import contextlib
import io
import os
import re
from collections.abc import Iterator, Mapping
from functools import partial
from importlib import import_module
from inspect import cleandoc, signature
from typing import Any, Final, get_type_hints
from unittest import mock

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config as NapoleonConfig
from sphinx.ext.napoleon.docstring import GoogleDocstring
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.typing import ExtensionMetadata, stringify_annotation

import tracemw
from tracemw import cli
from tracemw._http.client import ClientTracing
from tracemw._http.settings import ServerSettings
from tracemw.config import Arguments, Config, control_file, ignored_files, known_methods, unknown_propagators

OPTIONS: Final[Mapping[type, Any]] = {tracemw.ServerOptions: ServerSettings, tracemw.ClientOptions: ClientTracing}
"""The types that tell of options, and who knows their defaults."""

_DOCUMENTED_IN: Final = ("config.configuration", "config.backend", "config.tls", "config.methods")
"""Modules whose fields and constants tell of variables."""

_ONE_OF: Final = re.compile(r"One of `([A-Z]+)`")
_ARGUMENT: Final = re.compile(r"^ {4}(\*{0,2}\w+): ", re.MULTILINE)
_SECTIONS: Final[Any] = NapoleonConfig(napoleon_attr_annotations=False, napoleon_use_rtype=False)
_NO_SETTINGS: Final = {"OTEL_PROPAGATORS", "REQUEST_METHOD", "SSLKEYLOGFILE"}
"""What is asked for and is no setting of ours: OpenTelemetry's API obeys the first, CGI servers set the second, and
Python's `ssl` reads the last."""


class Recording(dict[str, str]):
    """An environment that notes which variables somebody asks for."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self.asked: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """Note the name, and return its value."""
        self.asked.add(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self.asked.add(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self.asked.add(str(name))
        return super().__contains__(name)


def variables_read() -> set[str]:
    """Return every environment variable that the configuration asks for, whichever way it takes."""
    asked: set[str] = set()
    ways: list[dict[str, str]] = [
        {},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_ENDPOINT": "tempo:4317"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://tempo:4318"},
    ]
    for way in ways:
        environment = Recording(way)
        with mock.patch.object(os, "environ", environment):
            Config.resolve(Arguments(metrics=True))
            control_file()
            ignored_files()
            known_methods()
            unknown_propagators()
        asked |= environment.asked
    upper = {name.upper() for name in asked}
    return upper - _NO_SETTINGS


def arguments_of(function: Any) -> dict[str, str]:
    """Return what a docstring says of each argument or attribute."""
    told = cleandoc(function.__doc__ or "")
    section = re.search(r"^(?:Args|Attributes):\n(.*?)(?=^\S|\Z)", told, re.MULTILINE | re.DOTALL)
    pieces = _ARGUMENT.split(section[1])[1:] if section else []
    return {name: " ".join(text.split()) for name, text in zip(pieces[::2], pieces[1::2], strict=True)}


def _texts() -> Iterator[tuple[str, str]]:
    """What may tell of a variable: where it stands, and its text. Arguments of `init` come first."""
    for name, text in arguments_of(tracemw.init).items():
        yield f"The argument ``{name}`` of :func:`tracemw.init`. ", text
    for name in _DOCUMENTED_IN:
        module = import_module(f"tracemw.{name}")
        for lines in ModuleAnalyzer.for_module(module.__name__).find_attr_docs().values():
            yield "", _ONE_OF.sub(partial(_listed, module), " ".join(" ".join(lines).split()))


def _listed(module: object, found: re.Match[str]) -> str:
    """Return the values that a constant holds, in place of its name."""
    *others, last = (f"`{value}`" for value in getattr(module, found[1]))
    return f"{', '.join(others)} or {last}"


def variables_told() -> dict[str, list[str]]:
    """Return each variable that is read with its texts; those of one signal stand with the one of all signals.

    Raises:
        LookupError: when no docstring tells of a variable.
    """
    texts = list(_texts())
    told: dict[str, list[str]] = {}
    for name in sorted(variables_read()):
        general = re.sub("^(OTEL_EXPORTER_OTLP_)(TRACES|METRICS)_", r"\1", name)
        found = [f"{where}{text}" for where, text in texts if re.search(rf"`{name}(=[^`]*)?`", text)]
        if not found and general == name:
            raise LookupError(f"no docstring of tracemw.init or of a field in tracemw.config tells of {name}")
        told[name] = found
    return told


class EnvironmentVariables(SphinxDirective):
    """The variables whose names begin with the argument: `OTEL_EXPORTER_OTLP_`, `OTEL_`, `TRACEMW_`, or `plain`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return a description of each variable; those of one signal stand with the one of all signals."""
        try:
            told = variables_told()
        except LookupError as error:
            raise self.error(str(error)) from None
        lines: list[str] = []
        for name, texts in told.items():
            if not texts or _group(name) != self.arguments[0]:
                continue
            of_signals = [name.replace("OTLP_", f"OTLP_{signal}_") for signal in ("TRACES", "METRICS")]
            names = [name, *(each for each in of_signals if told.get(each) == [])]
            lines += [f".. envvar:: {names[0]}", *(f"            {each}" for each in names[1:]), ""]
            for text in texts:
                lines += [f"   {text}", ""]
        return self.parse_text_to_nodes("\n".join(lines))


def _group(name: str) -> str:
    prefixes = ("OTEL_EXPORTER_OTLP_", "OTEL_", "TRACEMW_")
    return next((prefix for prefix in prefixes if name.startswith(prefix)), "plain")


class CommandHelp(SphinxDirective):
    """What a command says with `--help`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """Return the help as it is printed."""
        text = help_of(self.arguments[0])
        return [nodes.literal_block(text, text, language="text")]


def help_of(*command: str) -> str:
    """Return what `tracemw COMMAND --help` prints, 90 columns wide and without colours."""
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, {"COLUMNS": "90", "NO_COLOR": "1"}),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        cli.main([*command, "--help"])
    return printed.getvalue()


class CodeOrLink(SphinxRole):
    """Code, and a link when it names something that these pages describe."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """Return the code, which becomes a link later."""
        code = nodes.literal(self.rawtext, self.text, classes=["code"])
        if not re.fullmatch(r"[A-Za-z_][\w.]*(\(\))?", self.text):
            return [code], []
        target = self.text.removesuffix("()")
        domain, kind = ("std", "envvar") if target.isupper() else ("py", "obj")
        link = pending_xref(
            "", code, refdomain=domain, reftype=kind, reftarget=target, refdoc=self.env.current_document.docname
        )
        link["py:module"] = self.env.ref_context.get("py:module")
        link["py:class"] = self.env.ref_context.get("py:class")
        link["refwarn"] = False
        return [link], []


def _unlinked(app: Sphinx, env: Any, node: pending_xref, content: nodes.TextElement) -> nodes.TextElement | None:
    """Leave code that names nothing here as code."""
    del app, env
    is_ours = node.get("refwarn") is False
    return content if is_ours else None


def _prepare(app: Sphinx, what: Any, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Make reStructuredText of a docstring's sections, with types and defaults of the options of doors."""
    if what in ("attribute", "property"):
        return  # napoleon would take what stands before a colon for a type
    if obj in OPTIONS:
        _add_types(obj, lines)
    elif name.endswith(".TraceMiddleware"):
        _refer_to_options(lines)
    lines[:] = GoogleDocstring(lines, _SECTIONS, app, what, name, obj, options).lines()


def _add_types(obj: type, lines: list[str]) -> None:
    defaults = signature(OPTIONS[obj]).parameters
    types = get_type_hints(obj)
    for index in reversed(range(len(lines))):
        found = _ARGUMENT.match(lines[index])
        if found and found[1] in types:
            shown = re.sub(r"(\w+\.)+", "", stringify_annotation(types[found[1]]))
            told = f"``{shown}``, by default ``{defaults[found[1]].default!r}``"
            lines[index : index + 1] = [f"    {found[1]}: {told}", "", f"        {lines[index][found.end() :]}"]


def _refer_to_options(lines: list[str]) -> None:
    shared = set(arguments_of(tracemw.ServerOptions))
    kept: list[str] = []
    skipping = False
    for line in lines:
        found = _ARGUMENT.match(line)
        if found:
            if found[1] in shared and not skipping:
                kept.append("    **options: The options that :class:`tracemw.ServerOptions` describes.")
            skipping = found[1] in shared
        elif not line.startswith("     "):
            skipping = False
        if not skipping:
            kept.append(line)
    lines[:] = kept


def _shorten_signature(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, _: str | None, returns: str | None
) -> tuple[str | None, str | None] | None:
    del app, what, options
    if not name.endswith(".TraceMiddleware") or not isinstance(obj, type):
        return None
    shared = set(arguments_of(tracemw.ServerOptions))
    init: Any = obj.__init__  # type: ignore[misc]
    own = [str(each.name) for each in signature(init).parameters.values() if each.name not in {"self", *shared}]
    return f"({', '.join([*own, '**options'])})", returns


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register all of it."""
    app.add_directive("environment-variables", EnvironmentVariables)
    app.add_directive("command-help", CommandHelp)
    app.add_role("code-or-link", CodeOrLink())
    app.connect("autodoc-process-docstring", _prepare)
    app.connect("autodoc-process-signature", _shorten_signature)
    app.connect("missing-reference", _unlinked)
    return {"version": tracemw.__version__, "parallel_read_safe": True, "parallel_write_safe": True}

"""Clients for outbound calls that hand no trace on. `TMW302`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final

from tracemw.lint.codes import Spot
from tracemw.lint.doors import CLIENT_DOORS, INSTRUMENTORS, instrumentation_remedy
from tracemw.lint.source import SourceModule, own_nodes

_MADE: Final = {
    "httpx.Client": "httpx.Client(...)",
    "httpx.AsyncClient": "httpx.AsyncClient(...)",
    "httpx2.Client": "httpx2.Client(...)",
    "httpx2.AsyncClient": "httpx2.AsyncClient(...)",
    "requests.Session": "requests.Session()",
    "requests.session": "requests.Session()",
    "requests.sessions.Session": "requests.Session()",
    "urllib3.PoolManager": "urllib3.PoolManager()",
    "urllib3.ProxyManager": "urllib3.ProxyManager(...)",
}
_REMEDIES: Final = {
    **{name: f"wrap it: {CLIENT_DOORS[name.partition('.')[0]]}({call})" for name, call in _MADE.items()},
    "aiohttp.ClientSession": instrumentation_remedy("aiohttp"),
}
_VERBS: Final = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "request", "stream"})
_AT_ONCE: Final = {
    library: f"wrap it: {CLIENT_DOORS[library]}({call}) once, and call by it"
    for library, call in (
        ("httpx", "httpx.Client()"),
        ("httpx2", "httpx2.Client()"),
        ("requests", "requests.Session()"),
    )
}
_TRACERS: Final = ("trace_client", "trace_session", "trace_pool_manager")
_TRANSPORTS: Final = ("TraceTransport", "AsyncTraceTransport")
_INSTRUMENTORS: Final = "opentelemetry.instrumentation."
_FOR_TESTS: Final = ("ASGITransport", "WSGITransport", "MockTransport")


class ClientRules:
    """The rule about clients.

    Args:
        instrumented: The libraries that some module of the service instruments, and so all their clients.
    """

    def __init__(self, instrumented: frozenset[str]) -> None:
        self._instrumented = instrumented

    def __call__(self, source: SourceModule) -> Iterator[Spot]:
        """Find clients that are made, and not handed to a door in the same module."""
        if not source.uses("httpx", "httpx2", "requests", "urllib3", "aiohttp"):
            return
        traced = _names_traced(source)
        for call in source.calls:
            name = source.name(call.func)
            library, _, last = name.rpartition(".")
            if not source.is_imported(call.func) or name.partition(".")[0] in self._instrumented:
                continue
            if name in _REMEDIES and not _is_traced(call, source, traced):
                yield Spot(call.lineno, call.col_offset, "TMW302", f"{name}()", _REMEDIES[name])
            elif library in _AT_ONCE and last in _VERBS:
                yield Spot(call.lineno, call.col_offset, "TMW302", f"{name}()", _AT_ONCE[library])


def instrumented_by(source: SourceModule) -> frozenset[str]:
    """Return the libraries whose instrumentation a module turns on: the official one, or that of Logfire."""
    names = {name.rpartition(".")[2] for name in source.imports.values() if name.startswith(_INSTRUMENTORS)}
    found = {library for library, instrumentor in INSTRUMENTORS.items() if instrumentor in names}
    for call in source.calls:
        name = source.name(call.func)
        found |= {library for library in INSTRUMENTORS if name.startswith(f"logfire.instrument_{library}")}
        if name == "tracemw.init":
            for keyword in call.keywords:
                if keyword.arg == "instrument":
                    told = ast.unparse(keyword.value)
                    found |= {library for library in INSTRUMENTORS if library in told or "auto" in told}
    return frozenset(found)


def _names_traced(source: SourceModule) -> frozenset[str]:
    """Return what the module hands to a door: `session`, `self.client`, and `fetch.client` for a local variable."""
    return frozenset(
        source.variable(call.args[0])
        for call in source.calls
        if source.name(call.func).rpartition(".")[2] in _TRACERS and call.args
    )


def _is_traced(call: ast.Call, source: SourceModule, traced: frozenset[str]) -> bool:
    for node in ast.walk(call):
        if isinstance(node, ast.Call) and source.name(node.func).rpartition(".")[2] in (*_TRANSPORTS, *_FOR_TESTS):
            return True
    options = [keyword.value for keyword in call.keywords if keyword.arg in (None, "transport", "app")]
    if any(_is_unknown(option, source) for option in options):
        return True
    kept: ast.AST = call
    for outer in source.around(call):
        if isinstance(outer, ast.Call) and source.name(outer.func).rpartition(".")[2] in _TRACERS:
            return True
        if isinstance(outer, ast.Assign):
            return any(source.variable(target) in traced for target in outer.targets)
        if isinstance(outer, ast.AnnAssign | ast.NamedExpr):
            return source.variable(outer.target) in traced
        if isinstance(outer, ast.withitem):
            return outer.optional_vars is not None and _is_traced_within(outer.optional_vars, source)
        if isinstance(outer, ast.stmt):
            return False
        kept = outer
    return kept is call


def _is_traced_within(variable: ast.expr, source: SourceModule) -> bool:
    """Return whether the block of a `with` hands its variable to a door."""
    block = next(outer for outer in source.around(variable) if isinstance(outer, ast.With | ast.AsyncWith))
    return any(
        isinstance(node, ast.Call)
        and source.name(node.func).rpartition(".")[2] in _TRACERS
        and any(ast.unparse(argument) == ast.unparse(variable) for argument in node.args)
        for node in own_nodes(block.body)
    )


def _is_unknown(node: ast.expr, source: SourceModule) -> bool:
    """Return whether a transport, or `**options`, comes from elsewhere: a traced transport may be inside."""
    if isinstance(node, ast.Call):
        return not source.name(node.func).startswith(("httpx.", "httpx2."))
    return not isinstance(node, ast.Constant | ast.Dict)

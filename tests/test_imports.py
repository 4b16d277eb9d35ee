"""Imports go one way, and `import tracemw` stays light."""

from __future__ import annotations

import ast
import itertools
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import tracemw

SOURCE = Path(tracemw.__file__).parent
FRAMEWORKS = {
    *("falcon", "fastapi", "flask", "litestar", "starlette"),
    *("httpx", "httpx2", "requests", "urllib3", "uvicorn", "django", "grpc", "sqlalchemy", "greenlet"),
}
TOOLS = {"checking", "cli", "__main__", "doctor", "erasure", "lint", "mcp", "viewer"}
SDK_ROOMS = {"_setup", "sampling", "_recording", "_export"}
DOORS = {
    *(
        "asgi",
        "falcon",
        "fastapi",
        "flask",
        "httpx",
        "httpx2",
        "litestar",
        "requests",
        "sqlalchemy",
        "starlette",
        "urllib3",
        "wsgi",
    ),
}

# What each room may import of tracemw itself. A room that is not listed here has no business in the tree.
ALLOWED = {
    "__init__": {
        "_http",
        "_recording",
        "_setup",
        "_version",
        "bootstrap",
        "logging",
        "redaction",
        "spans",
        "users",
        *DOORS,
    },
    "__main__": {"cli"},
    "_version": set(),
    "_process": {"_process"},
    "redaction": {"redaction"},
    "_otel": {"_otel", "_process", "_version", "redaction"},
    "config": {"config"},
    "_db": {"_db", "_otel"},
    "_http": {"_http", "_otel", "_process", "_version", "config", "redaction"},
    "asgi": {"asgi", "_http", "_otel"},
    "wsgi": {"wsgi", "_http", "_otel"},
    "starlette": {"starlette", "asgi", "_http", "_otel"},
    "fastapi": {"asgi", "starlette", "_http", "_otel"},
    "flask": {"wsgi", "_http", "_otel"},
    "litestar": {"asgi", "_http", "_otel"},
    "falcon": {"asgi", "wsgi", "_http", "_otel"},
    "_httpx": {"_http", "_httpx", "_otel"},
    "httpx": {"_http", "_httpx"},
    "httpx2": {"_http", "_httpx"},
    "_urllib3": {"_http", "_otel", "_urllib3"},
    "requests": {"_http", "_otel", "_process", "_urllib3"},
    "urllib3": {"_http", "_otel", "_urllib3"},
    "logging": {"_otel", "logging", "redaction"},
    "sqlalchemy": {"_db", "_otel", "_version", "sqlalchemy"},
    "spans": {"_otel"},
    "users": {"_otel", "config", "redaction"},
    "spikes": {"_otel", "_process", "config", "spikes"},
    "sampling": {"_otel", "config", "sampling", "spikes"},
    "_recording": {"_db", "_otel", "_process", "_recording", "redaction", "sampling"},
    "_export": {"_db", "_export", "_otel", "_process", "_version", "config", "redaction"},
    "_watch": {"_otel", "_process", "_watch"},
    "_setup": {
        *(
            "_setup",
            "_otel",
            "_process",
            "_export",
            "_recording",
            "_watch",
            "config",
            "redaction",
            "sampling",
            "spikes",
        ),
    },
    "bootstrap": {"_process", "_setup", "config", "redaction", "sampling"},
    "testing": {"_setup", "analysis", "redaction", "testing"},
    "analysis": {"analysis"},
    "checking": {"_http", "_otel", "_setup", "checking", "lint", "redaction"},
    "cli": {
        *("_process", "_version", "analysis", "checking", "cli", "config", "doctor", "erasure", "lint", "mcp"),
        *("spikes", "viewer"),
    },
    # A doctor reads the settings of an application, and sends a span as the application would.
    "doctor": {
        *(
            "_export",
            "_otel",
            "_process",
            "_recording",
            "_setup",
            "_version",
            "analysis",
            "checking",
            "config",
            "doctor",
        ),
        *("redaction", "sampling"),
    },
    "erasure": {"analysis", "config", "erasure", "redaction"},
    "lint": {"_version", "config", "lint", "redaction"},
    "mcp": {"_version", "analysis", "mcp"},
    "viewer": {"analysis", "viewer"},
}


def modules() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


each_room = pytest.mark.parametrize(
    "paths", [list(paths) for _, paths in itertools.groupby(modules(), room)], ids=lambda paths: room(paths[0])
)


def imported(path: Path) -> Iterator[tuple[str, ...]]:
    """Every module that a file imports, at whichever depth, as its parts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (tuple(name.name.split(".")) for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            module = tuple((node.module or "").split("."))
            yield from ((*module, name.name) for name in node.names) if module == ("tracemw",) else (module,)


@each_room
def test_each_room_imports_only_what_the_design_lets_it(paths: list[Path]) -> None:
    for path in paths:
        own = {parts[1] for parts in imported(path) if parts[0] == "tracemw" and len(parts) > 1}
        own -= {name for name in own if not ((SOURCE / name).is_dir() or (SOURCE / f"{name}.py").is_file())}
        assert own <= ALLOWED[room(path)], path


def test_no_modules_import_one_another_in_a_circle_but_for_types() -> None:
    names = {_name(path): path for path in modules()}
    graph = {name: _needed(name, path) & set(names) for name, path in names.items()}
    tuple(TopologicalSorter(graph).static_order())  # raises a CycleError that names the modules


def _name(path: Path) -> str:
    return ".".join(("tracemw", *path.relative_to(SOURCE).with_suffix("").parts)).removesuffix(".__init__")


def _needed(name: str, path: Path) -> set[str]:
    """The modules that a file imports at run time, at whichever depth."""
    needed, tree = set(), ast.parse(path.read_text())
    checked = [
        node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    for_types = {inner for node in checked for outer in node.body for inner in ast.walk(outer)}
    for node in set(ast.walk(tree)) - for_types:
        if isinstance(node, ast.Import):
            needed |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = SOURCE.parent / (node.module or "").replace(".", "/")
            for each in node.names:
                is_module = (package / each.name).is_dir() or (package / f"{each.name}.py").is_file()
                needed.add(f"{node.module}.{each.name}" if is_module else str(node.module))
    return needed - {name}


def test_no_two_modules_have_the_same_name() -> None:
    names = Counter(path.stem for path in modules() if path.stem != "__init__")
    assert {name for name, count in names.items() if count > 1} == set()


NAMED_ALIKE = {
    "Span": "one is recorded, the other was loaded to be analysed: the field has one word for both",
    "Fold": "an interface, and the class that implements it",
    "ResponseHeaders": "one for each gateway interface",
    "TraceMiddleware": "one for each framework",
    "TraceTransport": "one for each version of httpx",
    "AsyncTraceTransport": "one for each version of httpx",
}


def test_a_name_stands_for_one_class_in_the_whole_tree() -> None:
    named = Counter(
        each.name
        for path in SOURCE.rglob("*.py")
        for each in ast.parse(path.read_text()).body
        if isinstance(each, ast.ClassDef) and not each.name.startswith("_")
    )
    assert {name for name, count in named.items() if count > 1} == set(NAMED_ALIKE)


@each_room
def test_only_the_rooms_behind_init_import_the_sdk(paths: list[Path]) -> None:
    for path in paths:
        uses_sdk = any(
            parts[:2] in (("opentelemetry", "sdk"), ("opentelemetry", "exporter")) for parts in imported(path)
        )
        assert not uses_sdk or room(path) in SDK_ROOMS, path


@each_room
def test_a_framework_is_imported_only_by_its_own_door_and_by_the_viewer(paths: list[Path]) -> None:
    for path in paths:
        allowed = {
            "starlette": {"starlette"},
            "fastapi": {"fastapi", "starlette"},
            "flask": {"flask"},
            "litestar": {"litestar"},
            "falcon": {"falcon"},
            "httpx": {"httpx"},
            "httpx2": {"httpx2"},
            "_urllib3": {"urllib3"},
            "requests": {"requests"},
            "urllib3": {"urllib3"},
            "sqlalchemy": {"sqlalchemy"},
            "_export": {"grpc"},
            "erasure": {"grpc"},
            "viewer": {"starlette", "uvicorn"},
        }.get(room(path), set())
        assert {parts[0] for parts in imported(path)} & FRAMEWORKS <= allowed, path


# Private names of other people's packages, each in the one module of its room that touches it.
PRIVATE = {
    "_otel/context.py": {
        "_RUNTIME_CONTEXT",
        "_SPAN_KEY",
        "_SUPPRESS_HTTP_INSTRUMENTATION_KEY",
        "_SUPPRESS_INSTRUMENTATION_KEY",
        "_current_context",
    },
    "_otel/callers.py": {"_getframe"},
    "_otel/providers.py": {"_METER_PROVIDER", "_TRACER_PROVIDER", "_active_span_processor", "_span_processors"},
    "_http/baggage.py": {"_BAGGAGE_KEY"},
    "_process/interpreter.py": {"_is_gil_enabled"},
    "_http/metrics.py": {"_METER_PROVIDER", "_internal"},
    "_http/propagation.py": {"_propagators"},
    "_export/delivery.py": {"_context"},
    "_export/encoding/memo.py": {"_dict"},
    "_export/encoding/span_encoder.py": {
        "_attributes",
        "_context",
        "_dq",
        "_end_time",
        "_events",
        "_instrumentation_scope",
        "_kind",
        "_links",
        "_name",
        "_parent",
        "_resource",
        "_start_time",
        "_status",
        "_value_",
    },
    "_recording/flight_recorder.py": {"_start_time"},
    "_recording/folds.py": {
        "_attributes",
        "_end_time",
        "_events",
        "_first",
        "_kind",
        "_links",
        "_most",
        "_name",
        "_start_time",
        "_status",
        "_tracer",
    },
    "_recording/held_span.py": {
        "_context",
        "_events",
        "_kind",
        "_links",
        "_most",
        "_name",
        "_open",
        "_start_time",
        "_status",
        "_tracer",
    },
    "_recording/provider.py": {
        "_active_span_processor",
        "_instrumentation_scope",
        "_resource",
        "_tracers",
        "_tracers_lock",
    },
    "_recording/span.py": {"_Span", "_lock", "_readable_span", "_resource"},
    "_recording/bounds.py": {
        "_decision",
        "_local_parent_not_sampled",
        "_local_parent_sampled",
        "_remote_parent_not_sampled",
        "_remote_parent_sampled",
        "_root",
    },
    "_recording/current_span.py": {"_SPAN_KEY"},
    "_recording/limits.py": {"_dict", "_lock", "_setitem_locked"},
    "_recording/swallowed_events.py": {"_events", "_limits"},
    "_recording/tracer.py": {
        "_SPAN_KEY",
        "_new_links",
        "_span_limits",
        "_tracer_config",
        "_tracer_metrics",
    },
    "_recording/showing.py": {"_end_time", "_on_ending", "_plain", "_readable_span", "_tracer"},
    "_watch/stacks.py": {"_current_frames"},
    "_watch/thread_pool.py": {"_threads_queues", "_wait_queue"},
    "logging/_kept_logs.py": {"_getframe"},
    "checking/check_application.py": {"_exit"},
    "doctor/examine_application.py": {"_exit"},
    "asgi/__init__.py": {"_get_running_loop"},
    "_httpx/clients.py": {"_mounts", "_transport"},
    "_httpx/transports.py": {"_encoding", "_list"},
    "requests.py": {"_content"},
    "sqlalchemy/_calls.py": {"_allow_autobegin"},
    "sqlalchemy/_pool.py": {"_connection_record"},
    "sqlalchemy/_pool_metrics.py": {"_max_overflow"},
    "falcon.py": {"_error_handlers"},
    "fastapi.py": {
        "_REQUEST_TELEMETRY_KEY",
        "_RequestTelemetry",
        "_exception",
        "_exceptions",
        "_logs",
        "_mount_prefix",
        "_telemetry",
    },
}


@each_room
def test_private_names_of_others_are_touched_in_the_modules_listed_here_only(paths: list[Path]) -> None:
    for path in paths:
        listed = PRIVATE.get(str(path.relative_to(SOURCE)), set())
        nodes = list(ast.walk(ast.parse(path.read_text())))
        defined = set(map(_defined, nodes)) - listed
        assert {
            name for node in nodes for name in _foreign(node) if name.startswith("_") and not name.startswith("__")
        } - defined == listed, path


def _foreign(node: ast.AST) -> list[str]:
    """The names that a node takes from another object: an attribute, `getattr` with a constant, or imports."""
    if isinstance(node, ast.Attribute):
        return [] if node.attr in ("_make", "_replace") else [node.attr]  # public methods of named tuples
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and isinstance(node.args[1], ast.Constant):
        return [str(node.args[1].value)]
    if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("tracemw"):
        return [name.name for name in node.names]
    return []


def _defined(node: ast.AST) -> str:
    """The name that a node gives to something of the module's own."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return node.name
    if isinstance(node, (ast.Attribute, ast.Name)) and isinstance(node.ctx, ast.Store):
        return node.attr if isinstance(node, ast.Attribute) else node.id
    return ""


def test_importing_tracemw_loads_no_framework_no_sdk_and_not_what_only_metrics_need() -> None:
    code = (
        "import tracemw, sys; print([m for m in sys.modules if m.split('.')[0] in "
        f"{sorted(FRAMEWORKS)!r} or m.startswith(('opentelemetry.sdk', 'opentelemetry.metrics', 'tracemw._http'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


def test_init_loads_only_what_its_protocol_needs() -> None:
    code = f"import tracemw, sys; tracemw.init('shop'); print([m for m in {sorted(FRAMEWORKS)!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("name", tracemw.__all__)
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(tracemw, name) is not None
    assert name in dir(tracemw)


def test_type_checkers_are_shown_the_names_that_come_late_and_no_others() -> None:
    (shown,) = (
        node
        for node in ast.parse((SOURCE / "__init__.py").read_text()).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    names = {name.name for node in shown.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert names == {*tracemw._MODULES, *tracemw._HOMES}


def test_a_door_needs_no_import_of_its_own() -> None:
    code = "import tracemw; print(tracemw.fastapi.TraceMiddleware.__module__, tracemw.httpx.TraceTransport.__module__)"
    pytest.importorskip("fastapi", reason="FastAPI is not among the packages under test")
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "tracemw.fastapi tracemw.httpx\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'tracemw' has no attribute 'start'"):
        _ = tracemw.start  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("door", "package", "extra"),
    [
        ("starlette", "starlette", "starlette"),
        ("fastapi", "fastapi", "fastapi"),
        ("flask", "flask", "flask"),
        ("litestar", "litestar", "litestar"),
        ("falcon", "falcon", "falcon"),
        ("httpx", "httpx", "httpx"),
        ("httpx2", "httpx2", "httpx2"),
        ("requests", "requests", "requests"),
        ("urllib3", "urllib3", "urllib3"),
        ("sqlalchemy", "sqlalchemy", "sqlalchemy"),
    ],
)
def test_a_door_without_its_framework_names_the_extra_to_install(door: str, package: str, extra: str) -> None:
    code = f"import sys; sys.modules[{package!r}] = None\nimport tracemw.{door}"
    failed = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert failed.returncode == 1
    assert f"ImportError: tracemw.{door} needs" in failed.stderr
    assert f"pip install 'tracemw[{extra}]'" in failed.stderr

"""`opentelemetry-instrument` starts tracemw without a line of code, and leaves other distributions alone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend import Backend, backend_serving
from servers import free_port, process, wait_until

INSTRUMENT = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
SCRIPT = (
    "import sys, tracemw\n"
    "from opentelemetry import trace\n"
    "if 'init' in sys.argv: print(repr(tracemw.init('mine', sampling=1.0)))\n"
    "print(type(trace.get_tracer_provider()).__module__)\n"
    "try:\n"
    "    with tracemw.span('failing'): raise ValueError\n"
    "except ValueError: pass\n"
)


@pytest.fixture
def backend() -> Iterator[Backend]:
    with backend_serving() as serving:
        yield serving


def instrumented(
    folder: Path, backend: Backend, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the script by `opentelemetry-instrument`."""
    (folder / "script.py").write_text(SCRIPT)
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url,
        "OTEL_SERVICE_NAME": "named",
        "PYTHONPATH": str(folder),
        **environment,
    }
    with process("-c", INSTRUMENT, sys.executable, "script.py", *arguments, env=environment, cwd=folder) as running:
        output, _ = running.communicate(timeout=60)
    return subprocess.CompletedProcess(arguments, running.returncode, output)


def test_the_recorder_and_kept_errors_come_without_code(backend: Backend, tmp_path: Path) -> None:
    ended = instrumented(tmp_path, backend, OTEL_TRACES_SAMPLER_ARG="0")
    assert (ended.returncode, ended.stdout) == (0, "tracemw._recording.provider\n")
    (span,) = backend.spans
    assert "tracemw.kept" in {pair.key for pair in span.attributes}
    assert backend.resource["service.name"] == "named"


def test_an_init_that_follows_puts_its_own_settings_in_place(backend: Backend, tmp_path: Path) -> None:
    ended = instrumented(tmp_path, backend, "init", OTEL_TRACES_SAMPLER_ARG="0")
    assert ended.returncode == 0
    assert "service mine" in ended.stdout
    (span,) = backend.spans
    assert "tracemw.kept" not in {pair.key for pair in span.attributes}
    assert backend.resource["service.name"] == "mine"


def test_an_application_s_requests_are_traced_without_code(backend: Backend, tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(
        "from tracemw.asgi import TraceMiddleware\n"
        "async def app(scope, receive, send):\n"
        "    if scope['type'] != 'http': return\n"
        "    await send({'type': 'http.response.start', 'status': 200, 'headers': []})\n"
        "    await send({'type': 'http.response.body', 'body': b'ok'})\n"
        "app = TraceMiddleware(app)\n"
    )
    port = free_port()
    server = ("uvicorn", "app:app", "--port", str(port), "--lifespan", "off")
    environment = {"OTEL_EXPORTER_OTLP_ENDPOINT": backend.url, "OTEL_SERVICE_NAME": "named"}
    with process("-c", INSTRUMENT, sys.executable, "-m", *server, env=environment, cwd=tmp_path) as running:
        wait_until(lambda: answered(port))
        wait_until(lambda: backend.names)
        running.terminate()
        running.wait(60)
    assert set(backend.names) == {"GET"}


def answered(port: int) -> bool:
    import urllib.request

    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/items", timeout=60) as response:
            return int(response.status) == 200
    except OSError:
        return False


def other_distribution(folder: Path) -> None:
    """Install another distribution of OpenTelemetry in `folder`, which sets up the SDK."""
    (folder / "another-1.0.dist-info").mkdir()
    (folder / "another-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (folder / "another-1.0.dist-info" / "entry_points.txt").write_text(
        "[opentelemetry_distro]\nanother = another:Distro\n"
        "[opentelemetry_configurator]\nanother = another:Configurator\n"
    )
    (folder / "another.py").write_text(
        "from opentelemetry import trace\n"
        "from opentelemetry.instrumentation.distro import BaseDistro\n"
        "class Distro(BaseDistro):\n"
        "    def _configure(self, **_): print('another distro')\n"
        "class Configurator:\n"
        "    def configure(self, **_):\n"
        "        print('another configurator')\n"
        "        from opentelemetry.sdk.trace import TracerProvider\n"
        "        trace.set_tracer_provider(TracerProvider())\n"
    )


def test_another_distribution_goes_first_and_init_leaves_its_provider_with_a_warning(
    backend: Backend, tmp_path: Path
) -> None:
    other_distribution(tmp_path)
    ended = instrumented(tmp_path, backend, "init")
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.count("another distro\n") == ended.stdout.count("another configurator\n") == 1
    assert "opentelemetry.sdk.trace\n" in ended.stdout
    assert "tracemw.init() leaves tracing as it is" in ended.stdout
    assert "OTEL_PYTHON_DISTRO=tracemw" in ended.stdout


def test_beside_another_distribution_this_one_is_chosen_by_name(backend: Backend, tmp_path: Path) -> None:
    other_distribution(tmp_path)
    ended = instrumented(tmp_path, backend, OTEL_PYTHON_DISTRO="tracemw")
    assert ended.returncode == 0, ended.stdout
    assert "another configurator\n" not in ended.stdout
    assert "tracemw._recording.provider\n" in ended.stdout
    assert backend.names == ["failing"]

"""What the doctor says where spans arrive, of settings, and of what surrounds the process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from analysis.commands import run
from backend import backend_serving, grpc_backend_serving
from doctor.examined import Diagnosed, diagnose
from viewer.running import Viewer, viewer
from viewer.samples import SECOND, Spans, span


@pytest.fixture(scope="module")
def running() -> Iterator[Viewer]:
    with viewer() as started:
        yield started


@pytest.fixture
def viewed(running: Viewer, monkeypatch: pytest.MonkeyPatch) -> Viewer:
    """A viewer, to which spans are sent."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.url)
    return running


def source_of(diagnosed: Diagnosed, name: str) -> tuple[str, str]:
    """Return the value and the source of a setting."""
    (found,) = [each for each in diagnosed.document["settings"] if each["name"] == name]
    return found["value"], found["source"]


@pytest.mark.usefixtures("viewed")
def test_all_is_fine_with_a_viewer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENVIRONMENT", "staging")
    diagnosed = diagnose("--strict")
    assert diagnosed.returncode == 0, diagnosed.document
    assert diagnosed.document["status"] == "ok"
    assert [diagnosed.status_of(name) for name in ("endpoint", "port", "canary", "clock", "arrival")] == ["ok"] * 5


@pytest.mark.usefixtures("viewed")
def test_the_lines_for_people_say_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ended = run("doctor")
    assert ended.returncode == 0
    assert ended.stdout.startswith("Spans arrive; no warnings")
    assert "ok      canary: the backend accepts a span" in ended.stdout
    assert "OTEL_EXPORTER_OTLP_ENDPOINT" in ended.stdout


def test_the_canary_is_the_span_of_the_service_and_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    with backend_serving() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
        monkeypatch.setenv("TRACEMW_TENANT", "shop")
        diagnose()
        (span,) = backend.spans
        assert span.name == "tracemw.doctor"
        assert [pair.key for pair in span.attributes] == ["tracemw.doctor.canary"]
        assert backend.resource["service.name"] == "shop"
        assert backend.headers[0]["x-scope-orgid"] == "shop"


def test_a_backend_that_answers_no_queries_is_not_asked_and_the_doctor_says_how_to_tell_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with backend_serving() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        check = diagnose().check("arrival")
    assert check["status"] == "unknown"
    assert "--url" in check["remedy"]


def test_an_arrival_that_nobody_has_seen_is_not_enough_for_strict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with backend_serving() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        diagnosed = diagnose()
        assert (diagnosed.returncode, diagnosed.document["arrived"]) == (0, False)
        strict = run("doctor", "--strict")
    assert strict.returncode == 1
    assert strict.stdout.startswith("Nothing fails, and nobody was asked whether spans arrive; no warnings")


def test_a_span_that_was_accepted_and_is_not_there_fails(running: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    with backend_serving() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        diagnosed = diagnose("--url", running.url, "--timeout", "3s")
    assert diagnosed.failures == ["arrival"]
    assert "has accepted span" in diagnosed.check("arrival")["sentence"]


def test_spans_over_grpc_are_asked_for_at_the_url_given(running: Viewer, monkeypatch: pytest.MonkeyPatch) -> None:
    with grpc_backend_serving() as backend:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", backend.url)
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
        diagnosed = diagnose("--url", running.url, "--timeout", "3s")
    assert diagnosed.status_of("canary") == diagnosed.status_of("clock") == "ok"
    assert diagnosed.failures == ["arrival"]


def test_a_viewer_that_asks_for_its_token_is_asked_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    token = "a-token-of-the-tests"
    monkeypatch.setenv("TRACEMW_VIEWER_TOKEN", token)
    with viewer() as guarded:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", guarded.url)
        refused = diagnose().check("canary")["sentence"]
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", f"Authorization=Bearer%20{token}")
        diagnosed = diagnose()
    assert refused.endswith("have OTEL_EXPORTER_OTLP_HEADERS name the header 'Authorization: Bearer <token>')")
    assert diagnosed.status_of("arrival") == "ok", diagnosed.document
    assert token not in str(diagnosed.document)


# -- Settings, and where they come from.


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("OTEL_SERVICE_NAME", "stock", "service", "stock"),
        ("SERVICE_VERSION", "7", "version", "7"),
        ("ENVIRONMENT", "staging", "environment", "staging"),
        ("TEMPO_ENDPOINT", "http://127.0.0.1:9", "endpoint", "http://127.0.0.1:9/v1/traces"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9", "endpoint", "http://127.0.0.1:9/v1/traces"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9/a", "endpoint", "http://127.0.0.1:9/a"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "protocol", "grpc"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "gzip", "compression", "gzip"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "1500", "timeout", "1.5 s"),
        ("OTEL_TRACES_SAMPLER", "always_on", "sampling", "1 of all requests"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.25", "sampling", "0.25 of new traces"),
        ("TRACEMW_ALLOW", "order.*", "allow", "order.*"),
        ("OTEL_TRACES_EXPORTER", "none", "exporter", "none"),
        ("OTEL_SDK_DISABLED", "true", "disabled", "true"),
        ("TRACEMW_CONTROL_FILE", "/tmp/spikes.json", "control_file", "/tmp/spikes.json"),
    ],
)
def test_a_setting_names_the_variable_that_it_comes_from(
    variable: str, text: str, name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:9")
    if name == "endpoint":
        monkeypatch.delenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    monkeypatch.setenv(variable, text)
    assert source_of(diagnose("--timeout", "1s"), name) == (value, variable)


def test_resource_attributes_and_defaults_are_sources_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=stock,deployment.environment.name=production")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    diagnosed = diagnose("--timeout", "1s")
    assert source_of(diagnosed, "service") == ("stock", "OTEL_RESOURCE_ATTRIBUTES")
    assert source_of(diagnosed, "environment") == ("production", "OTEL_RESOURCE_ATTRIBUTES")
    assert source_of(diagnosed, "sampling") == ("0.1 of new traces", "default in production")
    assert source_of(diagnosed, "version") == ("not set", "default")


def test_a_variable_that_is_not_accepted_fails_with_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "sometimes")
    diagnosed = diagnose()
    assert (diagnosed.failures, diagnosed.returncode) == (["configuration"], 1)
    assert "OTEL_TRACES_SAMPLER='sometimes' is not accepted" in diagnosed.check("configuration")["sentence"]


@pytest.mark.parametrize(("name", "value"), [("OTEL_SDK_DISABLED", "true"), ("OTEL_TRACES_EXPORTER", "none")])
def test_an_export_that_is_turned_off_is_warned_of(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    check = diagnose().check("export")
    assert check["status"] == "warning"
    assert name in check["sentence"]


# -- What surrounds the process.


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A working directory of its own, and a backend that nobody runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    return tmp_path


@pytest.mark.usefixtures("nowhere")
def test_a_misspelt_variable_is_named_with_the_one_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMW_TENENT", "shop")
    check = diagnose().check("variables")
    assert check["status"] == "warning"
    assert "TRACEMW_TENENT is ignored" in check["sentence"]
    assert "use TRACEMW_TENANT" in check["remedy"]


@pytest.mark.usefixtures("nowhere")
def test_a_variable_that_is_close_to_none_is_named_with_all_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMW_SAMPLIN", "1")
    assert "use TRACEMW_ALLOW, TRACEMW_BATCH_BYTES, " in diagnose().check("variables")["remedy"]


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("OTEL_EXPORTER_OTLP_ENDPONT", "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ("OTEL_TRACE_SAMPLER", "OTEL_TRACES_SAMPLER"),
        ("OTEL_SERVICENAME", "OTEL_SERVICE_NAME"),
    ],
)
def test_a_misspelt_variable_of_opentelemetry_is_named_with_the_one_that_is_meant(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "1")
    check = diagnose().check("variables")
    assert check["status"] == "warning"
    assert f"{name} is no variable of OpenTelemetry" in check["sentence"]
    assert f"use {meant}," in check["remedy"]


@pytest.mark.usefixtures("nowhere")
@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT", "OTEL_PYTHON_LOG_LEVEL", "OTEL_COLLECTOR_URL"])
def test_a_variable_of_other_tools_is_no_misspelling(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert diagnose().status_of("variables") == "ok"


@pytest.mark.usefixtures("nowhere")
def test_a_missing_pseudonym_key_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    check = diagnose().check("pseudonym key")
    assert check["status"] == "hint"
    assert "tracemw.user() records nothing without it" in check["sentence"]
    monkeypatch.setenv("TRACEMW_PSEUDONYM_KEY", f"2026a:{'k' * 32}")
    assert diagnose().status_of("pseudonym key") == "ok"


@pytest.mark.usefixtures("nowhere")
def test_a_service_without_a_name_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OTEL_SERVICE_NAME")
    assert diagnose().status_of("service name") == "warning"


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        ("uwsgi.ini", "[uwsgi]\nmodule = shop:app\nprocesses = 2\n", "uWSGI without threads"),
        ("uwsgi.ini", "[uwsgi]\nenable-threads = false\n", "uWSGI without threads"),
        ("Procfile", "web: uwsgi --http-socket :8000 --module shop:app\n", "uWSGI without threads"),
        ("Dockerfile", 'CMD ["uwsgi", "--module", "shop:app"]\n', "uWSGI without threads"),
        ("Dockerfile", "CMD gunicorn shop:app\n", "passes no SIGTERM on"),
    ],
)
def test_a_process_model_that_needs_a_flag_is_warned_of(file: str, text: str, sentence: str, nowhere: Path) -> None:
    (nowhere / file).write_text(text)
    check = diagnose().check("process model")
    assert check["status"] == "warning"
    assert file in check["sentence"]
    assert sentence in check["sentence"]


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("uwsgi.ini", "[uwsgi]\nmodule = shop:app\nenable-threads = true\n"),
        ("uwsgi.ini", "[uwsgi]\nthreads = 4\n"),
        ("tox.ini", "[testenv]\ndeps = uwsgi\n"),
        ("Procfile", "web: uwsgi --http-socket :8000 --module shop:app --enable-threads\n"),
        ("Dockerfile", 'RUN pip install uwsgi\nCMD ["uwsgi", "--ini", "uwsgi.ini"]\n'),
        ("Dockerfile", 'CMD ["uvicorn", "shop:app"]\n'),
        ("Dockerfile", "CMD exec gunicorn shop:app\n"),
    ],
)
def test_a_process_model_that_has_its_flag_is_fine(file: str, text: str, nowhere: Path) -> None:
    (nowhere / file).write_text(text)
    assert diagnose().status_of("process model") == "ok"


# -- Applications.


def examine(folder: Path, source: str, *arguments: str, **env: str) -> tuple[int, dict[str, Any], str]:
    """Run `tracemw doctor --json shop:app` in a process of its own, beside the source of the application."""
    (folder / "shop.py").write_text(dedent(source))
    ended = subprocess.run(
        [sys.executable, "-m", "tracemw", "doctor", "--json", *(arguments or ("shop:app",))],
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return ended.returncode, json.loads(ended.stdout) if ended.stdout else {}, ended.stderr


APPLICATION = """
    import tracemw
    from starlette.applications import Starlette
    from tracemw.starlette import TraceMiddleware

    print("the application says something")
    tracemw.init("shop", endpoint={url!r}, sampling={sampling})
    app = Starlette()
    app.add_middleware(TraceMiddleware, {options})
"""


@pytest.mark.parametrize(
    ("options", "status"),
    [("", "hint"), ("trusted_proxies=('10.0.0.0/8',)", "warning"), ("trust_inbound=False", "ok")],
)
def test_an_application_is_imported_and_its_own_settings_are_examined(
    options: str, status: str, running: Viewer, tmp_path: Path
) -> None:
    source = APPLICATION.format(url=running.url, sampling=0.1, options=options)
    returncode, document, _ = examine(tmp_path, source)
    assert returncode == 0, document
    diagnosed = Diagnosed(returncode, document)
    assert source_of(diagnosed, "service") == ("shop", "argument service")
    assert source_of(diagnosed, "endpoint") == (f"{running.url}/v1/traces", "argument endpoint")
    assert source_of(diagnosed, "sampling") == ("0.1 of new traces", "argument sampling")
    assert diagnosed.status_of("arrival") == "ok"
    assert diagnosed.status_of("sampled flag") == status


def test_an_application_that_is_not_imported_leaves_open_whom_its_door_trusts(
    viewed: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
    check = diagnose("--url", viewed.url).check("sampled flag")
    assert check["status"] == "unknown"
    assert "tracemw doctor module:app" in check["remedy"]


def test_a_door_that_is_made_at_once_is_found_too(running: Viewer, tmp_path: Path) -> None:
    source = f"""
        import tracemw
        from tracemw.wsgi import TraceMiddleware

        tracemw.init("shop", endpoint={running.url!r}, sampling=0.1)
        app = TraceMiddleware(lambda environ, start_response: [], trust_inbound=False)
    """
    returncode, document, _ = examine(tmp_path, source)
    assert Diagnosed(returncode, document).status_of("sampled flag") == "ok"


def test_requests_that_come_from_outside_are_warned_of_with_an_address(
    viewed: Viewer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.1")
    monkeypatch.setenv("OTEL_SERVICE_NAME", "edge")
    now = int(time.time() * SECOND)
    request = span(9, 1, kind=Span.SPAN_KIND_SERVER, start=now, client__address="8.8.8.8")
    assert viewed.send(Spans("edge", (request,))).status_code == 200
    check = diagnose().check("sampled flag")
    assert check["status"] == "warning"
    assert "requests come from 8.8.8.8" in check["sentence"]
    assert "trust_inbound=False" in check["remedy"]


def test_an_application_that_calls_no_init_is_warned_of(running: Viewer, tmp_path: Path) -> None:
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": running.url}
    returncode, document, _ = examine(
        tmp_path, "from starlette.applications import Starlette\napp = Starlette()", **env
    )
    assert returncode == 0
    assert Diagnosed(returncode, document).status_of("init") == "warning"


def test_a_factory_makes_the_application(running: Viewer, tmp_path: Path) -> None:
    source = f"""
        import tracemw
        from starlette.applications import Starlette

        def make_app():
            tracemw.init("made", endpoint={running.url!r})
            return Starlette()
    """
    returncode, document, _ = examine(tmp_path, source, "shop:make_app()")
    assert source_of(Diagnosed(returncode, document), "service") == ("made", "argument service")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, from which applications are imported into this process: those that fail."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def test_an_application_that_cannot_start_is_named_with_its_error(folder: Path) -> None:
    (folder / "refused.py").write_text("import tracemw\ntracemw.init('shop', protocol='carrier pigeon')")
    diagnosed = diagnose("refused:app")
    check = diagnosed.check("configuration")
    assert diagnosed.returncode == 1
    assert "refused cannot be imported: ValueError: protocol='carrier pigeon' is not accepted" in check["sentence"]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("endless", "import threading\nthreading.Event().wait()"),
        (
            "patient",
            "import threading\n"
            "while True:\n"
            "    try:\n"
            "        threading.Event().wait()\n"
            "    except Exception:\n"
            "        pass\n",
        ),
    ],
)
def test_an_import_that_never_ends_is_interrupted(folder: Path, name: str, source: str) -> None:
    (folder / f"{name}.py").write_text(source)
    check = diagnose(f"{name}:app", "--timeout", "1s").check("configuration")
    assert check["status"] == "failure"
    assert f"the import of {name}:app has taken more than 1 s" in check["sentence"]
    assert "does it wait for a server?" in check["remedy"]


@pytest.mark.parametrize(
    ("name", "source", "sentence"),
    [
        ("leaving", "import os\nos._exit(0)", "importing leaving:app ends the process with status 0"),
        (
            "crashing",
            "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
            "importing crashing:app ends the process by signal 11",
        ),
    ],
)
def test_an_import_that_ends_its_process_is_a_failing_check(
    folder: Path, name: str, source: str, sentence: str
) -> None:
    (folder / f"{name}.py").write_text(source)
    diagnosed = diagnose(f"{name}:app")
    assert (diagnosed.failures, diagnosed.returncode) == (["configuration"], 1)
    assert sentence in diagnosed.check("configuration")["sentence"]


def test_a_thread_that_goes_on_for_ever_and_words_on_the_standard_output_spoil_no_pipeline(nowhere: Path) -> None:
    source = """
        import atexit, os, threading
        from starlette.applications import Starlette

        os.write(1, b"raw")
        atexit.register(print, "bye")
        threading.Thread(target=threading.Event().wait).start()
        app = Starlette()
    """
    returncode, document, errors = examine(nowhere, source)
    assert (returncode, document["subject"]) == (1, "shop:app")
    assert "raw" in errors


def test_no_password_is_shown_that_an_application_fails_with(folder: Path) -> None:
    (folder / "telling.py").write_text("raise RuntimeError('cannot reach postgresql://bob:hunter2secret@db/x')")
    sentence = diagnose("telling:app").check("configuration")["sentence"]
    assert "RuntimeError: cannot reach postgresql://REDACTED:REDACTED@db/x" in sentence
    assert "hunter2secret" not in run("doctor", "telling:app").stdout


def test_the_directory_of_an_application_may_be_named(folder: Path) -> None:
    (folder / "src").mkdir()
    (folder / "src" / "elsewhere.py").write_text("raise RuntimeError('found')")
    check = diagnose("elsewhere:app", "--app-dir", "src").check("configuration")
    assert "elsewhere cannot be imported: RuntimeError: found (" in check["sentence"]


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", ["nowhere:app", "json:application", "shop"])
def test_what_is_no_application_is_a_wrong_usage(name: str) -> None:
    ended = run("doctor", name)
    assert ended.returncode == 2
    assert ended.stderr.startswith("tracemw doctor: ")


@pytest.mark.parametrize(
    "arguments", [("--url", "tempo:3200"), ("--tenant", "caf\u00e9"), ("--timeout", "0s"), ("--since", "8d")]
)
def test_options_that_are_not_accepted_are_a_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert run("doctor", *arguments).returncode == 2


def test_an_official_instrumentation_beside_a_door_is_warned_of(running: Viewer, tmp_path: Path) -> None:
    source = f"""
        import tracemw
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
        from starlette.applications import Starlette

        tracemw.init("shop", endpoint={running.url!r})
        SQLAlchemyInstrumentor().instrument(skip_dep_check=True)
        app = Starlette()
    """
    returncode, document, _ = examine(tmp_path, source)
    check = Diagnosed(returncode, document).check("instrumentation")
    assert check["status"] == "warning"
    assert "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=sqlalchemy" in check["remedy"]


def test_a_provider_of_others_fails(running: Viewer, tmp_path: Path) -> None:
    source = f"""
        import tracemw
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from starlette.applications import Starlette

        trace.set_tracer_provider(TracerProvider())
        tracemw.init("shop", endpoint={running.url!r})
        app = Starlette()
    """
    returncode, document, _ = examine(tmp_path, source)
    check = Diagnosed(returncode, document).check("provider")
    assert returncode == 1
    assert "opentelemetry.sdk.trace.TracerProvider" in check["sentence"]

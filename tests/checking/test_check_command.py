"""`tracemw check` as a command: how applications are named, what goes wrong, and how it is told."""

from __future__ import annotations

import re
import time
from pathlib import Path
from textwrap import dedent

import pytest

from checking.conftest import Check, codes
from docs.pages import ROOT, blocks
from servers import wait_until
from tracemw.checking.problems import CODES
from tracemw.cli import main

APPLICATION = """
    import tracemw, tracemw.asgi
    tracemw.init("shop")
    async def plain(scope, receive, send):
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})
    def create_app(*arguments, traced=True):
        return tracemw.asgi.TraceMiddleware(plain) if traced else plain
    class Holder:
        app = create_app()
"""


@pytest.mark.parametrize(
    ("target", "options", "status"),
    [
        ("service:create_app", ("--factory",), 0),
        ("service:create_app('shop', traced=False)", (), 1),
    ],
)
def test_an_application_is_named_as_uvicorn_and_gunicorn_do(
    check: Check, target: str, options: tuple[str, ...], status: int
) -> None:
    assert check(APPLICATION, *options, target=target)["status"] == status


def test_the_directory_of_the_application_may_be_named(check: Check, tmp_path: Path) -> None:
    (tmp_path / "src" / "shop").mkdir(parents=True)
    (tmp_path / "src" / "shop" / "main.py").write_text("async def app(scope, receive, send):\n    pass\n")
    found = check("", "--app-dir", "src", target="shop.main:app")
    assert codes(found) == ["no-init", "no-door"]
    assert [problem["path"] for problem in found["problems"]] == ["src/shop/main.py"] * 2
    assert found["notes"][-1] == "the request was not answered"


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("", "service", "'service' is not accepted; use MODULE:APPLICATION, such as shop.main:app"),
        ("", "service:app + 1", "is not accepted; use MODULE:APPLICATION"),
        ("", "service:make(x)", "is not accepted; use MODULE:APPLICATION"),
        ("", "nowhere.main:app", "there is no module nowhere in "),
        ("application = print", "service:app", "service has no 'app'; there is application"),
        ("\ndef app(:", "service:app", "service.py:2)"),
        ("x = 1\nraise SystemExit('no settings')", "service:app", "SystemExit: no settings ("),
        ("app = 1", "service:app", "service:app is no application but builtins.int"),
        ("def app(): ...", "service:app", "write service:app() if it makes the application"),
        ("def make(config): ...", "service:make", "write service:make(config=...) if it makes the application"),
        (
            "def app(): raise RuntimeError('no key')",
            "service:app()",
            "service:app() has failed: RuntimeError: no key (",
        ),
        (
            "import tracemw\nfrom flask import Flask\napp = tracemw.flask.TraceMiddleware(Flask('shop'))",
            "service:app",
            "that traces the application in place: serve the application itself",
        ),
        ("async def app(): ...", "service:app()", "service:app is asynchronous, and servers await no factory; make "),
        ("import os\nos._exit(7)", "service:app", "has ended its process with status 7; look for os._exit()"),
        ("import os\nos.kill(os.getpid(), 9)", "service:app", "service:app was ended by signal 9 (Killed)"),
    ],
)
def test_an_application_that_cannot_be_checked_is_an_error_that_says_why(
    check: Check, source: str, target: str, said: str
) -> None:
    found = check(source, target=target)
    assert found["status"] == 2
    assert said in found["error"]
    assert found["stderr"].endswith(f"tracemw check: {found['error']}\n")
    assert "never awaited" not in found["stderr"]


def test_an_exception_is_told_without_secrets_and_with_the_line_of_a_file(check: Check) -> None:
    found = check("""
        made = "def fail():\\n    raise RuntimeError('cannot reach postgresql://bob:hunter2secret@db/x')"
        exec(compile(made, "<shop generated>", "exec"))
        fail()
    """)
    assert "RuntimeError: cannot reach postgresql://" in found["error"]
    assert "service.py:4)" in found["error"]
    assert "hunter2" not in f"{found}"


def test_a_startup_that_tells_its_failure_is_an_error_in_lines_without_secrets(check: Check) -> None:
    found = check(
        """
        async def app(scope, receive, send):
            await send({"type": "lifespan.startup.failed", "message": "Traceback:\\n  no database: password=hunter2"})
        """,
        "--lifespan",
    )
    assert found["stderr"] == (
        "tracemw check: the startup has failed: Traceback:\n  no database: password=[REDACTED]\n"
    )
    assert found["error"] == "the startup has failed: Traceback:\n  no database: password=[REDACTED]"


def test_a_startup_that_fails_is_an_error(check: Check) -> None:
    found = check(
        """
        async def app(scope, receive, send):
            await send({"type": "lifespan.startup.failed", "message": "Traceback: ..."})
            raise OSError("no database: password=hunter2")
        """,
        "--lifespan",
    )
    assert found["status"] == 2
    assert "the startup has failed: OSError: no database: password=[REDACTED] (" in found["stderr"]
    assert "service.py:4)" in found["stderr"]


def test_an_import_that_hangs_ends_in_time_and_shows_where(check: Check) -> None:
    began = time.monotonic()
    found = check("import threading\nthreading.Event().wait()", "--timeout", "3s")
    assert found["status"] == 2
    assert time.monotonic() - began < 3 + 30
    assert 'service.py", line 2' in found["stderr"]
    assert "was not done within 3 seconds" in found["stderr"]


def test_threads_of_an_application_that_is_an_attribute_do_not_hold_up_the_command(check: Check) -> None:
    source = f"{APPLICATION}\n    import threading\n    threading.Thread(target=threading.Event().wait).start()"
    assert check(source, target="service:Holder.app")["status"] == 0


def test_what_an_application_has_started_ends_with_the_check_and_what_it_prints_is_no_json(check: Check) -> None:
    source = f"""{APPLICATION}
    import subprocess, sys
    left = subprocess.Popen([sys.executable, "-c", "import signal; print('runs', flush=True); signal.pause()"],
                            stdout=subprocess.PIPE)
    left.stdout.readline()
    print(f"pid {{left.pid}} ends", flush=True)
    """
    found = check(source, target="service:Holder.app")
    assert found["status"] == 0
    pid = re.search(r"pid (\d+) ends", found["stderr"])
    assert pid is not None
    wait_until(lambda: not is_running(int(pid[1])))


def is_running(pid: int) -> bool:
    """Whether a process runs; one that has ended, and that nobody has asked about yet, does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]
    except OSError:
        return False


def test_the_text_and_github_are_told_place_code_sentence_and_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("service.py").write_text(dedent(APPLICATION))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    assert main(["check", "service:plain", "--timeout", "10m", "--annotate"]) == 1
    lines = capfd.readouterr().out.splitlines()
    assert lines[:2] == [
        "service:plain (ASGI) is not traced",
        "service.py:4: no-door no request to service:plain is traced: there is no TraceMiddleware; "
        "add: plain = tracemw.asgi.TraceMiddleware(plain)",
    ]
    assert lines[-1].startswith("::error file=service.py,line=4,title=no-door::")
    assert (tmp_path / "summary.md").read_text().startswith("**service:plain (ASGI) is not traced**")


def test_codes_may_be_ignored_and_those_that_there_are_not_are_an_error(check: Check) -> None:
    assert check(APPLICATION, "--ignore", "no-door", target="service:plain")["status"] == 0
    found = check(APPLICATION, "--ignore", "no-dor", target="service:plain")
    assert found["status"] == 2
    assert "--ignore=no-dor is not accepted; use some of no-init, no-door" in found["stderr"]


def test_the_page_tells_every_code() -> None:
    page = (ROOT / "docs" / "how-to" / "checking.md").read_text()
    assert set(re.findall(r"^\| `([\w-]+)` \|", page, re.MULTILINE)) == set(CODES)


def test_the_page_shows_what_the_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    source, shown = (block for block in blocks("docs/how-to/checking.md") if block.kind in ("file", "story"))
    Path("shop.py").write_text(source.text)
    assert main(["check", "shop:app", "--timeout", "10m"]) == 1
    printed = capfd.readouterr().out.splitlines()
    command, *lines = shown.text.splitlines()
    assert command == "$ tracemw check shop:app"
    assert printed[: len(lines)] == lines


def test_an_application_that_never_answers_is_told_so(check: Check) -> None:
    found = check(
        """
        import asyncio, tracemw.asgi
        tracemw.init("shop")
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                await send({"type": "http.response.body", "body": b".", "more_body": True})
                await asyncio.sleep(0.01)
        app = tracemw.asgi.TraceMiddleware(app)
        """
    )
    assert (found["status"], found["problems"]) == (0, [])

"""The demo's child processes: they start, say why when they do not, and never outlive it."""

import os
import time
from pathlib import Path

import httpx
import pytest
from examples.demo import processes
from examples.demo.processes import ChildFailedError, Children, free_ports

STUBBORN = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    print("ready", os.getpid(), flush=True)
time.sleep(60)
"""


def group_is_alive(process_group: int) -> bool:
    try:
        os.killpg(process_group, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for_text(path: Path, text: str) -> None:
    deadline = time.monotonic() + 10
    while text not in path.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def test_a_child_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Children(tmp_path, tmp_path) as children:
        child = children.start("shop", "no_such_module", environment={})
        async with httpx.AsyncClient() as client:
            with pytest.raises(ChildFailedError, match=r"(?s)shop ended by itself.*No module named no_such_module"):
                await child.ready(client, "http://127.0.0.1:9/health")


async def test_a_child_that_does_not_answer_in_time_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "START_SECONDS", 0.2)
    (tmp_path / "sleeper.py").write_text("import time; time.sleep(60)")
    [port] = free_ports(1)
    with Children(tmp_path, tmp_path) as children:
        child = children.start("sleeper", "sleeper", environment={})
        async with httpx.AsyncClient() as client:
            with pytest.raises(ChildFailedError, match=r"sleeper did not answer on .* within 0.2 s"):
                await child.ready(client, f"http://127.0.0.1:{port}/health")
    assert not group_is_alive(child.process.pid)


def test_a_child_that_ignores_sigterm_is_killed_with_its_whole_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "STOP_SECONDS", 0.2)
    (tmp_path / "stubborn.py").write_text(STUBBORN)
    with Children(tmp_path, tmp_path) as children:
        child = children.start("stubborn", "stubborn", environment={})
        wait_for_text(child.log, "ready")
        assert children.stop() == ["stubborn"]
    deadline = time.monotonic() + 5
    while group_is_alive(child.process.pid):  # the grandchild's new parent may take a moment to reap it
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_children_are_stopped_when_the_block_ends_with_an_error(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text("import time; time.sleep(60)")
    started = []

    def fail_with_a_child() -> None:
        with Children(tmp_path, tmp_path) as children:
            started.append(children.start("sleeper", "sleeper", environment={}))
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        fail_with_a_child()
    assert not group_is_alive(started[0].process.pid)


def test_settings_of_tracing_are_not_inherited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_SDK_DISABLED", "TRACEMW_X", "ENVIRONMENT", "OTHER"):
        monkeypatch.setenv(name, "production")
    (tmp_path / "show.py").write_text("import os; print(sorted(n for n in os.environ))")
    with Children(tmp_path, tmp_path) as children:
        child = children.start("show", "show", environment={"OTEL_SERVICE_NAME": "show"})
        child.process.wait(60)
        names = child.log.read_text()
    assert "OTHER" in names
    assert "OTEL_SERVICE_NAME" in names
    assert not any(name in names for name in ("OTEL_SDK_DISABLED", "TRACEMW_X", "'ENVIRONMENT'"))


def test_free_ports_differ() -> None:
    assert len(set(free_ports(8))) == 8

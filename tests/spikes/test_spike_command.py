"""`tracemw spike`: what it says, what it writes, and what services make of it."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from backend import backend_serving
from servers import free_port, process, wait_until
from spikes.spiking import Taken, content, held, soon, watching
from tracemw import cli
from tracemw.spikes import Spike, add_spike, read_spikes


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tracemw", "spike", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_command_begins_shows_and_ends_spikes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "control.json"

    def spike(*arguments: str) -> str:
        assert cli.main(["spike", "--file", str(file), *arguments]) == 0
        return capsys.readouterr().out

    assert spike("--status") == f"no spike is active: there is no {file}\n"
    assert spike("--off") == f"no spike is active: there is no {file}\n"
    assert not file.exists()
    file.touch()
    assert spike("--status") == f"no spike is active in {file}\n"
    assert spike("--off") == f"no spike is active in {file}\n"
    assert spike("1.0", "--for", "90s").startswith("1.0 of all new traces until 20")
    spike("0.5", "--for", "1h", "--path", "POST /checkout/*")
    spike("0.25", "--for", "1.5h", "--path", "POST /checkout/*")
    first, second = spike("--status").splitlines()
    assert first.startswith("1.0 of all new traces until ")
    assert second.startswith("0.25 of POST /checkout/* until ")
    assert "(1:30:00 from now)" in second or "(1:29:" in second
    shown = json.loads(spike("--status", "--json"))
    assert shown["file"] == str(file)
    assert [(each["ratio"], each["path"]) for each in shown["spikes"]] == [(1.0, None), (0.25, "POST /checkout/*")]
    assert abs(shown["spikes"][0]["until"] - soon(90)) < 30
    assert [vars(each) for each in read_spikes(file)] == shown["spikes"]
    spike("1.0", "--for", "1m", "--path", "/login")
    assert spike("--off", "--path", "POST /checkout/*") == f"ended 1 spike in {file}:\n0.25 of POST /checkout/*\n"
    assert spike("--off", "--path", "GET /") == f"no spike of GET / is active in {file}\n"
    assert [each.path for each in read_spikes(file)] == [None, "/login"]
    assert spike("--off") == f"ended 2 spikes in {file}:\n1.0 of all new traces\n1.0 of /login\n"
    assert json.loads(spike("--status", "--json"))["spikes"] == []
    assert spike("--off") == f"no spike is active in {file}\n"


@pytest.mark.parametrize(
    ("text", "seconds"), [("1h30m", 5400), ("1d", 86400), ("90m", 5400), ("2h5s", 7205), ("0.5d1.5m", 43290)]
)
def test_times_are_made_of_days_hours_minutes_and_seconds(tmp_path: Path, text: str, seconds: float) -> None:
    file = tmp_path / "control.json"
    before = time.time()
    assert cli.main(["spike", "1.0", "--for", text, "--file", str(file)]) == 0
    (spike,) = read_spikes(file)
    assert before + seconds <= spike.until <= time.time() + seconds


def test_files_are_named_by_their_absolute_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["spike", "--status", "--file", "control.json"]) == 0
    monkeypatch.setenv("TRACEMW_CONTROL_FILE", "other.json")
    assert cli.main(["spike", "--off"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.rpartition(" ")[2] for line in said] == [f"{tmp_path}/control.json", f"{tmp_path}/other.json"]


def test_the_variable_names_the_file_and_without_any_the_remedy_is_said(tmp_path: Path) -> None:
    file = str(tmp_path / "control.json")
    ended = command("1", "--for", "1m", TRACEMW_CONTROL_FILE=file)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert f"wherever TRACEMW_CONTROL_FILE is {file}" in ended.stdout
    refused = command("--status")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "set TRACEMW_CONTROL_FILE to the path that the services use, or pass --file" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "such as 1.0 --for 10m"),
        (("1.0",), "such as 1.0 --for 10m"),
        (("--for", "10m"), "such as 1.0 --for 10m"),
        (("1.5", "--for", "10m"), "a number from 0 to 1"),
        (("0", "--for", "10m"), "above 0 and at most 1"),
        (("1", "--for", "10"), "is not accepted; use a time such as 30s, 10m, 1h30m or 1d"),
        (("1", "--for", ""), "is not accepted; use a time such as 30s, 10m, 1h30m or 1d"),
        (("1", "--for", "1e3m"), "is not accepted; use a time such as 30s, 10m, 1h30m or 1d"),
        (("1", "--for", "30m1h"), "is not accepted; use a time such as 30s, 10m, 1h30m or 1d"),
        (("1", "--for", "0s"), "'0s' is not accepted; use a time above 0 seconds"),
        (("1", "--for", "25h"), "'25h' is not accepted; use a time above 0 seconds, and at most 24 hours"),
        (("1", "--for", "1d1s"), "at most 24 hours"),
        (("1", "--for", "1m", "--path", "checkout"), "'POST /checkout/*'"),
        (("1", "--for", "1m", "--path", "PSOT /checkout/*"), "or name PSOT and all others in OTEL_"),
        (("1", "--off"), "--status and --off take neither"),
        (("--status", "--path", "/a"), "--status shows all spikes"),
        (("--status", "--file", ""), "'' is not accepted; use the path of a file"),
        (("--status", "--file", "/no/such/folder/control.json"), "its folder does not exist"),
        (("--off", "--file", "/no/such/folder/control.json"), "its folder does not exist"),
        (("--status", "--off"), "not allowed with"),
        (("--off", "--json"), "--json goes with --status"),
        (("--status", "--file", "/"), "this is not a regular file"),
        (("--off", "--file", "/etc/hostname"), "the file is not JSON"),
        (("1", "--for", "1m", "--file", "/no/such/folder/control.json"), "its folder does not exist"),
    ],
)
def test_what_cannot_be_done_ends_with_status_2_and_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], says: str
) -> None:
    try:
        status: Any = cli.main(["spike", "--file", str(tmp_path / "control.json"), *arguments])
    except SystemExit as ended:
        status = ended.code
    printed = capsys.readouterr()
    assert (status, printed.out) == (2, "")
    assert says in printed.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_control_file_is_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    for arguments in (("1", "--for", "1m"), ("--off",), ("--status",)):
        ended = command(*arguments, "--file", str(file))
        assert ended.returncode == 2
        assert str(file) in ended.stderr
        assert "delete the file to start a new one, or name another" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert file.read_text() == "mine"


@pytest.mark.parametrize("is_there", [True, False])
def test_a_link_out_of_its_folder_is_followed_by_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, *, is_there: bool
) -> None:
    target, folder = tmp_path / "other" / "theirs.json", tmp_path / "mine"
    target.parent.mkdir()
    folder.mkdir()
    if is_there:
        target.write_text(content({"ratio": 1.0, "until": soon()}))
    before = target.read_text() if is_there else None
    straight, by_a_folder = folder / "straight.json", folder / "sub" / ".." / "by-a-folder.json"
    straight.symlink_to(target)
    (folder / "out").symlink_to(target.parent)
    (folder / "sub").mkdir()
    by_a_folder.symlink_to("out/theirs.json")
    for file in (straight, by_a_folder):
        ended = [
            command(*arguments, "--file", str(file)) for arguments in (("1", "--for", "1m"), ("--off",), ("--status",))
        ]
        assert [each.returncode for each in ended] == [2, 2, 2]
        assert all("a link out of the folder is not followed" in each.stderr for each in ended)
    assert (target.read_text() if is_there else None) == before
    assert list(target.parent.iterdir()) == ([target] if is_there else [])
    taken = Taken()
    with watching(straight, taken) as watch:
        watch.look_again()
    assert taken.all == []
    assert ("a link out of the folder is not followed" in caplog.text) is is_there


def started(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tracemw", "spike", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def all_end(commands: list[subprocess.Popen[str]]) -> list[str]:
    """Wait for commands, and return what they have printed; all of them must have done what they were asked for."""
    printed = [each.communicate(timeout=60)[0] for each in commands]
    assert [each.returncode for each in commands] == [0] * len(commands), printed
    return printed


def test_of_eight_spikes_that_begin_at_once_all_are_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    paths = [f"/{number}" for number in range(8)]
    lock = held(file)
    commands = [started("1", "--for", "10m", "--path", path, "--file", str(file)) for path in paths]
    os.close(lock)
    all_end(commands)
    assert sorted(str(spike.path) for spike in read_spikes(file)) == paths
    assert list(tmp_path.iterdir()) == [file]


def test_spikes_that_end_while_others_begin_are_the_only_ones_that_do(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    for number in range(4):
        add_spike(file, Spike(ratio=1.0, path=f"/old/{number}", until=soon()))
    all_end(
        [
            *(started("--off", "--path", f"/old/{number}", "--file", str(file)) for number in range(4)),
            *(started("1", "--for", "10m", "--path", f"/new/{number}", "--file", str(file)) for number in range(4)),
        ]
    )
    assert sorted(str(spike.path) for spike in read_spikes(file)) == [f"/new/{number}" for number in range(4)]


def test_what_stands_in_the_file_gives_no_orders_to_a_terminal_or_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order = "\x1b]0;owned\x07\x9b31m\u202e\ud800\r"
    for name, text in (
        ("path.json", content({"ratio": 1.0, "path": f"/a{order}", "until": soon()})),
        ("key.json", content(**{order: 1})),
        ("entry.json", content({"ratio": 1.0, "until": soon(), order: 1})),
        ("json.json", order.encode("utf-8", "replace").decode()),
        (f"name{order[:-2]}.json", content({"ratio": 1.0, "until": soon()})),
    ):
        file = tmp_path / name
        file.write_text(text)
        for arguments in (("--status",), ("1", "--for", "1m"), ("--off",)):
            ended = command(*arguments, "--file", str(file))
            for line in (*ended.stdout.split("\n"), *ended.stderr.split("\n")):
                assert line.isprintable()
            assert "Traceback" not in ended.stderr
        file.write_text(content(**{order: 1}))
        with watching(file, Taken()) as watch:
            watch.look_again()
    assert caplog.messages
    assert all(message.isprintable() for message in caplog.messages)


SERVICE = """
import os
import tracemw
from opentelemetry import trace
from tracemw.wsgi import TraceMiddleware

tracemw.init("shop")

def answer(environ, start_response):
    sampled = bool(trace.get_current_span().get_span_context().trace_flags.sampled)
    start_response("200 OK", [("content-type", "text/plain")])
    return [f"{os.getpid()} {sampled}".encode()]

app = TraceMiddleware(answer)
"""


class Workers:
    """What the workers of a service answer: whether the latest request to each was sampled."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.sampled: dict[int, bool] = {}

    def ask(self, path: str = "/items") -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request("GET", path)
            pid, sampled = connection.getresponse().read().decode().split()
            self.sampled[int(pid)] = sampled == "True"
        except ConnectionRefusedError:
            pass
        finally:
            connection.close()

    def all_are(self, sampled: bool) -> bool:
        self.ask()
        return len(self.sampled) == 2 and set(self.sampled.values()) == {sampled}


def has_come_true(condition: Callable[[], bool], seconds: float) -> bool:
    try:
        wait_until(condition, timeout=seconds)
    except TimeoutError:
        return False
    return True


@pytest.mark.parametrize("preload", [(), ("--preload",)], ids=["", "preload"])
def test_a_spike_reaches_two_gunicorn_workers_within_2_seconds_and_ends_at_its_deadline(
    tmp_path: Path, preload: tuple[str, ...]
) -> None:
    (tmp_path / "service.py").write_text(SERVICE)
    file = tmp_path / "control.json"
    port = free_port()
    with backend_serving() as backend:
        environment = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": backend.url,
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_TRACES_SAMPLER_ARG": "0",
            "TRACEMW_CONTROL_FILE": str(file),
        }
        arguments = ("-m", "gunicorn", "--workers", "2", "--bind", f"127.0.0.1:{port}")
        with process(*arguments, *preload, "service:app", env=environment, cwd=tmp_path):
            workers = Workers(port)
            wait_until(lambda: workers.all_are(False))
            assert backend.spans == []
            for _ in range(3):  # a busy machine holds up one spike, or two
                assert cli.main(["spike", "1.0", "--for", "4s", "--file", str(file)]) == 0
                (spike,) = read_spikes(file)
                is_in_time = has_come_true(lambda: workers.all_are(True), 2)
                wait_until(lambda: workers.all_are(False))
                assert time.time() >= spike.until
                if is_in_time:
                    break
            assert is_in_time
            for _ in range(20):
                workers.ask()
                assert set(workers.sampled.values()) == {False}
    assert len(backend.spans) >= 2
    for span in backend.spans:
        assert span.trace_state == "ot=th:0"
        assert [pair.value.double_value for pair in span.attributes if pair.key == "tracemw.spike"] == [1.0]

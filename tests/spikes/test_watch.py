"""The thread that reads the control file, alone and in services that fork."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from servers import wait_until
from spikes.spiking import Clock, Taken, content, outcome, output_of, put, soon, watching
from tracemw._otel import guard
from tracemw.sampling import ConsistentSampler
from tracemw.spikes import Spike, add_spike


def test_a_control_file_without_its_folder_is_one_warning_at_init(tmp_path: Path) -> None:
    code = "import os, tracemw; tracemw.init('shop'); os.fork() and os.wait()"
    file = tmp_path / "no" / "control.json"
    said = output_of(code, TRACEMW_CONTROL_FILE=str(file), OTEL_TRACES_EXPORTER="none").splitlines()
    assert len(said) == 1
    assert f"no spike can come from {file}, whose folder does not exist" in said[0]
    file.parent.mkdir()
    assert output_of(code, TRACEMW_CONTROL_FILE=str(file), OTEL_TRACES_EXPORTER="none") == ""


def test_a_watch_hands_out_each_change_once_and_a_file_that_goes_away_as_no_spike(tmp_path: Path) -> None:
    file, taken = tmp_path / "control.json", Taken()
    with watching(file, taken) as watch:
        watch.look_again()
        for ratio in (0.5, 1.0):
            add_spike(file, Spike(ratio=ratio, until=soon()))
            watch.look_again()
            assert taken.ratios == [ratio]
        file.unlink()
        watch.look_again()
        assert taken.ratios == []
        add_spike(file, Spike(ratio=0.25, until=soon()))
        watch.look_again()
        assert taken.ratios == [0.25]
        watch.look_again()
    assert len(taken.all) == 4


def test_a_mounted_config_map_is_followed_through_its_links(tmp_path: Path) -> None:
    taken = Taken()
    for version, ratio in (("..1", 0.5), ("..2", 1.0)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "control.json").write_text(content({"ratio": ratio, "until": soon()}))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "control.json").symlink_to("..data/control.json")
    with watching(tmp_path / "control.json", taken) as watch:
        watch.look_again()
        assert taken.ratios == [0.5]
        (tmp_path / "..data_new").symlink_to("..2")
        (tmp_path / "..data_new").rename(tmp_path / "..data")
        watch.look_again()
        assert taken.ratios == [1.0]


def test_a_malformed_file_changes_nothing_and_is_reported_once_for_each_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "control.json"
    sampler = ConsistentSampler(0.0)
    add_spike(file, Spike(ratio=1.0, until=soon()))
    with watching(file, sampler.share) as watch:
        watch.look_again()
        for text in ("{", "["):
            put(file, text)
            watch.look_again()
            os.utime(file, (1, 1))  # it is read again, and says nothing new
            watch.look_again()
            assert outcome(sampler, 1)[0]
        assert len(caplog.messages) == 2
        file.unlink()
        watch.look_again()
        assert not outcome(sampler, 1)[0]
        file.mkdir()
        watch.look_again()
        watch.look_again()
    assert len(caplog.messages) == 3
    assert "this is not a regular file" in caplog.messages[2]
    assert all(f"{file} is ignored, and sampling goes on as before" in message for message in caplog.messages)


def test_a_file_that_is_refused_by_a_clock_that_is_behind_is_taken_once_that_is_set_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Clock:
        behind = 48 * 3600.0

        def time(self) -> float:
            return time.time() - self.behind

    clock, file, taken = Clock(), tmp_path / "control.json", Taken()
    monkeypatch.setattr("tracemw.spikes.watch.time", clock)
    put(file, content({"ratio": 1.0, "until": soon()}))
    with watching(file, taken) as watch:
        watch.look_again()
        watch.look_again()
        assert taken.all == []
        assert len(caplog.messages) == 1
        assert "is more than 24 hours away" in caplog.messages[0]
        clock.behind = 0.0
        watch.look_again()
        watch.look_again()
    assert taken.ratios == [1.0]
    assert len(taken.all) == 1


def test_a_pipe_in_place_of_the_file_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "control.json"
    os.mkfifo(file)
    with watching(file, Taken()) as watch:
        watch.look_again()
    assert "this is not a regular file" in caplog.text


def test_a_fault_while_spikes_are_taken_does_not_end_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "reraise_own_faults", False)
    file, taken = tmp_path / "control.json", Taken()

    def take(spikes: tuple[Spike, ...]) -> None:
        taken(spikes)
        if len(taken.all) == 1:
            raise RuntimeError("the first time")

    add_spike(file, Spike(ratio=0.5, until=soon()))
    with watching(file, take) as watch:
        wait_until(lambda: taken.ratios == [0.5])
        add_spike(file, Spike(ratio=1.0, until=soon()))
        watch.look_again()
    assert taken.ratios == [1.0]
    assert "the first time" in caplog.text


def test_a_spike_goes_on_to_its_deadline_when_the_file_is_broken_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "control.json"
    sampler = ConsistentSampler(0.0)
    ends = soon()
    add_spike(file, Spike(ratio=1.0, until=ends))
    clock = Clock()
    monkeypatch.setattr(clock, "time", lambda: clock.now)
    clock.now = ends - 1
    monkeypatch.setattr("tracemw.sampling.sampler.time", clock)
    with watching(file, sampler.share) as watch:
        watch.look_again()
        put(file, "{")
        watch.look_again()
        assert outcome(sampler, 1)[0]
        clock.now = ends
        assert not outcome(sampler, 1)[0]


WATCHES = (
    "import sys\n"
    "def names(frame):\n"
    "    while frame:\n"
    "        if frame.f_code.co_filename.endswith('spikes/watch.py'): yield frame.f_code.co_name\n"
    "        frame = frame.f_back\n"
    "def watches(): return sum('_run' in names(frame) for frame in sys._current_frames().values())\n"
)
"""Counts the threads that watch a control file: they are none of threading's."""


def test_a_forked_child_watches_too_and_no_process_forks_beside_the_thread_or_keeps_it_after_shutdown(
    tmp_path: Path,
) -> None:
    file = tmp_path / "control.json"
    add_spike(file, Spike(ratio=1.0, until=soon()))
    code = WATCHES + (
        "import os, time, tracemw\n"
        "def sampled():\n"
        "    with tracemw.span('work') as span: return span.is_recording()\n"
        "def eventually(condition):\n"
        "    deadline = time.monotonic() + 60\n"
        "    while not condition():\n"
        "        assert time.monotonic() < deadline\n"
        "        time.sleep(0.01)\n"
        "def none(): return watches() == 0\n"
        "os.register_at_fork(before=lambda: eventually(none))  # the last to run, since it is the first here\n"
        "tracemw.init('shop', sampling=0)\n"
        "eventually(sampled)\n"
        "pid = os.fork()\n"
        "assert watches() <= 1\n"
        "eventually(watches)\n"
        "if pid == 0:\n"
        "    os.unlink(os.environ['TRACEMW_CONTROL_FILE'])\n"
        "else:\n"
        "    assert os.waitpid(pid, 0)[1] == 0\n"
        "eventually(lambda: not sampled())\n"
        "tracemw.shutdown()\n"
        "eventually(none)\n"
        "if pid and os.fork() == 0: os._exit(watches())\n"
        "if pid: assert os.wait()[1] == 0\n"
    )
    assert output_of(code, TRACEMW_CONTROL_FILE=str(file), OTEL_TRACES_EXPORTER="none") == ""


def test_threads_that_fork_at_once_leave_one_watch(tmp_path: Path) -> None:
    code = WATCHES + (
        "import os, threading, time, tracemw\n"
        "def one():\n"
        "    deadline = time.monotonic() + 60\n"
        "    while watches() != 1 and time.monotonic() < deadline: time.sleep(0.001)\n"
        "    return watches() == 1\n"
        "tracemw.init('shop', sampling=0)\n"
        "at_once, seen = threading.Barrier(4), []\n"
        "def fork():\n"
        "    at_once.wait()\n"
        "    for _ in range(25):\n"
        "        pid = os.fork()\n"
        "        if not pid: os._exit(not one())\n"
        "        seen.append(os.waitpid(pid, 0)[1] == 0)\n"
        "threads = [threading.Thread(target=fork) for _ in range(4)]\n"
        "for thread in threads: thread.start()\n"
        "for thread in threads: thread.join()\n"
        "assert seen == [True] * 100, seen\n"
        "assert one()\n"
    )
    environment = {"TRACEMW_CONTROL_FILE": str(tmp_path / "control.json"), "OTEL_TRACES_EXPORTER": "none"}
    assert output_of(code, PYTHONWARNINGS="ignore", **environment) == ""


def test_a_second_init_watches_with_its_own_sampler(tmp_path: Path) -> None:
    code = WATCHES + (
        "import os, time, tracemw\n"
        "from pathlib import Path\n"
        "from tracemw.spikes import Spike, add_spike\n"
        "tracemw.init('first', sampling=0)\n"
        "tracemw.shutdown()\n"
        "tracing = tracemw.init('second', sampling=0)\n"
        "add_spike(Path(os.environ['TRACEMW_CONTROL_FILE']), Spike(ratio=1.0, until=time.time() + 60))\n"
        "deadline = time.monotonic() + 60\n"
        "while True:\n"
        "    with tracemw.span('work') as span:\n"
        "        if span.is_recording(): break\n"
        "    assert time.monotonic() < deadline\n"
        "    time.sleep(0.01)\n"
        "while watches() != 1: assert time.monotonic() < deadline  # that of the first ends soon\n"
    )
    assert output_of(code, TRACEMW_CONTROL_FILE=str(tmp_path / "control.json"), OTEL_TRACES_EXPORTER="none") == ""

"""Spikes: more sampling for a while, in one process or in all that share a control file."""

from __future__ import annotations

import errno
import fcntl
import http.client
import json
import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import SpanKind

from backend import backend_serving
from servers import free_port, process, wait_until
from tracemw import cli, control
from tracemw._otel import guard
from tracemw.control import Spike, Watch
from tracemw.sampling import ConsistentSampler, Rule


def outcome(sampler: ConsistentSampler, trace_id: int, path: str = "/") -> tuple[bool, str, Any]:
    """Whether a request is sampled, its trace state, and its mark."""
    attributes = {"http.request.method": "GET", "url.path": path}
    result = sampler.should_sample(None, trace_id, "GET", SpanKind.SERVER, attributes)
    state = result.trace_state.to_header() if result.trace_state is not None else ""
    marks = {key: value for key, value in (result.attributes or {}).items() if key not in attributes}
    assert marks.keys() <= {"tracemw.spike"}
    return result.decision is Decision.RECORD_AND_SAMPLE, state, marks.get("tracemw.spike")


def some_ids(count: int = 2000) -> list[int]:
    ids = random.Random(7)
    return [ids.getrandbits(128) for _ in range(count)]


def test_a_spike_adds_marked_traces_and_all_that_it_applies_to_carry_its_threshold() -> None:
    sampler = ConsistentSampler(0.1)
    before = {trace_id: outcome(sampler, trace_id) for trace_id in some_ids()}
    sampler.spike(0.5, seconds=60)
    after = {trace_id: outcome(sampler, trace_id) for trace_id in some_ids()}
    assert {each for each in before.values() if each[0]} == {(True, "ot=th:e666", None)}
    for trace_id, was in before.items():
        if was[0]:
            assert after[trace_id] == (True, "ot=th:8", None)
        else:
            assert after[trace_id] in ((True, "ot=th:8", 0.5), (False, "", None))
    assert abs(sum(each[0] for each in after.values()) - 1000) < 110
    assert {trace_id for trace_id, each in after.items() if each[0]} == {
        trace_id for trace_id in before if outcome(ConsistentSampler(0.5), trace_id)[0]
    }


def test_what_is_counted_by_the_threshold_is_the_same_with_a_spike_as_without() -> None:
    def counted(sampler: ConsistentSampler, path: str) -> float:
        found = [outcome(sampler, trace_id, path) for trace_id in some_ids(20_000)]
        states = [state.removeprefix("ot=th:") for is_sampled, state, _ in found if is_sampled]
        thresholds = [int(state.ljust(14, "0"), 16) for state in states]
        return sum(2**56 / (2**56 - threshold) for threshold in thresholds)

    sampler = ConsistentSampler(0.1, [Rule("/poll", 0.02)])
    sampler.spike(0.5, seconds=60, path="/checkout/*")
    sampler.spike(0.05, seconds=60)
    for path in ("/", "/checkout/7", "/poll"):
        assert counted(sampler, path) == pytest.approx(20_000, rel=0.15)


def test_a_spike_only_raises() -> None:
    sampler = ConsistentSampler(0.5, [Rule("/poll", 0.001)])
    sampler.spike(0.1, seconds=60)
    for trace_id in some_ids(200):
        assert outcome(sampler, trace_id) == outcome(ConsistentSampler(0.5), trace_id)
    polled = [outcome(sampler, trace_id, "/poll") for trace_id in some_ids()]
    assert abs(sum(each[0] for each in polled) - 200) < 70


def test_a_spike_of_a_path_is_for_these_requests_only_and_the_highest_of_several_counts() -> None:
    sampler = ConsistentSampler(0.0)
    sampler.spike(1.0, seconds=60, path="GET /checkout/*")
    sampler.spike(0.5, seconds=60)
    high, low = 2**56 - 1, 1
    assert outcome(sampler, low, "/checkout/7") == (True, "ot=th:0", 1.0)
    assert outcome(sampler, high, "/checkout/7") == (True, "ot=th:0", 1.0)
    assert outcome(sampler, low, "/") == (False, "", None)
    assert outcome(sampler, high, "/") == (True, "ot=th:8", 0.5)
    assert sampler.should_sample(None, high, "job").attributes == {"tracemw.spike": 0.5}


class Clock:
    """The time, as far as the sampler knows it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now + 1e9

    def monotonic(self) -> float:
        return self.now


def test_a_spike_ends_by_itself_and_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr("tracemw.sampling.sampler.time", clock)
    sampler = ConsistentSampler(0.0)
    plain = sampler.policy
    sampler.spike(1.0, seconds=10, path="/own")
    sampler.share([Spike(ratio=1.0, path="/shared", until=clock.time() + 20)])

    def sampled() -> list[bool]:
        return [outcome(sampler, 1, path)[0] for path in ("/own", "/shared", "/")]

    assert sampled() == [True, True, False]
    assert sampler.policy.needs_request
    clock.now += 9.99
    assert sampled() == [True, True, False]
    clock.now += 0.01
    assert sampled() == [False, True, False]
    clock.now += 10
    assert sampled() == [False, False, False]
    assert sampler.policy == plain
    assert plain.is_plain


def test_a_spike_takes_the_place_of_one_with_the_same_path_and_can_be_ended() -> None:
    sampler = ConsistentSampler(0.0)
    sampler.spike(1.0, seconds=60, path="/a")
    sampler.spike(0.5, seconds=60, path="/a")
    sampler.spike(1.0, seconds=60, path="/b")
    sampler.share([Spike(ratio=1.0, path="/c", until=time.time() + 60)])
    assert [outcome(sampler, 1, path)[0] for path in ("/a", "/b", "/c")] == [False, True, True]
    sampler.end_spike("/b")
    sampler.end_spike("/c")  # that one is not this process's own
    sampler.end_spike()
    assert [outcome(sampler, 1, path)[0] for path in ("/a", "/b", "/c")] == [False, False, True]
    sampler.share([])
    assert [boost.path for boost in sampler.policy.boosts] == ["/a"]


def test_threads_that_change_spikes_at_once_lose_none() -> None:
    sampler = ConsistentSampler(0.0)

    def change(number: int) -> None:
        for turn in range(100):
            sampler.spike(1.0, seconds=60, path=f"/{number}")
            if turn % 10 == 5:
                sampler.share([Spike(ratio=1.0, path=f"/shared/{number}", until=time.time() + 60)])
            sampler.end_spike(f"/{number}")
        sampler.spike(1.0, seconds=60, path=f"/{number}")

    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switching)
    paths = [boost.path or "" for boost in sampler.policy.boosts]
    assert sorted(path for path in paths if "shared" not in path) == ["/0", "/1", "/2", "/3"]
    assert len(paths) == 5


def run(code: str, **environment: str) -> str:
    """Run `code` in a fresh interpreter, with warnings as errors, and return what it printed."""
    with process("-W", "error", "-W", "ignore::ResourceWarning", "-c", code, env=environment) as running:
        output, _ = running.communicate(timeout=30)
    assert running.returncode == 0, output
    return output


def test_tracing_begins_and_ends_a_spike_in_process() -> None:
    code = (
        "import tracemw\n"
        "tracing = tracemw.init('shop', sampling=0)\n"
        "with tracemw.span('before'): pass\n"
        "tracing.spike(1.0, seconds=600)\n"
        "with tracemw.span('root'):\n"
        "    with tracemw.span('child'): pass\n"
        "tracing.end_spike()\n"
        "with tracemw.span('after'): pass\n"
    )
    with backend_serving() as backend:
        assert run(code, OTEL_EXPORTER_OTLP_ENDPOINT=backend.url) == ""
        spans = {span.name: span for span in backend.spans}
    assert spans.keys() == {"root", "child"}
    assert [(pair.key, pair.value.double_value) for pair in spans["root"].attributes] == [("tracemw.spike", 1.0)]
    assert list(spans["child"].attributes) == []
    assert [span.trace_state for span in spans.values()] == ["ot=th:0", "ot=th:0"]


def test_what_cannot_be_a_spike_is_an_error_and_where_nothing_is_traced_it_does_nothing() -> None:
    code = (
        "import tracemw\n"
        "tracing = tracemw.init('shop')\n"
        "for ratio, seconds, path in ((0, 1, None), (1.5, 1, None), (1, 0, None), (1, 86401, None),\n"
        "                             (1, float('nan'), None), (1, 1, 'GET'), (1, 1, 'PSOT /a')):\n"
        "    try: tracing.spike(ratio, seconds=seconds, path=path)\n"
        "    except ValueError as error: print(error)\n"
        "tracing.spike(1, seconds=86400)\n"
        "tracing.end_spike('/unknown')\n"
    )
    said = run(code, OTEL_SDK_DISABLED="true").splitlines()
    assert [line for line in said if "above 0 and at most 1" in line] == said[:1]
    assert "a number from 0 to 1" in said[1]
    assert [line for line in said if "at most 24 hours" in line] == said[2:5]
    assert "'POST /checkout/*'" in said[5]
    assert "PSOT is not among the methods" in said[6]
    assert len(said) == 7


def test_a_spike_after_the_shutdown_is_an_error(tmp_path: Path) -> None:
    code = (
        "import tracemw\n"
        "first = tracemw.init('shop', sampling=0)\n"
        "first.shutdown()\n"
        "for _ in range(2):\n"
        "    try: first.spike(1, seconds=60)\n"
        "    except RuntimeError as error: print(error)\n"
        "    first.end_spike()\n"
        "    latest = tracemw.init('shop', sampling=0)\n"
        "    latest.spike(1, seconds=60)\n"
        "    latest.shutdown()\n"
    )
    said = run(code, OTEL_TRACES_EXPORTER="none").splitlines()
    assert said == ["tracing has been shut down; spike() is for the Tracing that a later tracemw.init() returns"] * 2


def test_a_control_file_without_its_folder_is_one_warning_at_init(tmp_path: Path) -> None:
    code = "import os, tracemw; tracemw.init('shop'); os.fork() and os.wait()"
    file = tmp_path / "no" / "control.json"
    said = run(code, TRACEMW_CONTROL_FILE=str(file), OTEL_TRACES_EXPORTER="none").splitlines()
    assert len(said) == 1
    assert f"no spike can come from {file}, whose folder is not there" in said[0]
    file.parent.mkdir()
    assert run(code, TRACEMW_CONTROL_FILE=str(file), OTEL_TRACES_EXPORTER="none") == ""


# The control file


def content(*spikes: dict[str, Any], **top: Any) -> str:
    return json.dumps({"version": 1, "spikes": list(spikes), **top})


def put(file: Path, text: str) -> None:
    """Write a file whole: a watch must not see it while it is written."""
    new = file.with_suffix(".new")
    new.write_text(text)
    new.rename(file)


def soon(seconds: float = 60) -> float:
    return time.time() + seconds


MALFORMED = {
    "{": "it is not JSON",
    "[" * 60_000: "it is not JSON",
    " " * 70_000: "it is larger than 65536 bytes",
    "[]": 'it does not say "version": 1',
    "{}": 'it does not say "version": 1',
    '{"version": 2, "spikes": []}': 'it does not say "version": 1',
    '{"version": 1}': 'it lacks "spikes"',
    content(colour="red"): 'it has an unknown key, "colour"',
    content(spikes={}): '"spikes" is not a list',
    content(spikes=[1]): "1 is not a spike",
    content({"ratio": 1.0}): 'it lacks "until"',
    content({"until": 1.0}): 'it lacks "ratio"',
    content({"ratio": 1.0, "until": 1.0, "Path": "/a"}): 'it has an unknown key, "Path"',
    content({"ratio": 1.5, "until": 1.0}): "a number from 0 to 1",
    content({"ratio": 0, "until": 1.0}): "above 0 and at most 1",
    content({"ratio": True, "until": 1.0}): "a number from 0 to 1",
    content({"ratio": None, "until": 1.0}): "a number from 0 to 1",
    content({"ratio": "1.0", "until": 1.0}): '"ratio": "1.0" is not a number',
    content({"ratio": 1.0, "until": "soon"}): "a number of seconds since the epoch",
    content({"ratio": 1.0, "until": float("inf")}): "a number of seconds since the epoch",
    content({"ratio": 1.0, "until": 10**400}): "too large",
    content({"ratio": 1.0, "until": 1.0, "path": 7}): "a request pattern is a string",
    content({"ratio": 1.0, "until": 1.0, "path": "checkout"}): "'POST /checkout/*'",
    content({"ratio": 1.0, "until": 32503680000.0}): "more than 24 hours away",
    content(*[{"ratio": 1.0, "until": 4000000000.0}] * 21).replace("4000000000.0", "{soon}"): "more than 20 spikes",
}


@pytest.mark.parametrize(("text", "reason"), MALFORMED.items(), ids=[str(number) for number in range(len(MALFORMED))])
def test_what_is_no_control_file_says_why(tmp_path: Path, text: str, reason: str) -> None:
    file = tmp_path / "control.json"
    file.write_text(text.replace("{soon}", str(soon())))
    with pytest.raises(control.ControlError) as caught:
        control.read(file)
    assert reason in str(caught.value)
    assert str(caught.value).endswith("; delete it if it is to be a control file, else name another")


def test_spikes_that_have_ended_are_left_out_and_no_file_or_an_empty_one_is_no_spike(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    assert control.read(file) == ()
    for nothing in ("", " \n"):
        file.write_text(nothing)
        assert control.read(file) == ()
    ends = soon()
    file.write_text(content({"ratio": 1, "until": 1.0}, {"ratio": 0.5, "path": "/a", "until": ends}))
    assert control.read(file) == (Spike(ratio=0.5, path="/a", until=ends),)


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at the file every few milliseconds."""
    monkeypatch.setattr(control, "POLL", 0.005)


class Counting(Watch):
    """A watch that counts its looks."""

    looks = 0

    def _look(self) -> None:
        super()._look()
        self.looks += 1

    def look_again(self) -> None:
        """Wait for two looks, the second of which has begun after this call."""
        before = self.looks
        wait_until(lambda: self.looks >= before + 2)


class Taken:
    """What a watch hands out."""

    def __init__(self) -> None:
        self.all: list[tuple[Spike, ...]] = []

    def __call__(self, spikes: tuple[Spike, ...]) -> None:
        self.all.append(spikes)

    @property
    def ratios(self) -> list[float] | None:
        """Those of the latest spikes."""
        return [spike.ratio for spike in self.all[-1]] if self.all else None


@contextmanager
def watching(file: Path, take: Callable[[tuple[Spike, ...]], object]) -> Iterator[Counting]:
    watch = Counting(file, take)
    try:
        yield watch
    finally:
        watch.stop()
    assert not watch._running


@pytest.mark.usefixtures("often")
def test_a_watch_hands_out_each_change_once_and_a_file_that_goes_away_as_no_spike(tmp_path: Path) -> None:
    file, taken = tmp_path / "control.json", Taken()
    with watching(file, taken) as watch:
        watch.look_again()
        for ratio in (0.5, 1.0):
            control.add(file, Spike(ratio=ratio, until=soon()))
            watch.look_again()
            assert taken.ratios == [ratio]
        file.unlink()
        watch.look_again()
        assert taken.ratios == []
        control.add(file, Spike(ratio=0.25, until=soon()))
        watch.look_again()
        assert taken.ratios == [0.25]
        watch.look_again()
    assert len(taken.all) == 4


@pytest.mark.usefixtures("often")
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


@pytest.mark.usefixtures("often")
def test_a_malformed_file_changes_nothing_and_is_reported_once_for_each_content(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "control.json"
    sampler = ConsistentSampler(0.0)
    control.add(file, Spike(ratio=1.0, until=soon()))
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
    assert "it is not a file" in caplog.messages[2]
    assert all(f"{file} is left out, and sampling goes on as before" in message for message in caplog.messages)


@pytest.mark.usefixtures("often")
def test_a_file_that_is_refused_by_a_clock_that_is_behind_is_taken_once_that_is_set_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Clock:
        behind = 48 * 3600.0

        def time(self) -> float:
            return time.time() - self.behind

    clock, file, taken = Clock(), tmp_path / "control.json", Taken()
    monkeypatch.setattr(control, "time", clock)
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


@pytest.mark.usefixtures("often")
def test_a_pipe_in_place_of_the_file_holds_nobody_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "control.json"
    os.mkfifo(file)
    with watching(file, Taken()) as watch:
        watch.look_again()
    assert "it is not a file" in caplog.text


@pytest.mark.usefixtures("often")
def test_a_fault_while_spikes_are_taken_does_not_end_the_watch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(guard, "reraise_own_faults", False)
    file, taken = tmp_path / "control.json", Taken()

    def take(spikes: tuple[Spike, ...]) -> None:
        taken(spikes)
        if len(taken.all) == 1:
            raise RuntimeError("the first time")

    control.add(file, Spike(ratio=0.5, until=soon()))
    with watching(file, take) as watch:
        wait_until(lambda: taken.ratios == [0.5])
        control.add(file, Spike(ratio=1.0, until=soon()))
        watch.look_again()
    assert taken.ratios == [1.0]
    assert "the first time" in caplog.text


@pytest.mark.usefixtures("often")
def test_a_spike_goes_on_to_its_deadline_when_the_file_is_broken_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "control.json"
    sampler = ConsistentSampler(0.0)
    ends = soon()
    control.add(file, Spike(ratio=1.0, until=ends))
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


def test_the_file_is_readable_for_services_of_other_users_and_keeps_its_mode_and_its_links(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    control.add(file, Spike(ratio=1.0, until=soon()))
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    file.chmod(0o640)
    link = tmp_path / "link.json"
    link.symlink_to(file)
    control.remove(link)
    assert link.is_symlink()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert control.read(file) == ()
    assert sorted(tmp_path.iterdir()) == [file, link]


def test_a_file_that_is_replaced_keeps_its_owner_and_group(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    file = tmp_path / "control.json"
    control.add(file, Spike(ratio=1.0, until=soon()))
    os.chown(file, 12345, 23456)
    file.chmod(0o640)
    control.add(file, Spike(ratio=0.5, path="/a", until=soon()))
    found = file.stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (12345, 23456, 0o640)


def test_a_new_file_can_be_read_by_services_of_other_users_whatever_the_umask(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    before = os.umask(0o077)
    try:
        control.add(file, Spike(ratio=1.0, until=soon()))
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o644


@pytest.mark.usefixtures("often")
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
        assert all("it is a link out of its folder, which is not followed" in each.stderr for each in ended)
    assert (target.read_text() if is_there else None) == before
    assert list(target.parent.iterdir()) == ([target] if is_there else [])
    taken = Taken()
    with watching(straight, taken) as watch:
        watch.look_again()
    assert taken.all == []
    assert ("is a link out of its folder" in caplog.text) is is_there


def test_a_folder_that_is_a_link_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to("real")
    control.add(tmp_path / "linked" / "control.json", Spike(ratio=0.5, until=soon()))
    assert [spike.ratio for spike in control.read(tmp_path / "real" / "control.json")] == [0.5]


def test_a_config_map_that_is_replaced_while_it_is_read_is_not_taken_for_one_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version, ratio in (("..1", 0.5), ("..2", 1.0)):
        (tmp_path / version).mkdir()
        (tmp_path / version / "control.json").write_text(content({"ratio": ratio, "until": soon()}))
    (tmp_path / "..data").symlink_to("..1")
    file = tmp_path / "control.json"
    file.symlink_to("..data/control.json")
    read = control._content_of

    def replaced_first(found: Path) -> bytes:
        if found.parent.name == "..1":
            (tmp_path / "..new").symlink_to("..2")
            (tmp_path / "..new").rename(tmp_path / "..data")
            found.unlink()
        return read(found)

    monkeypatch.setattr(control, "_content_of", replaced_first)
    assert [spike.ratio for spike in control.read(file)] == [1.0]


# Clocks that are set


def test_a_clock_that_is_set_back_prolongs_no_shared_spike(monkeypatch: pytest.MonkeyPatch) -> None:
    class SetBack(Clock):
        back = 0.0

        def time(self) -> float:
            return super().time() - self.back

    clock = SetBack()
    monkeypatch.setattr("tracemw.sampling.sampler.time", clock)
    sampler = ConsistentSampler(0.0)
    spike = Spike(ratio=1.0, until=clock.time() + 60)
    sampler.share([spike])
    clock.back = 5 * 3600.0
    sampler.share([spike, Spike(ratio=0.5, path="/a", until=clock.time() + 60)])  # the file has changed, and is read
    clock.now += 59.9
    assert outcome(sampler, 1)[0]
    clock.now += 0.2
    assert not outcome(sampler, 1)[0]
    sampler.share([])
    sampler.share([spike])  # nor does it come back
    assert not outcome(sampler, 1)[0]


def test_a_shared_spike_ends_after_24_hours_in_each_process_whatever_the_clock_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock()
    monkeypatch.setattr("tracemw.sampling.sampler.time", clock)
    sampler = ConsistentSampler(0.0)
    spike = Spike(ratio=1.0, until=clock.time() + 10 * 24 * 3600)
    for _ in range(24):
        sampler.share([spike])
        assert outcome(sampler, 1)[0]
        clock.now += 3600
    sampler.share([spike])
    assert not outcome(sampler, 1)[0]
    clock.now += 5 * 24 * 3600
    sampler.share([spike])
    assert not outcome(sampler, 1)[0]


# The command


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tracemw", "spike", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=20,
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
    assert [vars(each) for each in control.read(file)] == shown["spikes"]
    spike("1.0", "--for", "1m", "--path", "/login")
    assert spike("--off", "--path", "POST /checkout/*") == f"ended 1 spike in {file}:\n0.25 of POST /checkout/*\n"
    assert spike("--off", "--path", "GET /") == f"no spike of GET / is active in {file}\n"
    assert [each.path for each in control.read(file)] == [None, "/login"]
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
    (spike,) = control.read(file)
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
    assert "Set TRACEMW_CONTROL_FILE, to the path that the services have too, or pass --file" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "such as 1.0 --for 10m"),
        (("1.0",), "such as 1.0 --for 10m"),
        (("--for", "10m"), "such as 1.0 --for 10m"),
        (("1.5", "--for", "10m"), "a number from 0 to 1"),
        (("0", "--for", "10m"), "above 0 and at most 1"),
        (("1", "--for", "10"), "not a time such as 30s, 10m, 1h30m or 1d"),
        (("1", "--for", ""), "not a time such as 30s, 10m, 1h30m or 1d"),
        (("1", "--for", "1e3m"), "not a time such as 30s, 10m, 1h30m or 1d"),
        (("1", "--for", "30m1h"), "not a time such as 30s, 10m, 1h30m or 1d"),
        (("1", "--for", "0s"), "at most 24 hours, not 0s"),
        (("1", "--for", "25h"), "at most 24 hours, not 25h"),
        (("1", "--for", "1d1s"), "at most 24 hours, not 1d1s"),
        (("1", "--for", "1m", "--path", "checkout"), "'POST /checkout/*'"),
        (("1", "--for", "1m", "--path", "PSOT /checkout/*"), "PSOT is not among the methods"),
        (("1", "--off"), "--status and --off take neither"),
        (("--status", "--path", "/a"), "--status shows all spikes"),
        (("--status", "--file", ""), "it takes the path of a file, and got nothing"),
        (("--status", "--file", "/no/such/folder/control.json"), "its folder must be there"),
        (("--off", "--file", "/no/such/folder/control.json"), "its folder must be there"),
        (("--status", "--off"), "not allowed with"),
        (("--off", "--json"), "--json goes with --status"),
        (("--status", "--file", "/"), "it is not a file"),
        (("--off", "--file", "/etc/hostname"), "it is not JSON"),
        (("1", "--for", "1m", "--file", "/no/such/folder/control.json"), "its folder must be there"),
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
        assert "delete it if it is to be a control file, else name another" in ended.stderr
        assert "Traceback" not in ended.stderr
    assert file.read_text() == "mine"


def test_a_control_file_takes_a_limited_number_of_spikes(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    for number in range(control.MOST_SPIKES):
        control.add(file, Spike(ratio=1.0, path=f"/{number}", until=soon()))
    control.add(file, Spike(ratio=0.5, path="/1", until=soon()))
    with pytest.raises(control.ControlError, match="20 spikes already"):
        control.add(file, Spike(ratio=1.0, until=soon()))
    assert len(control.read(file)) == control.MOST_SPIKES


def test_help_has_an_example_and_the_command_loads_no_sdk() -> None:
    assert "example:\n  export TRACEMW_CONTROL_FILE=" in command("--help").stdout
    code = "import sys, tracemw.control; print([m for m in sys.modules if m.startswith('opentelemetry.sdk')])"
    assert run(code) == "[]\n"


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


def held(file: Path) -> int:
    """Hold the lock of a control file, so that commands come to wait for one another."""
    handle = os.open(file.parent, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


def test_of_eight_spikes_that_begin_at_once_all_are_in_the_file(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    paths = [f"/{number}" for number in range(8)]
    lock = held(file)
    commands = [started("1", "--for", "10m", "--path", path, "--file", str(file)) for path in paths]
    os.close(lock)
    all_end(commands)
    assert sorted(str(spike.path) for spike in control.read(file)) == paths
    assert list(tmp_path.iterdir()) == [file]


def test_spikes_that_end_while_others_begin_are_the_only_ones_that_do(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    for number in range(4):
        control.add(file, Spike(ratio=1.0, path=f"/old/{number}", until=soon()))
    all_end(
        [
            *(started("--off", "--path", f"/old/{number}", "--file", str(file)) for number in range(4)),
            *(started("1", "--for", "10m", "--path", f"/new/{number}", "--file", str(file)) for number in range(4)),
        ]
    )
    assert sorted(str(spike.path) for spike in control.read(file)) == [f"/new/{number}" for number in range(4)]


def test_threads_of_many_writers_lose_nothing_by_way_of_a_link_either(tmp_path: Path) -> None:
    file, link = tmp_path / "control.json", tmp_path / "link.json"
    link.symlink_to("control.json")
    writers = [
        threading.Thread(
            target=control.add, args=((file, link)[number % 2], Spike(ratio=1.0, path=f"/{number}", until=soon()))
        )
        for number in range(16)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(control.read(file)) == 16


def test_where_a_folder_cannot_be_locked_a_file_beside_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flock, locked = fcntl.flock, []

    def as_nfs_has_it(handle: int, operation: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        locked.append(str(Path(f"/proc/self/fd/{handle}").readlink()))
        flock(handle, operation)

    monkeypatch.setattr(fcntl, "flock", as_nfs_has_it)
    file = tmp_path / "control.json"
    control.add(file, Spike(ratio=1.0, until=soon()))
    assert locked == [str(tmp_path / ".control.json.lock")]
    assert len(control.read(file)) == 1


def test_where_nothing_can_be_locked_a_spike_begins_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    file = tmp_path / "control.json"
    control.add(file, Spike(ratio=1.0, until=soon()))
    assert len(control.read(file)) == 1


def test_a_lock_that_somebody_does_not_let_go_of_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "_LONGEST_TURN", 0.05)
    file = tmp_path / "control.json"
    lock = held(file)
    try:
        with pytest.raises(control.ControlError, match="another process has held its lock"):
            control.add(file, Spike(ratio=1.0, until=soon()))
    finally:
        os.close(lock)
    control.add(file, Spike(ratio=1.0, until=soon()))


@pytest.mark.usefixtures("often")
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


# Services

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
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
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
            wait_until(lambda: workers.all_are(False), timeout=20)
            assert backend.spans == []
            assert cli.main(["spike", "1.0", "--for", "4s", "--file", str(file)]) == 0
            (spike,) = control.read(file)
            wait_until(lambda: workers.all_are(True), timeout=2)
            wait_until(lambda: workers.all_are(False))
            assert time.time() >= spike.until
            for _ in range(20):
                workers.ask()
                assert set(workers.sampled.values()) == {False}
    assert len(backend.spans) >= 2
    for span in backend.spans:
        assert span.trace_state == "ot=th:0"
        assert [pair.value.double_value for pair in span.attributes if pair.key == "tracemw.spike"] == [1.0]


WATCHES = (
    "import sys\n"
    "def names(frame):\n"
    "    while frame:\n"
    "        if frame.f_code.co_filename.endswith('control.py'): yield frame.f_code.co_name\n"
    "        frame = frame.f_back\n"
    "def watches(): return sum('_run' in names(frame) for frame in sys._current_frames().values())\n"
)
"""Counts the threads that watch a control file: they are none of threading's."""


def test_a_forked_child_watches_too_and_no_process_forks_beside_the_thread_or_keeps_it_after_shutdown(
    tmp_path: Path,
) -> None:
    file = tmp_path / "control.json"
    control.add(file, Spike(ratio=1.0, until=soon()))
    code = WATCHES + (
        "import os, time, tracemw\n"
        "def sampled():\n"
        "    with tracemw.span('work') as span: return span.is_recording()\n"
        "def eventually(condition):\n"
        "    deadline = time.monotonic() + 10\n"
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
    assert run(code, TRACEMW_CONTROL_FILE=str(file), OTEL_TRACES_EXPORTER="none") == ""


def test_threads_that_fork_at_once_leave_one_watch(tmp_path: Path) -> None:
    code = WATCHES + (
        "import os, threading, time, tracemw\n"
        "def one():\n"
        "    deadline = time.monotonic() + 10\n"
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
    assert run(code, PYTHONWARNINGS="ignore", **environment) == ""


def test_a_second_init_watches_with_its_own_sampler(tmp_path: Path) -> None:
    code = WATCHES + (
        "import os, time, tracemw\n"
        "from pathlib import Path\n"
        "from tracemw import control\n"
        "tracemw.init('first', sampling=0)\n"
        "tracemw.shutdown()\n"
        "tracing = tracemw.init('second', sampling=0)\n"
        "control.add(Path(os.environ['TRACEMW_CONTROL_FILE']), control.Spike(ratio=1.0, until=time.time() + 60))\n"
        "deadline = time.monotonic() + 10\n"
        "while True:\n"
        "    with tracemw.span('work') as span:\n"
        "        if span.is_recording(): break\n"
        "    assert time.monotonic() < deadline\n"
        "    time.sleep(0.01)\n"
        "while watches() != 1: assert time.monotonic() < deadline  # that of the first ends soon\n"
    )
    assert run(code, TRACEMW_CONTROL_FILE=str(tmp_path / "control.json"), OTEL_TRACES_EXPORTER="none") == ""

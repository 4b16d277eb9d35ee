"""Spikes in one process: more sampling for a while, and only that."""

from __future__ import annotations

import random
import sys
import threading
import time
from pathlib import Path

import pytest

from backend import backend_serving
from spikes.spiking import Clock, outcome, output_of
from tracemw.sampling import ConsistentSampler, Rule
from tracemw.spikes import Spike


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
        assert output_of(code, OTEL_EXPORTER_OTLP_ENDPOINT=backend.url) == ""
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
    said = output_of(code, OTEL_SDK_DISABLED="true").splitlines()
    assert [line for line in said if "above 0 and at most 1" in line] == said[:1]
    assert "a number from 0 to 1" in said[1]
    assert [line for line in said if "at most 24 hours" in line] == said[2:5]
    assert "'POST /checkout/*'" in said[5]
    assert "or name PSOT and all others in OTEL_" in said[6]
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
    said = output_of(code, OTEL_TRACES_EXPORTER="none").splitlines()
    assert said == ["tracing has been shut down; spike() is for the Tracing that a later tracemw.init() returns"] * 2


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

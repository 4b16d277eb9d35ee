"""What only several traces tell: who often fails its callers, and who holds connections in trace after trace."""

from __future__ import annotations

import random
from collections.abc import Iterator

from analysis.evaluation.labelled import Labelled
from analysis.evaluation.scene import INTERNAL, Scene, document
from analysis.evaluation.stacks import STACKS, Stack

_ANY: frozenset[str] = frozenset()


def make_sets(rng: random.Random, times: int) -> Iterator[Labelled]:
    """Give each kind of set so many times, each time in another stack."""
    for stack in rng.sample(STACKS, times):
        broken = {"failing-dependency": _ANY}
        for how, status, error in (
            ("5xx", 503, None),
            ("timeouts", 0, ("httpx.ReadTimeout", "timed out")),
            ("broken connections", 0, ("httpx.ConnectError", "Connection refused")),
        ):
            yield _calls(rng, stack, f"failing-dependency, present: {how}", 40, 4, status, error, broken)
        yield _calls(rng, stack, "failing-dependency, present: five of five", 5, 5, 500, None, broken)
        yield _calls(rng, stack, "failing-dependency, just below: 4 %", 75, 3, 503, None, {})
        yield _calls(rng, stack, "failing-dependency, just below: four calls", 4, 2, 503, None, {})
        yield _calls(rng, stack, "failing-dependency, absent: 404", 30, 12, 404, None, {})
        yield _waits(rng, stack, "leaked-connection, present: one line in six traces", 6, {"leaked-connection": _ANY})
        yield _waits(rng, stack, "leaked-connection, just below: one line in one trace", 1, {})


def _calls(
    rng: random.Random,
    stack: Stack,
    name: str,
    calls: int,
    failing: int,
    status: int,
    error: tuple[str, str] | None,
    expected: dict[str, frozenset[str]],
) -> Labelled:
    scenes = []
    for number in range(calls):
        scene = Scene(rng, stack)
        with scene.serving():
            scene.ordinary(50)
            if number < failing:
                scene.call(20, "quotes", f"/prices/{number}", serve=False, status=status, error=error)
            else:
                scene.call(20, "quotes", f"/prices/{number}")
            scene.ordinary(60)
        scenes.append(scene)
    rng.shuffle(scenes)
    return Labelled(
        name=f"{name} ({stack.name})",
        document=document(scenes),
        expected=expected,
        allowed=frozenset({"swallowed-error", "killed"}),
        over_all=True,
    )


def _waits(rng: random.Random, stack: Stack, name: str, traces: int, expected: dict[str, frozenset[str]]) -> Labelled:
    scenes = []
    for _ in range(traces):
        scene = Scene(rng, stack)
        with scene.serving():
            scene.ordinary(60)
            told = {
                "tracemw.pool.waited_for": "a free connection",
                "tracemw.pool.size": 5,
                "tracemw.pool.held": 5,
                "tracemw.pool.holders.line": ["/srv/shop/reports.py:31 in export"],
                "tracemw.pool.holders.trace_id": ["ab" * 16],
                "tracemw.pool.holders.age": [rng.uniform(5, 90)],
            }
            scene.begin("pool wait", INTERNAL, told)
            scene.work(rng.uniform(120, 400))
            scene.finish()
            scene.ordinary(200)
        scenes.append(scene)
    return Labelled(
        name=f"{name} ({stack.name})",
        document=document(scenes),
        expected=expected,
        allowed=frozenset({"pool-wait"}),
        over_all=True,
    )

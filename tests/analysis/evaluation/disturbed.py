"""Faults in traces as they arrive: clocks apart, spans lost, doubled or out of order, two faults at a time."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

from analysis.evaluation import failing, injected, unusual
from analysis.evaluation.fault import CASES, PRESENT, Case, play
from analysis.evaluation.labelled import Labelled
from analysis.evaluation.scene import Scene, document
from analysis.evaluation.stacks import STACKS, Stack

__all__ = ["failing", "injected", "make_disturbed", "make_faults", "unusual"]

_APART = 10.0
"""Milliseconds from which clocks are apart."""


def make_faults(rng: random.Random, times: int) -> Iterator[Labelled]:
    """Give each case so many times, each time in another stack."""
    for each in CASES:
        for stack in rng.sample(STACKS, times):
            yield play(Scene(rng, stack), [each])


def make_disturbed(rng: random.Random, times: int) -> Iterator[Labelled]:
    """Give each fault so many times with each disturbance, and together with other cases."""
    faults = [each for each in CASES if each.level == PRESENT]
    inner = [each for each in CASES if not each.whole]
    for each in faults:
        for disturb in (_shift_clocks, _lose_a_span, _double, _reorder, _put_behind_sidecars):
            for stack in rng.sample(STACKS, times):
                yield from disturb(rng, stack, each)
        if not each.whole:
            for stack in rng.sample(STACKS, times):
                other = rng.choice([case for case in inner if _go_together(each, case)])
                pair = [other, each] if other.level != PRESENT or rng.random() < 0.5 else [each, other]
                scene = Scene(rng, stack)
                yield replace(play(scene, pair), name=f"{each.name}, with {other.name} ({stack.name})")


def _go_together(one: Case, other: Case) -> bool:
    """Whether two cases can be in one request without changing what the other one is."""
    return one.code != other.code and {one.code, other.code} not in (
        {"swallowed-error", "retry-storm"},
        {"n-plus-one", "wide-trace"},
        {"killed", "broken-trace"},
    )


Disturb = Callable[[random.Random, Stack, Case], Iterator[Labelled]]


def _shift_clocks(rng: random.Random, stack: Stack, each: Case) -> Iterator[Labelled]:
    """Move the spans of each callee by some milliseconds or minutes, in either direction."""
    if each.code == "broken-trace":
        return
    scene = Scene(rng, stack)
    made = play(scene, [each])
    own = scene.root.service
    offsets = {span.service: rng.choice((-1, 1)) * rng.choice((4, 30, 700, 90_000)) for span in scene.spans}
    offsets[own] = 0
    if len(offsets) == 1:
        return
    for span in scene.spans:
        span.start += offsets[span.service]
        span.end += offsets[span.service]
        span.events = [(name, at + offsets[span.service], told) for name, at, told in span.events]
    by_id = {span.span_id: span for span in scene.spans}
    expected = dict(made.expected)
    allowed = set(made.allowed)
    pairs = [(by_id[span.parent_id], span) for span in scene.spans if span.parent_id in by_id]
    early = [pair for pair in pairs if pair[0].service != pair[1].service and pair[1].start < pair[0].start - _APART]
    if early:
        expected["broken-trace"] = frozenset(span.span_id for pair in early for span in pair)
    late = [pair for pair in pairs if pair[0].service != pair[1].service and pair[1].start > pair[0].end]
    if early:
        expected["broken-trace"] |= {span.span_id for pair in late for span in pair}
    elif late:
        allowed.add("broken-trace")
    name = f"clocks apart: {made.name}"
    yield replace(
        made, name=name, document=document([scene]), expected=expected, allowed=frozenset(allowed - set(expected))
    )


def _lose_a_span(rng: random.Random, stack: Stack, each: Case) -> Iterator[Labelled]:
    """Lose one span that has spans beneath it, and is none of those that the fault is about."""
    if each.code == "broken-trace":
        return
    scene = Scene(rng, stack)
    made = play(scene, [each])
    proofs = frozenset().union(*made.expected.values())
    parents = {span.parent_id for span in scene.spans}
    losable = [
        span
        for span in scene.spans
        if span.name.startswith("step ") and span.span_id in parents and span.span_id not in proofs
    ]
    if not losable:
        return
    lost = rng.choice(losable)
    scene.spans.remove(lost)
    orphans = frozenset(span.span_id for span in scene.spans if span.parent_id == lost.span_id)
    expected = {**made.expected, "broken-trace": orphans}
    allowed = made.allowed - set(expected)
    yield replace(
        made, name=f"a span lost: {made.name}", document=document([scene]), expected=expected, allowed=allowed
    )


def _double(rng: random.Random, stack: Stack, each: Case) -> Iterator[Labelled]:
    """Deliver some or all spans twice, as a retry of an exporter does."""
    scene = Scene(rng, stack)
    made = play(scene, [each])
    share = rng.choice((0.3, 1.0))
    scene.spans += [replace(span) for span in scene.spans if rng.random() < share]
    yield replace(made, name=f"doubled: {made.name}", document=document([scene]))


def _reorder(rng: random.Random, stack: Stack, each: Case) -> Iterator[Labelled]:
    """Deliver the spans in any order, as several processes do."""
    scene = Scene(rng, stack)
    made = play(scene, [each])
    rng.shuffle(scene.spans)
    yield replace(made, name=f"out of order: {made.name}", document=document([scene]))


def _put_behind_sidecars(rng: random.Random, stack: Stack, each: Case) -> Iterator[Labelled]:
    """Have each service's sidecar record its calls once more."""
    if each.code in ("killed", "bottleneck"):
        return  # a sidecar answers 503 where a call breaks, and takes the time of its call
    made = play(Scene(rng, stack, mesh=True), [each])
    yield replace(made, name=f"behind sidecars: {made.name}")

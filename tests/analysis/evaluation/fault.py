"""One thing that is wrong with a trace, and the frame of ordinary life around it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from analysis.evaluation.labelled import Labelled
from analysis.evaluation.scene import Scene, Told, document

PRESENT, BELOW, ABSENT = "present", "just below", "absent"


@dataclass(kw_only=True)
class Fault:
    """What has been done to a trace."""

    expected: Mapping[str, Sequence[Told]] = field(default_factory=dict)
    allowed: frozenset[str] = frozenset()
    fails: tuple[str, str] | None = None
    """The exception that leaves the request, if the fault brings it down; an empty one leaves no record."""

    causes: tuple[str, ...] = ()
    """What may come first; the first of what is expected when nothing else is said."""


Injection = Callable[[Scene], Fault]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A fault, or what looks like one and is none."""

    code: str
    level: str
    inject: Injection
    whole: bool
    """Whether the injection makes the whole trace."""

    @property
    def name(self) -> str:
        """The case in words."""
        return f"{self.code}, {self.level}: {self.inject.__name__.replace('_', ' ')}"


CASES: list[Case] = []


def case(code: str, level: str = PRESENT, *, whole: bool = False) -> Callable[[Injection], Injection]:
    """Register an injection as a case."""

    def register(inject: Injection) -> Injection:
        CASES.append(Case(code=code, level=level, inject=inject, whole=whole))
        return inject

    return register


def play(scene: Scene, cases: Sequence[Case]) -> Labelled:
    """Have one or several cases happen in one request."""
    if cases[0].whole:
        faults = [cases[0].inject(scene)]
    else:
        with scene.serving() as root:
            scene.ordinary(scene.rng.uniform(60, 150))
            faults = []
            for each in cases:
                began = scene.t
                fault = each.inject(scene)
                faults.append(fault)
                if fault.fails:
                    clean_up(scene)
                    put_failure(scene, root, fault.fails)
                    if scene.rng.random() < 0.7:  # a span of the framework between, which some leave unmarked
                        put_exception(scene, scene.innermost, fault.fails)
                    break
                scene.ordinary(max(scene.rng.uniform(60, 150), (scene.t - began) * 0.4))
    return label(scene, cases, faults)


def clean_up(scene: Scene) -> None:
    """Do what a request still does after its failure."""
    how = scene.rng.random()
    if how < 0.25:
        scene.query(0.9, "ROLLBACK", table="orders")
    elif how < 0.4:
        with scene.inside("render error page"):
            scene.work(2)
    scene.work(1)


def put_failure(scene: Scene, span: Told, failure: tuple[str, str]) -> None:
    """Have a request answer 500 because of an exception."""
    status = "http.status_code" if scene.stack.old else "http.response.status_code"
    span.attributes[status] = 500
    span.failed = True
    put_exception(scene, span, failure)


def put_exception(scene: Scene, span: Told, failure: tuple[str, str]) -> None:
    """Have an exception leave a span, once."""
    if failure[0] and not any(event[0] == "exception" for event in span.events):
        span.failed = True
        span.events.append(("exception", scene.t, scene.stack.failed(*failure)))


def label(scene: Scene, cases: Sequence[Case], faults: Sequence[Fault]) -> Labelled:
    """Return the trace with what has to be found in it."""
    expected: dict[str, frozenset[str]] = {}
    allowed: set[str] = set()
    for fault in faults:
        for code, spans in fault.expected.items():
            expected[code] = expected.get(code, frozenset()) | {span.span_id for span in spans}
        allowed |= fault.allowed
    if "bottleneck" not in expected and share_of_one_span(scene) >= 0.78:
        allowed.add("bottleneck")
    if most_children(scene) > 50:
        allowed.add("wide-trace")
    if any(fault.fails for fault in faults) and len(faults) > 1 and "swallowed-error" in expected:
        allowed.add("swallowed-error")  # the request does not look fine
        del expected["swallowed-error"]
    causes = [fault.causes or tuple(fault.expected)[:1] for fault in faults if fault.expected]
    return Labelled(
        name=f"{' and '.join(each.name for each in cases)} ({scene.stack.name})",
        document=document([scene]),
        expected=expected,
        allowed=frozenset(allowed - set(expected)),
        causes=causes[0] if len(causes) == 1 else (),
    )


def most_children(scene: Scene) -> int:
    """Return how many spans are beneath one span, at most."""
    counts: dict[str, int] = {}
    for span in scene.spans:
        counts[span.parent_id] = counts.get(span.parent_id, 0) + int(span.attributes.get("tracemw.folded.count", 1))
    return max(counts.values())


def share_of_one_span(scene: Scene) -> float:
    """Return how much of the trace the largest own time of one span is."""
    root = scene.root
    own = [_own(span, scene) for span in scene.spans if span.start < root.end]
    return max(own) / max(root.end - root.start, 0.001)


def _own(span: Told, scene: Scene) -> float:
    below = sorted((each.start, each.end) for each in scene.spans if each.parent_id == span.span_id)
    own, reached = 0.0, span.start
    for start, end in below:
        own += max(0.0, start - reached)
        reached = max(reached, min(end, span.end))
    return own + max(0.0, span.end - reached)

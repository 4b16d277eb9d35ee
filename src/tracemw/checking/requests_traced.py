"""What is wrong with how requests are traced, from what has been seen of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from tracemw._otel.application import is_application
from tracemw.checking.asking import SeenRequest
from tracemw.checking.layers import Layer, dispatches, framework_of, has_door, is_door, is_general_door, within
from tracemw.checking.problems import CodePlace, Problem
from tracemw.checking.skipping import skips_all
from tracemw.checking.where_made import place_of_code
from tracemw.lint.doors import Framework

_TRACEMW: Final = "tracemw"
"""The instrumentation scope of doors."""
_UNASKED: Final = frozenset({"fastapi"})
"""The scopes of spans that a framework makes by itself. A door makes more of a request, and takes over from them."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """The application, and where it is made."""

    shown: str
    """As the user has named it, such as `shop.main:app`."""
    application: Any
    """What servers call."""
    protocol: str
    inner: Any
    """The outermost application of a framework; without one, what servers call."""
    framework: Framework | None
    name: str | None
    """The variable that holds `inner` where it is made; None if that is not known."""
    served: str
    """The variable that holds what servers call."""
    place: CodePlace | None
    served_at: CodePlace | None
    """Where the variable that servers are told gets what they call."""

    @property
    def line(self) -> str:
        """The line that adds the door."""
        if self.framework is None or self.name is None:
            return self.line_around
        return self.framework.line_for(self.name)

    @property
    def line_around(self) -> str:
        """The line that puts a door around all that servers call."""
        return f"{self.served} = tracemw.{self.protocol}.TraceMiddleware({self.served})"


def traced_by(seen: SeenRequest) -> str | None:
    """Return what has made the SERVER span of a request: a door, or another instrumentation; None for nothing."""
    for span in seen.spans:
        if span.scope in _UNASKED:
            continue
        doors = [layer for layer in span.outside if is_door(layer.owner)]
        return _class_of(doors[-1]) if span.scope == _TRACEMW and doors else span.scope
    if seen.exchange is not None and not seen.is_skipped and seen.doors:
        return _class_of(seen.doors[0])  # into a provider of its own
    return None


def problems_of(made: Made, seen: SeenRequest, beneath_mounts: Iterable[SeenRequest] = ()) -> Iterator[Problem]:
    """Give what is wrong.

    Args:
        made: The application.
        seen: What has been seen of a request to it.
        beneath_mounts: The same of requests to what is mounted in it.
    """
    mounted = list(beneath_mounts)
    if traced_by(seen) is not None:
        yield from _of_the_door(made, seen)
        yield from (_mounted(made, each) for each in mounted if traced_by(each) is None and not each.doors)
    elif not seen.doors:  # a door that was passed has left the request out
        hidden = any(map(has_door, within(made.application)))
        yield _hidden(made, seen) if hidden else _without_door(made, seen, mounted)
    if seen.exchange is not None and (paths := skips_all(seen.exchange, made.inner, seen.path)):
        told = ", ".join(paths[:3]) + (", ..." if len(paths) > 3 else "")
        of = "every request" if paths == [seen.path] else f"all that the application serves ({told})"
        yield Problem(
            code="skips-all",
            sentence=f"skip= of the TraceMiddleware leaves out {of}",
            remedy="have skip= name what is not to be traced, and no more",
            place=made.place,
        )


def _of_the_door(made: Made, seen: SeenRequest) -> Iterator[Problem]:
    if len(seen.spans) > 1:
        scopes = " and ".join(sorted(span.scope for span in seen.spans))
        yield Problem(
            code="traced-twice",
            sentence=f"a request has {len(seen.spans)} SERVER spans, of {scopes}",
            remedy="leave out the instrumentation beside the TraceMiddleware",
            place=made.place,
        )
    outside = list(_before_a_door(seen.spans[0].outside if seen.spans else seen.layers))
    if outside and (not seen.spans or seen.spans[0].scope == _TRACEMW):
        names = " and ".join(layer.name for layer in outside)
        yield Problem(
            code="not-outermost",
            sentence=f"{names} {'stand' if len(outside) > 1 else 'stands'} outside of the TraceMiddleware: what "
            "answers or fails there is in no trace",
            remedy=_remedy_outside(made, outside[0]),
            place=_place_of(outside[0]) or made.served_at or made.place,
        )
    doors = seen.doors
    if _has_useless_door(seen.layers):
        yield Problem(
            code="door-twice",
            sentence="the TraceMiddleware is there more than once; the inner one does nothing, and its options count "
            "for nothing",
            remedy="leave out all but one of them",
            place=made.place,
        )
    if doors and made.framework is not None and not _is_of(made.framework, doors):
        yield Problem(
            code="other-door",
            sentence=f"{made.framework.name} is traced by {_class_of(doors[-1])}, which does not know its routes",
            remedy=f"use the door for it: {made.framework.line_for(made.name or made.served)}",
            place=made.place,
        )


def _hidden(made: Made, seen: SeenRequest) -> Problem:
    answering = next((layer for layer in reversed(seen.layers) if not layer.is_transparent), None)
    what = "answered" if seen.error is None else "failed"
    return Problem(
        code="not-outermost",
        sentence=f"a request was {what} by {answering.name if answering else 'another layer'}, outside of the "
        "TraceMiddleware, and is in no trace",
        remedy=f"put the TraceMiddleware outside: {made.line_around}",
        place=(_place_of(answering) if answering else None) or made.served_at or made.place,
    )


def _mounted(made: Made, seen: SeenRequest) -> Problem:
    return Problem(
        code="mount-without-door",
        sentence=f"requests beneath {_prefix(seen.path)} are not traced: what is mounted there has no TraceMiddleware",
        remedy=f"put one around all: {made.line_around}",
        place=made.served_at,
    )


def _without_door(made: Made, seen: SeenRequest, mounted: list[SeenRequest]) -> Problem:
    traced = ", ".join(_prefix(each.path) for each in mounted if traced_by(each) is not None)
    if traced:
        sentence = f"requests to {made.shown} are traced beneath {traced} only"
    elif seen.spans:
        sentence = (
            f"requests to {made.shown} have the spans of {made.framework and made.framework.name}'s own telemetry only"
        )
    else:
        sentence = f"no request to {made.shown} is traced"
    around = any(dispatches(each) for each in within(made.application))
    return Problem(
        code="no-door",
        sentence=f"{sentence}: there is no TraceMiddleware",
        remedy=f"add: {made.line_around if around else made.line}",
        place=made.served_at if around else made.place,
    )


def _before_a_door(layers: Iterable[Layer]) -> Iterator[Layer]:
    for layer in layers:
        if is_door(layer.owner):
            return
        if not layer.is_transparent:
            yield layer


def _has_useless_door(layers: Iterable[Layer]) -> bool:
    """Tell whether a door adds nothing to one outside of it.

    A door of a framework tells the route to a general one outside. Doors of two applications, one mounted in the other,
    are both of use.
    """
    outer = None
    for layer in layers:
        if framework_of(layer.owner) is not None:
            outer = None
        elif is_door(layer.owner):
            if outer is not None and (is_general_door(layer.owner) or not is_general_door(outer)):
                return True
            outer = layer.owner
    return False


def _is_of(framework: Framework, doors: Iterable[Layer]) -> bool:
    return any(kind.__module__ == framework.door for layer in doors for kind in type(layer.owner).__mro__)


def _class_of(door: Layer) -> str:
    return f"{type(door.owner).__module__}.TraceMiddleware"


def _remedy_outside(made: Made, layer: Layer) -> str:
    if made.framework is not None and made.framework.door == "tracemw.flask" and made.application is made.inner:
        return f"put the TraceMiddleware outside: call {made.line} after {layer.name} is there"
    return f"put the TraceMiddleware outside: {made.line_around}"


def _place_of(layer: Layer) -> CodePlace | None:
    return place_of_code(layer.path, layer.line) if is_application(layer.path) else None


def _prefix(path: str) -> str:
    return path.rpartition("/")[0] or "/"

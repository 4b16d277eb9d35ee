"""How an object that is there already comes to trace: its class becomes one that is derived from its own."""

from __future__ import annotations

from typing import Any


def traced_class(kind: Any, by: type) -> Any:
    """Return the class derived from `kind` that traces as the class `by` says; it has the name of `kind`."""
    for derived in type.__subclasses__(kind):
        if untraced_class(derived) is kind:
            return derived
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind)(kind.__name__, (by, kind), {**names, "__init__": kind.__init__, "_tracemw_of": kind})


def untraced_class(kind: type) -> Any:
    """Return the class that `traced_class` has derived this one from; None for a class of any other origin."""
    return vars(kind).get("_tracemw_of")

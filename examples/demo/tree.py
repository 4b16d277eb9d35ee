"""A trace as a tree in the terminal."""

from collections.abc import Iterator

from rich.text import Text

from examples.demo.traces import Span, Trace

LINES = ("├─ ", "│  ", "└─ ")
LINES_ASCII = ("|- ", "|  ", "`- ")


def draw(trace: Trace, *, ascii_only: bool = False) -> Iterator[Text]:
    """Yield one line a span: its place in the tree, service, kind, duration, and its error."""
    rows = list(walk(trace, LINES_ASCII if ascii_only else LINES))
    name_width = max((len(indent + span.name) for indent, span in rows), default=0)
    service_width = max((len(span.service) for _, span in rows), default=0)
    for indent, span in rows:
        yield Text.assemble(
            (indent, "dim"),
            (span.name.ljust(name_width - len(indent)), "bold red" if span.failed else "bold"),
            (f"  {span.service:<{service_width}}", "cyan"),
            (f"  {span.kind:<8}", "dim"),
            f"  {span.milliseconds:7.1f} ms",
            (f"  {describe_error(trace, span)}".rstrip(), "red"),
        )


def walk(trace: Trace, lines: tuple[str, str, str] = LINES) -> Iterator[tuple[str, Span]]:
    """Yield each span below the root, parents first, with the lines that lead to it."""
    branch, trunk, corner = lines

    def below(parent: Span, indent: str) -> Iterator[tuple[str, Span]]:
        children = trace.children(parent)
        for child in children:
            last = child is children[-1]
            yield indent + (corner if last else branch), child
            yield from below(child, indent + (" " * len(trunk) if last else trunk))

    for root in trace.roots:
        yield "", root
        yield from below(root, "")


def describe_error(trace: Trace, span: Span) -> str:
    """Return the type of the span's error, and its stage where it comes from; '' for a good span."""
    if not span.failed:
        return ""
    # Without its module: the service says where to look.
    error = f"ERROR {str(span.attributes.get('error.type', '')).rpartition('.')[2]}".rstrip()
    if any(child.failed for child in trace.children(span)):
        return error
    stage = span.attributes.get("error.stage")
    return f"{error} at its source" + (f", stage {stage}" if stage else "")

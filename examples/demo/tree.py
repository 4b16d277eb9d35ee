"""A trace as a tree in the terminal."""

from collections.abc import Iterator

from rich.table import Table
from rich.text import Text

from examples.demo.traces import Span, Trace

LINES = ("├─ ", "│  ", "└─ ")
LINES_ASCII = ("|- ", "|  ", "`- ")


def draw(trace: Trace, *, ascii_only: bool = False) -> Table:
    """Return one row a span: its place in the tree, service, kind, duration, and its error."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("span", overflow="fold")
    table.add_column("service")
    table.add_column("kind")
    table.add_column("ms", justify="right")
    table.add_column("error", overflow="fold")
    for indent, span in walk(trace, LINES_ASCII if ascii_only else LINES):
        table.add_row(
            Text(indent, "dim").append(span.name, "bold red" if span.failed else "bold"),
            Text(span.service, "cyan"),
            Text(span.kind, "dim"),
            Text(f"{span.milliseconds:.1f}"),
            Text(describe_error(trace, span), "red"),
        )
    return table


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
    return f"{error}, at its source" + (f" in stage {stage}" if stage else "")

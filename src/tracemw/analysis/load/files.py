"""Traces of files. The spans of one trace may be in several of them, such as one for each service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tracemw.analysis.load.reading import read_spans
from tracemw.analysis.load.unreadable import NotTracesError
from tracemw.analysis.model import Span, Trace


def files_in(path: Path) -> list[Path]:
    """Return a file, or all files of a directory and beneath, in order; hidden ones are left out."""
    if not path.is_dir():
        return [path]
    found = (each for each in path.rglob("*") if each.is_file())
    return sorted(each for each in found if not any(part.startswith(".") for part in each.relative_to(path).parts))


def traces_of_files(files: Sequence[Path], report: Callable[[int], None]) -> Iterator[Trace]:
    """Give the traces of files. One file is in memory at a time, and traces that go on in a later one.

    Args:
        files: The files, in any format that is known.
        report: Is called with the number of files that have been read.

    Raises:
        OSError: if a file cannot be read.
        NotTracesError: if a file has no traces in a known format.
    """
    last = {span.trace_id: number for number, file in enumerate(files) for span in _spans(file)} if files[1:] else {}
    waiting: dict[str, list[Span]] = {}
    for number, file in enumerate(files):
        complete: dict[str, list[Span]] = {}
        for span in _spans(file):
            owner = complete if last.get(span.trace_id, number) == number else waiting
            owner.setdefault(span.trace_id, []).append(span)
        for trace_id in list(complete):
            yield Trace(waiting.pop(trace_id, []) + complete.pop(trace_id))
        report(number + 1)


def _spans(file: Path) -> Iterator[Span]:
    try:
        yield from read_spans(file.read_bytes())
    except NotTracesError as error:
        raise NotTracesError(f"{file}: {error}") from error

"""Traces of files. The spans of one trace may be in several of them, such as one for each service."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tracemw.analysis.load.reading import at_least_one, group, read_spans
from tracemw.analysis.load.unreadable import NotTracesError
from tracemw.analysis.model import Span, Trace


def files_in(path: Path) -> list[Path]:
    """Return a file, or all files of a directory and beneath, in order; hidden ones are left out."""
    if not path.is_dir():
        return [path]
    found = (each for each in path.rglob("*") if each.is_file())
    return sorted(each for each in found if not any(part.startswith(".") for part in each.relative_to(path).parts))


def read_files(files: Sequence[Path]) -> list[Trace]:
    """Return the traces of files.

    Raises:
        OSError: if a file cannot be read.
        NotTracesError: if a file has no traces in a known format.
        NoTraceError: if there are no spans.
    """
    return at_least_one(group(_spans(files)))


def traces_of_files(files: Sequence[Path]) -> Iterator[Trace]:
    """Give the traces of files, each as soon as its last span is read. The files are read twice.

    Raises:
        OSError: if a file cannot be read.
        NotTracesError: if a file has no traces in a known format.
    """
    last = {span.trace_id: number for number, span in enumerate(_spans(files))}
    begun: dict[str, list[Span]] = {}
    for number, span in enumerate(_spans(files)):
        begun.setdefault(span.trace_id, []).append(span)
        if last.get(span.trace_id) == number:
            yield Trace(begun.pop(span.trace_id))


def _spans(files: Sequence[Path]) -> Iterator[Span]:
    for file in files:
        try:
            yield from read_spans(file.read_bytes())
        except NotTracesError as error:
            raise NotTracesError(f"{file}: {error}") from error

"""How the service is run: what an interpreter or a server must be told, so that spans leave.

Servers are not asked. What the files of the working directory say is read: `[uwsgi]` sections, Procfiles, Dockerfiles.
Source: docs/how-to/deployment.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tracemw._process.interpreter import require_the_gil
from tracemw.doctor.diagnosis import Check, failure, ok, warning

_NAME: Final = "process model"
_FILES: Final = ("*.ini", "Procfile*", "*Dockerfile*", "Containerfile")
_LARGEST: Final = 100_000
"""Bytes of a file; what is larger says something else."""

_COMMAND: Final = re.compile(r"^[ \t]*(?:CMD|ENTRYPOINT|[\w-]+:)\s.*\buwsgi\b.*", re.MULTILINE)
"""A line of a Dockerfile or a Procfile that starts uWSGI."""

_SECTION: Final = re.compile(r"^\[uwsgi\].*", re.MULTILINE | re.DOTALL)
_THREADS: Final = re.compile(
    r"(?:--|^[ \t]*)(?:enable-threads(?!\s*=\s*(?:false|0|no|off)\b)|threads\b)|\s-T\b", re.MULTILINE
)
_INI: Final = re.compile(r"--ini\b|\.ini\b")
_SHELL_FORM: Final = re.compile(
    r"^[ \t]*(?:CMD|ENTRYPOINT)\s+(?!\[|exec\b)(\S*(?:uvicorn|gunicorn|hypercorn|uwsgi|granian)\b.*)", re.MULTILINE
)


def check_process_model(folder: Path) -> list[Check]:
    """Look at the interpreter, and at the files of a folder that say how servers are started."""
    wrong = [*_interpreter(), *(check for path in _files(folder) for check in _file(path))]
    return wrong or [ok(_NAME, "neither the interpreter nor a file of this directory lacks a flag")]


def _interpreter() -> Iterator[Check]:
    try:
        require_the_gil()
    except RuntimeError as error:
        yield failure(_NAME, str(error).partition(":")[0], "start Python with PYTHON_GIL=1, or with -X gil=1")


def _files(folder: Path) -> Iterator[Path]:
    for pattern in _FILES:
        yield from sorted(path for path in folder.glob(pattern) if path.is_file() and path.stat().st_size < _LARGEST)


def _file(path: Path) -> Iterator[Check]:
    text = re.sub(r"^[ \t]*[#;].*$", "", path.read_text(encoding="utf-8", errors="replace"), flags=re.MULTILINE)
    if _lacks_threads(text):
        yield warning(
            _NAME,
            f"{path.name} starts uWSGI without threads: spans are sent between two requests, which wait for that",
            "set enable-threads = true, or pass --enable-threads",
        )
    shell = _SHELL_FORM.search(text)
    if shell is not None:
        words = ", ".join(f'"{word}"' for word in shell[1].split())
        yield warning(
            _NAME,
            f"{path.name} starts the server by a shell, which passes no SIGTERM on: the last spans are lost",
            f"write the command as a list: CMD [{words}]",
        )


def _lacks_threads(text: str) -> bool:
    command = _SECTION.search(text) or _COMMAND.search(text)
    if command is None or "UWSGI_ENABLE_THREADS" in os.environ or _THREADS.search(command[0]):
        return False
    return command[0].startswith("[uwsgi]") or not _INI.search(command[0])

"""Which code is the application's own: not the standard library, not what is installed beside it, not tracemw."""

from __future__ import annotations

import os
import re
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from types import CodeType, FrameType

_OWN: Final = f"{Path(__file__).parent.parent}{os.sep}"
_NOT_OF_IT: Final = (
    _OWN,
    "<frozen ",
    *(f"{sysconfig.get_path(name)}{os.sep}" for name in ("stdlib", "platstdlib", "scripts")),
    f"{Path(os.__file__).resolve().parent}{os.sep}",
)
_INSTALLED: Final = re.compile(r"[/\\](site|dist)-packages[/\\]|^<\w+ generated ")
"""Also what packages make at run time, such as `<sqlalchemy generated ...>` and `<attrs generated ...>`."""
_MOST_PATHS: Final = 4096


class CodeLine(NamedTuple):
    """A line of code that a frame is at."""

    path: str
    number: int
    function: str
    """The function, with the classes and functions around it."""

    @classmethod
    def of(cls, frame: FrameType) -> CodeLine:
        """Return the line that a frame is at."""
        code = frame.f_code
        return cls(code.co_filename, frame.f_lineno or code.co_firstlineno, code.co_qualname)

    @classmethod
    def at(cls, code: CodeType, instruction: int) -> CodeLine:
        """Return the line of an instruction, which is given as a frame's `f_lasti`."""
        lines = (line for start, end, line in code.co_lines() if start <= instruction < end and line)
        return cls(code.co_filename, next(lines, code.co_firstlineno), code.co_qualname)

    @property
    def is_application(self) -> bool:
        """Whether the line is the application's own."""
        return is_application(self.path)

    def attributes(self) -> dict[str, str | int]:
        """Return the attributes that tell the line (semantic conventions for code)."""
        return {"code.file.path": self.path, "code.line.number": self.number, "code.function.name": self.function}


def is_own(path: str) -> bool:
    """Tell whether a file is tracemw's."""
    return path.startswith(_OWN)


class _Paths(dict[str, bool]):
    """The paths of files -> whether they are the application's own. When there are too many, all are forgotten."""

    def __missing__(self, path: str) -> bool:
        if len(self) >= _MOST_PATHS:
            self.clear()
        return self.setdefault(path, not path.startswith(_NOT_OF_IT) and _INSTALLED.search(path) is None)


of_application: Final = _Paths()
"""The paths of files -> whether they are the application's own: `is_application`, for those who ask many a time."""


def is_application(path: str) -> bool:
    """Tell whether a file is the application's own."""
    return of_application[path]


def is_installed(path: str) -> bool:
    """Tell whether a file is of a package that is installed, other than tracemw."""
    return _INSTALLED.search(path) is not None and not is_own(path)

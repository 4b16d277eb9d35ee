"""KeyboardInterrupt before a chosen instruction of tracemw's own code."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import tracemw

OURS = str(Path(tracemw.__file__).parent)


class Interrupter:
    """Raises KeyboardInterrupt before one instruction of tracemw's own code, the n-th; counts them all.

    Args:
        at: Which instruction; -1 for none.
        within: The part of tracemw that is meant, as the beginning of its files' paths in the package.
    """

    def __init__(self, at: int = -1, within: str = "") -> None:
        self._at = at
        self._within = f"{OURS}/{within}"
        self.seen = 0
        self.where = ""

    def __enter__(self) -> Interrupter:
        sys.settrace(self._enter)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _enter(self, frame: FrameType, event: str, argument: object) -> Any:
        if not frame.f_code.co_filename.startswith(self._within):
            return None
        caller: FrameType | None = frame
        while caller is not None and caller.f_code.co_filename.startswith(OURS):
            if caller.f_code.co_name == "__del__":
                return None  # what is raised in a finalizer, the interpreter swallows
            caller = caller.f_back
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._step

    def _step(self, frame: FrameType, event: str, argument: object) -> Any:
        if event == "opcode":
            self.seen += 1
            if self.seen == self._at:
                self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._step

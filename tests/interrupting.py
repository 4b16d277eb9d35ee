"""KeyboardInterrupt before a chosen instruction of tracemw's own code."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import tracemw

OURS = str(Path(tracemw.__file__).parent)


class Step(NamedTuple):
    """One instruction of a run: the n-th of a call of a function, or of a coroutine that goes on."""

    call: int
    instruction: int


class Interrupter:
    """Raises KeyboardInterrupt before one instruction of tracemw's own code; notes all those before which it may.

    Only the call in question is watched instruction by instruction: that spares a third of the time.

    Args:
        at: Before which instruction; None for none.
        within: The part of tracemw that is meant, as the beginning of its files' paths in the package.
    """

    def __init__(self, at: Step | None = None, within: str = "") -> None:
        self._at = at
        self._within = f"{OURS}/{within}"
        self._calls = 0
        self.steps: list[Step] = []
        """The instructions that have been watched."""
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
        self._calls += 1
        if self._at is not None and self._calls != self._at.call:
            return None
        frame.f_trace_opcodes = True
        frame.f_trace_lines = False
        return self._stepping(self._calls)

    def _stepping(self, call: int) -> Any:
        seen = 0

        def step(frame: FrameType, event: str, argument: object) -> Any:
            nonlocal seen
            if event == "opcode":
                seen += 1
                self.steps.append(Step(call, seen))
                if self.steps[-1] == self._at:
                    self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
                    sys.settrace(None)
                    raise KeyboardInterrupt
            return step

        return step

"""What these tests share: `tracemw.init` as in a process of its own."""

from __future__ import annotations

from typing import Any

import pytest

from recording.conftest import backend as backend
from recording.conftest import init as init_of_recording
from recording.local_traces import Init, Running

__all__ = ["init_of_recording"]


@pytest.fixture
def init(init_of_recording: Init) -> Init:
    """`tracemw.init` with what it does by default."""

    def start(ratio: float, *, more: Any = None, **sampling: Any) -> Running:
        return init_of_recording(ratio, more={"blame": True, **(more or {})}, **sampling)

    return start

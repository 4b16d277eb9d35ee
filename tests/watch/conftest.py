"""What these tests share: `tracemw.init` as in a process of its own."""

from __future__ import annotations

from recording.conftest import backend as backend
from recording.conftest import init as init

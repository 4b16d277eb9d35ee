"""A few seconds of what `make soak` does for as long as one likes."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.soak import soak

pytestmark = pytest.mark.serial


def test_services_take_no_more_of_the_machine_after_faults_that_come_and_go(folder: Path) -> None:
    soak(folder, rests=2, seconds=4, seed=20, say=print)

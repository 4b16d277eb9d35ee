"""The exporter of a process alone: when it is made, and what becomes of what it raises."""

from __future__ import annotations

import pytest

from export.scripted import REJECTED, REQUEST, Scripted
from tracemw._export.exporter import AttemptResult, Outcome
from tracemw._export.losses import Losses
from tracemw._export.process_exporter import ProcessExporter


@pytest.fixture
def losses() -> Losses:
    return Losses("http://the.test", limits={})


def test_the_exporter_is_made_when_it_is_opened_and_once_more_after_it_was_closed(losses: Losses) -> None:
    made: list[Scripted] = []

    def make() -> Scripted:
        made.append(Scripted())
        return made[-1]

    exporter = ProcessExporter(make, losses)
    assert made == []
    exporter.open()
    exporter.send(REQUEST, 1.0)
    exporter.send(REQUEST, 1.0)
    assert [len(each.attempts) for each in made] == [2]
    exporter.close()
    exporter.close()
    exporter.send(REQUEST, 1.0)
    assert [(len(each.attempts), each.closed) for each in made] == [(2, 1), (1, 0)]


def test_what_an_exporter_raises_is_an_outcome_and_logged_once(
    exporter: Scripted, losses: Losses, caplog: pytest.LogCaptureFixture
) -> None:
    exporter.error = RuntimeError("bad\nday")
    for _ in range(2):
        outcome = ProcessExporter(lambda: exporter, losses).send(REQUEST, 1.0)
        assert outcome == Outcome(AttemptResult.UNKNOWN, error="RuntimeError('bad\\nday')")
    assert losses.last_error == outcome.error
    assert caplog.text.count("Traceback") == 1


def test_an_interrupt_is_no_outcome(exporter: Scripted, losses: Losses) -> None:
    exporter.error = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        ProcessExporter(lambda: exporter, losses).send(REQUEST, 1.0)


def test_what_a_backend_says_is_heard_and_made_fit_for_a_log_line(exporter: Scripted, losses: Losses) -> None:
    exporter.outcome = REJECTED._replace(error="a\nb" + "x" * 1000)
    outcome = ProcessExporter(lambda: exporter, losses).send(REQUEST, 1.0)
    assert losses.last_error == outcome.error
    assert outcome.error.startswith("a bxxx")
    assert len(outcome.error) < 400


def test_a_child_lets_go_of_the_connection_of_its_parent_if_there_is_one(
    losses: Losses, monkeypatch: pytest.MonkeyPatch
) -> None:
    left: list[object] = []
    monkeypatch.setattr(Scripted, "leave_to_parent", lambda self: left.append(self))
    exporter = ProcessExporter(Scripted, losses)
    exporter.leave_to_parent()
    assert left == []
    opened = exporter.open()
    exporter.leave_to_parent()
    assert left == [opened]

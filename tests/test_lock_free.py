"""What the lock-free parts rest on: see docs/architecture.md.

The interpreter changes threads, and runs signal handlers, at calls and backward jumps only. Steps that have to happen
together are marked in the code by a comment that says so; none of these instructions may stand among them.
"""

from __future__ import annotations

import ast
import dis
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from types import CodeType

import pytest

import tracemw
from tracemw._process import interpreter

SOURCE = Path(tracemw.__file__).parent
MARK = re.compile(r"#.*\bno call (?:from here|between|before the next|until)", re.IGNORECASE)
GIVES_WAY = re.compile(r"CALL|JUMP_BACKWARD|RESUME|SEND|YIELD|FOR_ITER")
"""Instructions at which CPython looks whether it is to do something else."""


def marks() -> list[tuple[Path, int]]:
    return [
        (path, number)
        for path in sorted(SOURCE.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if MARK.search(line)
    ]


def steps_after(path: Path, line: int) -> list[ast.stmt]:
    """The steps that a mark is about: from it to the last change that the same block makes to something shared."""
    for block in _blocks(ast.parse(path.read_text())):
        for index, statement in enumerate(block):
            head = statement.body[0].lineno - 1 if isinstance(statement, ast.If) else statement.end_lineno or 0
            if not statement.lineno <= line <= head and statement.lineno != line + 1:
                continue
            within = statement.body if isinstance(statement, ast.If) else block[index:]
            changes = [number for number, step in enumerate(within) if _changes_something_shared(step)]
            return within[: changes[-1] + 1] if changes else []
    return []


def _blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    found = [getattr(node, name, None) for node in ast.walk(tree) for name in ("body", "orelse", "finalbody")]
    blocks = [block for block in found if isinstance(block, list) and block and isinstance(block[0], ast.stmt)]
    return iter(sorted(blocks, key=lambda block: -block[0].lineno))  # the innermost first


def _changes_something_shared(step: ast.stmt) -> bool:
    if isinstance(step, ast.Assign):
        targets: list[ast.expr] = step.targets
    elif isinstance(step, ast.AugAssign):
        targets = [step.target]
    else:
        targets = step.targets if isinstance(step, ast.Delete) else []
    return any(isinstance(target, (ast.Attribute, ast.Subscript)) for target in targets)


def instructions(code: CodeType, lines: range) -> Iterator[dis.Instruction]:
    line = None
    for instruction in dis.get_instructions(code):
        position = instruction.positions
        line = position.lineno if position is not None else line
        if line in lines:
            yield instruction
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from instructions(inner, lines)


def test_the_steps_that_rest_on_it_are_marked() -> None:
    assert len(marks()) >= 8


@pytest.mark.parametrize(
    ("path", "line"), marks(), ids=lambda value: value.name if isinstance(value, Path) else str(value)
)
def test_no_instruction_that_gives_way_stands_among_steps_that_happen_together(path: Path, line: int) -> None:
    steps = steps_after(path, line)
    assert steps, "a mark stands on the first of several steps, or above it"
    lines = range(steps[0].lineno, (steps[-1].end_lineno or 0) + 1)
    found = list(instructions(compile(path.read_text(), str(path), "exec"), lines))
    assert found
    assert [each.opname for each in found if GIVES_WAY.search(each.opname)] == []


def test_without_the_global_interpreter_lock_init_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    with pytest.raises(RuntimeError, match="PYTHON_GIL=1"):
        tracemw.init("shop")
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: True, raising=False)
    interpreter.require_the_gil()


def test_without_the_global_interpreter_lock_nothing_starts_without_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "_is_gil_enabled", lambda: False, raising=False)
    monkeypatch.setenv("OTEL_PYTHON_CONFIGURATOR", "tracemw")
    (configurator,) = entry_points(group="opentelemetry_configurator", name="tracemw")
    with pytest.raises(RuntimeError, match="PYTHON_GIL=1"):
        configurator.load()().configure()


def test_this_interpreter_has_the_lock() -> None:
    code = "import tracemw._process.interpreter as i; i.require_the_gil(); print('has it')"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "has it\n"

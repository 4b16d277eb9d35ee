"""The doors as fixtures, and the table that `make conformance` prints."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from conformance import client_doors, server_doors

DOORS = {"server": tuple(server_doors.DOORS), "client": tuple(client_doors.DOORS)}


# The table.

_cells = pytest.StashKey[dict[tuple[str, str], dict[str, str]]]()
"""By end and case: each door's cell, which is `ok`, `FAIL` or the clause that makes a hole."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance-table", action="store_true", help="print what holds as a table, door by case")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Function, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    door = str(item.callspec.params.get("door")) if hasattr(item, "callspec") else ""
    end = next((end for end, doors in DOORS.items() if door in doors), None)
    if end is None or (report.when != "call" and report.passed):
        return report
    case = item.originalname.removeprefix("test_").replace("_", " ")
    cells = item.config.stash.setdefault(_cells, {}).setdefault((end, case), {})
    if report.failed:
        cells[door] = "FAIL"
    elif report.skipped:
        cells.setdefault(door, str(call.excinfo.value) if call.excinfo is not None else "skipped")
    elif cells.get(door) != "FAIL":
        cells[door] = "ok"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("conformance_table", False):
        return
    cells = config.stash.get(_cells, {})
    clauses: list[str] = []
    for end, doors in DOORS.items():
        cases = {case: row for (of, case), row in cells.items() if of == end}
        if not cases:
            continue
        width = max(map(len, cases))
        terminalreporter.write_sep("=", f"{end} doors")
        terminalreporter.write_line("  ".join([" " * width, *doors]))
        for case, row in cases.items():
            shown = []
            for door in doors:
                cell = row.get(door, "")
                if cell not in ("ok", "FAIL", ""):
                    if cell not in clauses:
                        clauses.append(cell)
                    cell = f"[{clauses.index(cell) + 1}]"
                shown.append(cell.ljust(len(door)))
            terminalreporter.write_line("  ".join([case.ljust(width), *shown]))
    for number, clause in enumerate(clauses, 1):
        terminalreporter.write_line(f"[{number}] {clause}")

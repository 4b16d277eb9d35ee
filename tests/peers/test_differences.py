from __future__ import annotations

from pathlib import Path

from .differences import Difference, Explanation, all_explanations, differences, unexplained, unneeded
from .suites import SUITES

TEST = "tests/test_app.py::test_it[1]"


def test_a_difference_is_another_outcome_also_of_a_test_that_one_side_does_not_have() -> None:
    bare = {"a": ("passed", ""), "b": ("passed", ""), "c": ("failed", "old"), "d": ("skipped", "")}
    traced = {"a": ("passed", ""), "b": ("failed", "E   no"), "c": ("failed", "new"), "e": ("passed", "")}
    found = differences(bare, traced)
    assert [(each.test, each.bare, each.traced) for each in found] == [
        ("b", "passed", "failed"),
        ("d", "skipped", "missing"),
        ("e", "missing", "passed"),
    ]
    assert str(found[0]) == "b: passed bare, failed traced\n    E   no"


def test_an_explanation_stands_for_a_test_its_parameters_or_all_that_is_in_a_module_or_folder() -> None:
    found = [Difference(TEST, "passed", "failed", "E   x-trace-id")]
    for named in (TEST, "tests/test_app.py::test_it", "tests/test_app.py", "tests"):
        assert unexplained(found, [Explanation("flask", (named,), "")]) == []
    for named in ("tests/test_app.py::test", "tests/test_a", "test", "tests/test_app.py::test_it[2]"):
        assert unexplained(found, [Explanation("flask", (named,), "")]) == found


def test_an_explanation_stands_for_its_own_outcome_and_report_alone() -> None:
    found = [Difference(TEST, "passed", "failed", "E   x-trace-id")]
    assert unexplained(found, [Explanation("flask", (TEST,), "", shows="x-trace-id")]) == []
    assert unexplained(found, [Explanation("flask", (TEST,), "", shows="traceparent")]) == found
    assert unexplained(found, [Explanation("flask", (TEST,), "", traced="skipped")]) == found


def test_what_is_explained_and_does_not_differ_is_said() -> None:
    found = [Difference(TEST, "passed", "failed", "")]
    assert unneeded(found, [Explanation("flask", (TEST, "tests/test_gone.py"), "")]) == ["tests/test_gone.py"]


def test_every_explanation_is_of_a_suite_and_a_plugin_that_there_are_and_gives_a_reason() -> None:
    plugins = {suite.name: suite.plugins for suite in SUITES}
    for entry in all_explanations():
        assert entry.plugin is None or entry.plugin in plugins[entry.suite]
        assert entry.suite in plugins
        assert entry.tests
        assert entry.why.endswith(".")


def test_every_plugin_of_a_suite_is_there() -> None:
    traced = Path(__file__).with_name("traced")
    assert all((traced / f"{plugin}.py").is_file() for suite in SUITES for plugin in suite.plugins)

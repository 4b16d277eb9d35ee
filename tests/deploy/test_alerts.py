"""The alerts come when they should, and each says what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.queries import alerts
from deploy.stack import DEPLOY
from tracemw._export.stats import CAUSES

ALERTS = {rule["alert"]: rule for rule in alerts()}
PROMTOOL = shutil.which("promtool")


def test_each_alert_has_a_name_of_its_own() -> None:
    assert len(ALERTS) == len(alerts())


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_says_how_urgent_it_is_and_what_to_do(name: str) -> None:
    rule = ALERTS[name]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert set(rule["annotations"]) == {"summary", "runbook"}
    assert len(rule["annotations"]["runbook"]) > 60
    assert "{{ $" in rule["annotations"]["summary"], "it says of what"


def test_every_cause_of_a_loss_has_an_alert_but_for_the_end_of_a_process() -> None:
    named = set(re.findall(r"\w+", ALERTS["SpansAreLost"]["expr"]))
    assert set(CAUSES) - named == {"shutdown"}
    assert {"rejected", "unknown"} <= named
    told = ALERTS["SpansAreLost"]["annotations"]["runbook"]
    assert {"queue_full", "queue_bytes", "breaker_open", "retries_exhausted", "rejected"} <= set(
        re.findall(r"\w+", told)
    )


def test_a_runbook_leads_to_sections_that_the_readme_has() -> None:
    titles = set(re.findall(r"^## (.+)$", (DEPLOY / "README.md").read_text(), re.MULTILINE))
    named = {
        title
        for rule in ALERTS.values()
        for title in re.findall(r'"([^"]+)" in deploy/README\.md', rule["annotations"]["runbook"])
    }
    assert named >= {"Renew certificates", "Alerts", "Disks", "How long it stays"}
    assert named <= titles


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian has it in the package prometheus)")
def test_prometheus_takes_the_alerts_and_they_come_when_they_should() -> None:
    assert PROMTOOL is not None
    test = Path(__file__).with_name("alerts.test.yaml")
    for arguments in (["check", "rules", str(DEPLOY / "prometheus/alerts.yaml")], ["test", "rules", str(test)]):
        ended = subprocess.run([PROMTOOL, *arguments], cwd=test.parent, capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr

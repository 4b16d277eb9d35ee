"""What `tracemw doctor --json` prints. Names are there to stay; more may come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tracemw.checking.errors_told import without_secrets
from tracemw.doctor.diagnosis import Diagnosis
from tracemw.doctor.instrumentation_score import Score


def of_diagnosis(diagnosis: Diagnosis) -> Mapping[str, Any]:
    """Return the document of a diagnosis."""
    return {
        "status": diagnosis.status,
        "arrived": diagnosis.has_arrived,
        "subject": diagnosis.subject,
        "settings": [asdict(setting) for setting in diagnosis.settings],
        "checks": [asdict(check) for check in diagnosis.checks],
        "scores": [_of_score(score) for score in diagnosis.scores],
    }


def _of_score(score: Score) -> Mapping[str, Any]:
    return {
        "service": score.service,
        "score": round(score.value, 2),
        "category": score.category,
        "is_complete": False,
        "traces": score.traces,
        "rules": [
            {
                "id": each.rule.id,
                "impact": each.rule.impact,
                "passed": not each.violation,
                "says": each.rule.says,
                "violation": without_secrets(each.violation),
                "remedy": each.rule.remedy if each.violation else "",
            }
            for each in score.judged
        ],
    }

"""The process of an examination is started, and its document taken."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tracemw.checking.problems import CheckError
from tracemw.checking.report_of import status_of
from tracemw.checking.target import Target
from tracemw.doctor.diagnosis import Diagnosis, failure
from tracemw.doctor.diagnosis_as_json import of_diagnosis
from tracemw.doctor.examining import DoctorOptions

_GRACE: Final = 30.0
"""Seconds that the process gets to start and to end, beside the limits of the import and of the checks."""


def diagnosis_of(name: str, *, app_dir: Path, questions: DoctorOptions) -> Mapping[str, Any]:
    """Examine an application in a process of its own, and return the document: see `of_diagnosis`.

    What the application prints goes to the standard error.

    Args:
        name: `module:app`, or `module:make_app()` for a function that makes the application.
        app_dir: The directory that the module is found in.
        questions: What the user wants to know.

    Raises:
        CheckError: when there is no such module, or no application by that name in it.
    """
    Target.parse(name)
    order = {"name": name, "app_dir": str(app_dir.resolve()), "questions": asdict(questions)}
    limit, began = 2 * questions.timeout + _GRACE, time.monotonic()
    with TemporaryDirectory(prefix="tracemw-doctor-") as folder:
        file = Path(folder, "diagnosis.json")
        status = status_of(
            [sys.executable, "-P", "-m", "tracemw.doctor.examine_application", str(file), json.dumps(order)], limit
        )
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return _without_document(name, status, is_late=time.monotonic() - began >= limit)
    if "error" in found:
        raise CheckError(str(found["error"]))
    return found


def _without_document(name: str, status: int, *, is_late: bool) -> Mapping[str, Any]:
    """Say why a process has left no document: the application's code has ended it, or holds it up."""
    if is_late:
        sentence, remedy = f"the process that imports {name} does not end", "does it wait for a server?"
    elif status < 0:
        sentence = f"importing {name} ends the process by signal {-status} ({signal.strsignal(-status)})"
        remedy = "the standard error may say where: its server would not start"
    else:
        sentence = f"importing {name} ends the process with status {status}"
        remedy = "the standard error may say where, or os._exit() is called: its server would not start"
    return of_diagnosis(Diagnosis(subject=name, checks=[failure("configuration", sentence, remedy)]))

"""What the process of an examination does: it imports the application, makes all checks, and writes a document.

Run as `python -m tracemw.doctor.examine_application FILE ORDER`, with the order as JSON.
"""

from __future__ import annotations

import faulthandler
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from tracemw.checking.problems import CheckError
from tracemw.doctor.diagnosis_as_json import of_diagnosis
from tracemw.doctor.examining import DoctorOptions, Examination
from tracemw.doctor.subject import import_application

_GRACE: Final = 2.0
"""Seconds that the application's threads and exit functions get when the document is written."""


def main() -> None:
    """Examine the application that the arguments name."""
    file, order = Path(sys.argv[1]), json.loads(sys.argv[2])
    faulthandler.enable()
    questions = DoctorOptions(**order["questions"])
    document: Any
    try:
        subject = import_application(order["name"], questions.timeout, Path(order["app_dir"]))
        document = of_diagnosis(Examination(subject, questions).examine())
    except CheckError as error:
        document = {"error": str(error)}
    file.write_text(json.dumps(document), encoding="utf-8")
    threading.Thread(target=_end_soon, daemon=True).start()


def _end_soon() -> None:
    """End the process, also where a thread of the application goes on for ever."""
    time.sleep(_GRACE)
    os._exit(0)


if __name__ == "__main__":
    main()

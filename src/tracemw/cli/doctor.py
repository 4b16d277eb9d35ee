"""``tracemw doctor``: whether spans arrive, and what to do when they do not."""

from __future__ import annotations

import argparse
import json
from typing import Final

from tracemw.cli.analyze import look_back
from tracemw.cli.check import add_app_dir_option
from tracemw.cli.command import FINDINGS, FINE, Command
from tracemw.cli.lengths_of_time import seconds_within
from tracemw.cli.output import fail, say, show


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "app",
        nargs="?",
        metavar="MODULE:APP",
        help="the application, imported as its server would, which runs its init() (default: the environment)",
    )
    add_app_dir_option(parser)
    parser.add_argument(
        "--url", help="Tempo's query API, or the viewer, to ask for traces (default: looked for where spans go)"
    )
    parser.add_argument("--tenant", metavar="NAME", help="the tenant to ask for (default: that of the settings)")
    parser.add_argument(
        "--since",
        type=look_back,
        default=3600.0,
        metavar="TIME",
        help="how far back traces are looked at (default: 1h; at most 7d)",
    )
    parser.add_argument(
        "--timeout",
        type=seconds_within("1s", "10m"),
        default=30.0,
        metavar="TIME",
        help="time for all checks together (default: 30s)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="make the exit status 1 for a warning, or a span not seen to arrive, too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run(options: argparse.Namespace) -> int:
    from tracemw.checking.problems import CheckError
    from tracemw.doctor.diagnosis_as_json import of_diagnosis
    from tracemw.doctor.diagnosis_as_text import lines_of_diagnosis
    from tracemw.doctor.diagnosis_of import diagnosis_of
    from tracemw.doctor.examining import DoctorOptions, Examination
    from tracemw.doctor.subject import read_environment

    try:
        questions = DoctorOptions(url=options.url, tenant=options.tenant, since=options.since, timeout=options.timeout)
        if options.app is None:
            document = of_diagnosis(Examination(read_environment(), questions).examine())
        else:
            document = diagnosis_of(options.app, app_dir=options.app_dir, questions=questions)
    except (CheckError, ValueError) as problem:
        return fail(f"tracemw doctor: {problem}")
    if options.json:
        say(json.dumps(document))
    else:
        show(lines_of_diagnosis(document))
    is_fine = document["status"] == "ok" and document["arrived"] if options.strict else document["status"] != "failure"
    return FINE if is_fine else FINDINGS


DOCTOR: Final = Command(
    name="doctor",
    summary="say whether spans arrive, and what to do when they do not",
    description="Check the way of spans from the settings to the backend, send one, and say what works, what does not "
    "and what to do.",
    example="""\
example:
  tracemw doctor                                       the settings that the environment makes
  tracemw doctor shop:app                              those that the application's own init() makes
  tracemw doctor shop:app --url http://tempo:3200      where traces are asked for
  tracemw doctor 'shop:make_app()' --strict --json     for a pipeline

A span named tracemw.doctor is sent to the backend. The exit status is 1 if something fails; with --strict, also for a
warning, and where nobody could be asked whether the span has arrived.
""",
    add_options=_add_options,
    run=_run,
)

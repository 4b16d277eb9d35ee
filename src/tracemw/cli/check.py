"""``tracemw check``: whether every request of an application is traced, and every client hands the trace on."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, Final

from tracemw.cli.analyze import add_annotate_option
from tracemw.cli.annotations import Annotation, annotate
from tracemw.cli.command import ERROR, FINDINGS, FINE, Command
from tracemw.cli.lengths_of_time import seconds_within
from tracemw.cli.output import say, warn


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("application", metavar="MODULE:APPLICATION", help="as uvicorn and gunicorn take it")
    parser.add_argument("--factory", action="store_true", help="the name is a function that makes the application")
    add_app_dir_option(parser)
    parser.add_argument("--lifespan", action="store_true", help="run the application's startup and shutdown, too")
    parser.add_argument(
        "--timeout",
        type=seconds_within("1s", "1h"),
        default=60.0,
        metavar="TIME",
        help="how long the check may take (default: 60s)",
    )
    parser.add_argument("--ignore", default="", metavar="CODES", help="codes that are not told, such as client,TMW302")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_annotate_option(parser)


def add_app_dir_option(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where an application's module is."""
    parser.add_argument(
        "--app-dir", type=Path, default=Path(), metavar="DIR", help="where the module is (default: this directory)"
    )


def _run(options: argparse.Namespace) -> int:
    from tracemw.checking.problems import CODES, CheckError
    from tracemw.checking.report_of import report_of

    ignored = {code.strip() for code in options.ignore.split(",") if code.strip()}
    if unknown := ignored - set(CODES):
        return _refuse(options, f"--ignore={min(unknown)} is not accepted; use some of {', '.join(CODES)}")
    try:
        found = report_of(
            options.application,
            app_dir=options.app_dir,
            factory=options.factory,
            lifespan=options.lifespan,
            timeout=options.timeout,
        )
    except CheckError as error:
        return _refuse(options, str(error))
    problems = found["problems"] = [each for each in found["problems"] if each["code"] not in ignored]
    verdict = _verdict(options.application, found)
    if options.json:
        say(json.dumps({"application": options.application, "verdict": verdict, **found}))
    else:
        for text in (verdict, *map(_line, problems), *found["notes"]):
            for line in text.splitlines():
                say(line)
    annotations = [Annotation(each["code"], f"{each['sentence']}; {each['remedy']}", _place(each)) for each in problems]
    annotate(annotations, verdict=verdict, asked=options.annotate, as_json=options.json)
    return FINDINGS if problems else FINE


def _refuse(options: argparse.Namespace, error: str) -> int:
    if options.json:
        say(json.dumps({"application": options.application, "error": error}))
    for line in f"tracemw check: {error}".splitlines():
        warn(line)
    return ERROR


def _verdict(application: str, found: dict[str, Any]) -> str:
    by = f"traced by {found['traced_by']}" if found["traced_by"] else "not traced"
    clients = found["clients"]
    traced = sum(client["traced"] for client in clients)
    calls = f"; clients traced: {traced} of {len(clients)}" if clients else ""
    return f"{application} ({found['framework']}) is {by}{calls}"


def _line(problem: dict[str, Any]) -> str:
    place = _place(problem)
    return f"{f'{place}: ' if place else ''}{problem['code']} {problem['sentence']}; {problem['remedy']}"


def _place(problem: dict[str, Any]) -> str:
    path, line = problem["path"], problem["line"]
    return "" if path is None else path if line is None else f"{path}:{line}"


CHECK: Final = Command(
    name="check",
    summary="say whether every request of an application is traced, and every client hands the trace on",
    description="Import an application, and say whether every request is traced, and every client hands the trace on. "
    "It gets a request that no handler serves. Nothing is exported.",
    example="""\
example:
  tracemw check shop.main:app
  tracemw check "shop.main:create_app()" --app-dir src
  tracemw check shop.main:create_app --factory --lifespan     clients that the startup makes are looked at, too
  tracemw check mysite.asgi:application --json

The exit status is 1 if a line is missing, which is told, and 2 if the application cannot be imported. In GitHub's
Actions, what makes the status 1 is annotated at its line of code.
""",
    add_options=_add_options,
    run=_run,
)

"""What the process of a check does: it imports the application, looks at it, and writes a document.

Run as `python -m tracemw.checking.check_application FILE ORDER`, with the order as JSON.
"""

from __future__ import annotations

import asyncio
import faulthandler
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from opentelemetry import trace

from tracemw._setup.rehearsal import rehearsing, tell_starts
from tracemw.checking import calls_traced, requests_traced
from tracemw.checking.asking import PATH, Requester, SeenRequest, framework_within, protocol_of
from tracemw.checking.errors_told import told, without_secrets
from tracemw.checking.layers import dispatches, mounts_of, within
from tracemw.checking.lifespan import running
from tracemw.checking.problems import CheckError, CheckReport, Problem
from tracemw.checking.reachable import clients_of
from tracemw.checking.requests_traced import Made
from tracemw.checking.target import Target
from tracemw.checking.where_made import (
    application_modules,
    is_told,
    place_of_application,
    place_of_code,
    place_of_name,
)

_GRACE: Final = 2.0
"""Seconds that the application's threads and exit functions get when the document is written."""


def main() -> None:
    """Check the application that the arguments name."""
    file, order = Path(sys.argv[1]), json.loads(sys.argv[2])
    faulthandler.enable()
    faulthandler.dump_traceback_later(order["timeout"], exit=True)
    sys.path.insert(0, order["app_dir"])
    try:
        document = _check(order)
    except CheckError as error:
        document = {"error": str(error)}
    except ValueError as error:  # a setting is not accepted
        document = {"error": without_secrets(str(error))}
    except (Exception, SystemExit) as error:
        document = {"error": f"the check has failed: {told(error)}"}
    file.write_text(json.dumps(document), encoding="utf-8")
    threading.Thread(target=_end_soon, daemon=True).start()


def _check(order: dict[str, Any]) -> dict[str, Any]:
    target = Target.parse(order["target"], factory=order["factory"])
    with rehearsing() as rehearsal:
        provider = trace.get_tracer_provider()
        application = target.load()
        made = _made(order["target"], target, application)
        report = CheckReport(framework=made.framework.name if made.framework else made.protocol.upper())
        if made.protocol == "asgi":
            asyncio.run(_look_by_asgi(made, report, with_lifespan=order["lifespan"]))
        else:
            _look_by_wsgi(made, report)
        if not rehearsal.is_asked_for and trace.get_tracer_provider() is provider:
            report.problems.insert(0, _no_init(made, target))
    report.problems = list(filter(is_told, report.problems))
    return report.document()


def _made(shown: str, target: Target, application: Any) -> Made:
    modules = application_modules()
    file = str(getattr(sys.modules[target.module], "__file__", None) or target.module)
    served_at = place_of_name(file, target.name)
    inner, framework = framework_within(application) or (application, None)
    name = target.name if target.arguments is None else "app"
    found = None if framework is None else place_of_application(inner, framework, modules, served=name)
    code = getattr(application, "__code__", None)
    if found is None and code is not None:
        served_at = place_of_code(code.co_filename, code.co_firstlineno)
    return Made(
        shown=shown,
        application=application,
        protocol=protocol_of(application),
        inner=inner,
        framework=framework,
        name=found[1] if found is not None else name if inner is application else None,
        served=name,
        place=found[0] if found is not None else served_at,
        served_at=served_at,
    )


async def _look_by_asgi(made: Made, report: CheckReport, *, with_lifespan: bool) -> None:
    async def look(state: dict[str, Any]) -> None:
        requests = Requester(made.application)
        tell_starts(requests.span_started)
        seen = await requests.ask_asgi(PATH, state)
        mounted = [await requests.ask_asgi(f"{path}{PATH}", state) for path in _mounts_to_ask(made, seen)]
        _judge(made, seen, mounted, report)

    if with_lifespan:
        async with running(made.application) as state:
            await look(state)
    else:
        report.notes.append(
            "the startup of the application was not run; --lifespan runs it, and finds clients made there"
        )
        await look({})


def _look_by_wsgi(made: Made, report: CheckReport) -> None:
    requests = Requester(made.application)
    tell_starts(requests.span_started)
    seen = requests.ask_wsgi(PATH)
    mounted = [requests.ask_wsgi(f"{path}{PATH}") for path in _mounts_to_ask(made, seen)]
    _judge(made, seen, mounted, report)


def _mounts_to_ask(made: Made, seen: SeenRequest) -> list[str]:
    """Return the mounts to ask: where the door stands around all, nothing is reached without it."""
    around_all = requests_traced.traced_by(seen) is not None and not any(map(dispatches, within(made.application)))
    return [] if around_all else mounts_of(made.application)


def _judge(made: Made, seen: SeenRequest, mounted: list[SeenRequest], report: CheckReport) -> None:
    modules = application_modules()
    file = str(getattr(sys.modules[made.shown.partition(":")[0]], "__file__", ""))
    name = made.shown.replace(":", ".")
    clients = clients_of(modules, made.application, name, file)
    report.traced_by = requests_traced.traced_by(seen)
    report.clients = [(client.name, client.kind, calls_traced.is_traced(client)) for client in clients]
    report.problems += requests_traced.problems_of(made, seen, mounted)
    report.problems += calls_traced.problems_of(clients, modules, file)
    if seen.error is not None:
        report.notes.append(f"the request has failed: {told(seen.error)}")
    elif seen.status is None:
        report.notes.append("the request was not answered")


def _no_init(made: Made, target: Target) -> Problem:
    service = target.module.partition(".")[0]
    return Problem(
        code="no-init",
        sentence=f"tracemw.init() was not called when {made.shown} was imported: nothing is exported",
        remedy=f'add: tracemw.init("{service}")',
        place=made.place,
    )


def _end_soon() -> None:
    """End the process, also where a thread of the application goes on for ever."""
    time.sleep(_GRACE)
    os._exit(0)


if __name__ == "__main__":
    main()

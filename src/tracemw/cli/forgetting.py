"""What `tracemw forget` does: it finds the traces of users, has them erased, and tells and notes what became of it."""

from __future__ import annotations

import argparse
import json
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from tracemw.analysis.gathering.how_long import instant
from tracemw.analysis.load.query_api import QueryApi
from tracemw.analysis.load.unreadable import ServerError
from tracemw.cli.command import ERROR, FINDINGS, FINE
from tracemw.cli.fetching import open_api
from tracemw.cli.output import fail, progress, say
from tracemw.config import Arguments, Backend, Endpoint, pseudonym_keys
from tracemw.erasure.audit import AuditLog
from tracemw.erasure.in_viewer import InViewer
from tracemw.erasure.outcome import Erasure
from tracemw.erasure.seeking import Seeker
from tracemw.erasure.until_gone import erase_until_gone
from tracemw.erasure.user_query import pseudonyms_of, query_of, with_shortened
from tracemw.erasure.windows import Window

_DAYS: Final = 90
"""Days that a look into Tempo goes back, where the user does not say. Tempo keeps traces for 14 by default."""

_ANY_TIME: Final = Window(0, (2**63 - 1) // 10**9)
"""All times that the viewer can store. The clock of a service may be wrong by years."""

_GRPC_PORT: Final = 9095
_REVISION: Final = "tracemw"
"""The revision of the build that `tracemw view` says it is."""

_MOST_USERS: Final = 20
"""Users of one run. One query has them all, each under every key."""

_MOST_READ: Final = 100_000
"""Bytes of standard input."""

_OLDEST: Final = (3, 1)
"""The version of Tempo from which on it erases."""


def forget(options: argparse.Namespace) -> int:
    """Do what the options say, and return the exit status."""
    try:
        keys = pseudonym_keys()
        if not keys:
            raise ValueError(
                "there is no key; set TRACEMW_PSEUDONYM_KEY to that of the services, with their former keys"
            )
        identifiers = _identifiers(options)
        pseudonyms = pseudonyms_of(identifiers, keys)
        window = _window(options, time.time())
        api = open_api(options)
        with closing(AuditLog(options.audit)) as log:
            version, revision = api.build()
            is_viewer = revision == _REVISION
            outcome = Erasure(
                backend="viewer" if is_viewer else "tempo",
                name=f"{'the viewer' if is_viewer else f'Tempo {version}'.strip()} at {options.url}",
                pseudonyms=pseudonyms,
                users=len(identifiers),
                window=window,
                dry_run=options.dry_run,
            )
            return _erase(options, api, outcome, log)
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as problem:
        return fail(f"tracemw forget: {problem}")
    finally:
        progress("")


def _erase(options: argparse.Namespace, api: QueryApi, outcome: Erasure, log: AuditLog) -> int:
    """Erase, tell, and write the audit line, whatever happens."""
    try:
        with _exiting_at_sigterm():
            if outcome.backend == "viewer":
                _erase_in_viewer(options, api, outcome)
            else:
                _erase_in_tempo(options, api, outcome)
    except BaseException as problem:
        said = str(problem) if isinstance(problem, Exception) else ""
        outcome.error = with_shortened(said, outcome.pseudonyms) or type(problem).__name__
        progress("")
        log.write(outcome.audit(), status=ERROR)
        if isinstance(problem, ServerError):
            raise ServerError(outcome.error) from None
        raise
    progress("")
    status = FINE if outcome.is_gone else FINDINGS
    log.write(outcome.audit(), status=status)
    if options.json:
        say(json.dumps(outcome.document()))
    else:
        for line in outcome.lines():
            say(line)
    return status


@contextmanager
def _exiting_at_sigterm() -> Iterator[None]:
    """Have SIGTERM raise, so that a run which is ended while it waits has its audit line."""

    def leave(*_: object) -> None:
        raise SystemExit(ERROR)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _erase_in_viewer(options: argparse.Namespace, api: QueryApi, outcome: Erasure) -> None:
    seeker = Seeker(api, query_of(outcome.pseudonyms), [outcome.window or _ANY_TIME])
    place = InViewer(api, dry_run=options.dry_run)
    erase_until_gone(place, seeker, outcome, wait=options.wait, every=options.every, tell=progress)


def _erase_in_tempo(options: argparse.Namespace, api: QueryApi, outcome: Erasure) -> None:
    _require_redaction(outcome.name)
    from tracemw.erasure.in_tempo import InTempo  # here, since grpc takes 80 ms to load
    from tracemw.erasure.redaction_service import RedactionService

    backend = _scheduler(options)
    query, now = query_of(outcome.pseudonyms), int(time.time())
    window = outcome.window or Window(now - _DAYS * 24 * 3600, now + 24 * 3600)  # clocks of services may be ahead
    seeker = Seeker(api, query, window.parts())
    with closing(RedactionService(backend, dry_run=options.dry_run)) as service:
        place = InTempo(service, query, outcome.window)
        erase_until_gone(place, seeker, outcome, wait=options.wait, every=options.every, tell=progress)


def _require_redaction(name: str) -> None:
    """Refuse a Tempo that says it is too old. One that does not tell its version is asked."""
    version = re.match(r"Tempo v?(\d+)\.(\d+)", name)
    if version is not None and (int(version[1]), int(version[2])) < _OLDEST:
        raise ServerError(f"{name} erases nothing safely; upgrade to Tempo 3.1 or later, and run this again")


def _scheduler(options: argparse.Namespace) -> Backend:
    """Return where Tempo's backend scheduler is, and how to speak to it.

    Raises:
        ValueError: for a URL, tenant, header or certificate that is not accepted.
    """
    url = options.scheduler
    if url is None:
        url = Endpoint.parse(options.url).on_port(_GRPC_PORT)
    elif not url.startswith(("http://", "https://")):
        raise ValueError(f"--scheduler={url} is not accepted; use an http:// or https:// URL such as http://tempo:9095")
    return Backend.resolve("traces", Arguments(protocol="grpc", endpoint=url, tenant=options.tenant))


def _identifiers(options: argparse.Namespace) -> list[str]:
    identifiers = list(options.identifiers)
    if identifiers == ["-"]:
        identifiers = [line for line in _read_text().split("\n") if line.strip()]
    if not 0 < len(identifiers) <= _MOST_USERS:
        raise ValueError(
            f"{len(identifiers)} identifiers are not accepted; use 1 to {_MOST_USERS} in one run, one a line"
        )
    return identifiers


def _read_text() -> str:
    """Return what stands on standard input. The locale does not count: the services hash UTF-8."""
    given = sys.stdin.buffer.read(_MOST_READ + 1)
    if len(given) > _MOST_READ:
        raise ValueError(f"standard input is not accepted; use at most {_MOST_READ} bytes")
    try:
        text = given.decode("utf-8-sig")  # editors on Windows put a mark first
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # as in UTF-16
        raise ValueError(
            "standard input is not UTF-8; convert it first, such as with iconv -f UTF-16 -t UTF-8, or -f LATIN1"
        ) from None
    return text


def _window(options: argparse.Namespace, now: float) -> Window | None:
    """Return the window that the options name; None if they name none."""
    if options.since is None and options.begin is None and options.end is None:
        return None
    begin = now - (options.since or _DAYS * 24 * 3600)
    if options.begin is not None:
        begin = instant(options.begin, now)
    end = now + 1 if options.end is None else instant(options.end, now)
    if not 0 <= int(begin) < int(end):
        raise ValueError("the window ends before it begins; use an earlier --from or --since, or a later --to")
    return Window(int(begin), int(end))

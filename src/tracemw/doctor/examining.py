"""All checks, one after another, within the time there is. A check that fails by itself costs only itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tracemw._export.exporter import Secrets
from tracemw.analysis.findings.finding import quoted
from tracemw.analysis.gathering.searching import fetch
from tracemw.analysis.load.query_api import QueryApi
from tracemw.analysis.model import Trace
from tracemw.config import Config
from tracemw.config.headers import headers_for
from tracemw.doctor.canary import MARK, canary_of, reply_of, send
from tracemw.doctor.clock_skew import check_clock
from tracemw.doctor.diagnosis import Check, Diagnosis, failure, ok, unknown, warning
from tracemw.doctor.doubled_instrumentation import check_doubling
from tracemw.doctor.effective_settings import settings_of
from tracemw.doctor.inbound_trust import check_trust
from tracemw.doctor.instrumentation_score import scores_of
from tracemw.doctor.outcomes import check_canary
from tracemw.doctor.process_models import check_process_model
from tracemw.doctor.query_server import HOW_TO_TELL, Server, check_arrival, find_server
from tracemw.doctor.reaching import reach
from tracemw.doctor.redacted_keys import check_redacted
from tracemw.doctor.subject import Subject
from tracemw.doctor.tls_handshake import check_tls
from tracemw.doctor.variables import check_variables

_MOST_TRACES: Final = 200
_STEP: Final = 5.0
"""Seconds that one step on the way to the backend may take, at most."""


@dataclass(frozen=True, kw_only=True)
class DoctorOptions:
    """What the user wants to know beside the settings.

    Raises:
        ValueError: for a URL or a tenant that is not accepted.
    """

    url: str | None = None
    """Tempo's query API, or the viewer; None to look where spans go."""

    tenant: str | None = None
    """The tenant to ask for; None for that of the settings."""

    since: float = 3600.0
    """Seconds that the search for traces goes back."""

    timeout: float = 30.0
    """Seconds for all checks together."""

    def __post_init__(self) -> None:
        if self.url is not None:
            QueryApi(self.url)
        headers_for("traces", "http/protobuf", None, self.tenant)


class Examination:
    """Examines one subject."""

    def __init__(self, subject: Subject, questions: DoctorOptions) -> None:
        self._subject = subject
        self._questions = questions
        self._deadline = time.monotonic() + questions.timeout
        self._diagnosis = Diagnosis(subject=subject.name, checks=list(subject.checks))
        self._api: QueryApi | None = None
        self._traces: list[Trace] = []

    def examine(self) -> Diagnosis:
        """Make all checks."""
        subject, config = self._subject, self._subject.config
        self._add("variables", lambda: check_variables(config))
        self._add("process model", lambda: check_process_model(Path.cwd()))
        self._add("instrumentation", check_doubling)
        if config is None:
            return self._diagnosis
        self._diagnosis.settings = settings_of(config)
        if config.disabled or config.exporter != "otlp":
            variable = "OTEL_SDK_DISABLED" if config.disabled else "OTEL_TRACES_EXPORTER"
            self._diagnosis.checks.append(
                warning("export", f"nothing is exported, as {variable} says", f"unset {variable}")
            )
            return self._diagnosis
        self._add("canary", lambda: self._follow_way(config))
        self._add("traces", lambda: self._look_back(config))
        self._add("sampled flag", lambda: [check_trust(config, subject.app, self._traces)])
        self._add("redaction", lambda: check_redacted(self._traces, config.service))
        self._add("score", self._score)
        return self._diagnosis

    def _add(self, name: str, look: Callable[[], Iterable[Check]]) -> None:
        if time.monotonic() > self._deadline:
            self._diagnosis.checks.append(unknown(name, "not looked at: the time is over", "--timeout gives more"))
            return
        try:
            for check in look():
                self._diagnosis.checks.append(check)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            self._diagnosis.checks.append(unknown(name, f"the check itself has failed ({said})"))

    def _step(self) -> float:
        """Return when the next step must have ended, by the monotonic clock."""
        return min(self._deadline, time.monotonic() + _STEP)

    def _follow_way(self, config: Config) -> Iterable[Check]:
        """Give the checks from the URL to the arrival of a canary. The first failure ends the way."""
        backend = config.traces
        for check in reach(backend, self._step()):
            yield check
            if check.status == "failure":
                yield unknown("canary", "not sent: there is no connection")
                return
        if backend.endpoint.is_secure:
            check = check_tls(backend, self._step())
            yield check
            if check.status == "failure":
                yield unknown("canary", "not sent: there is no TLS")
                return
        canary = canary_of(config, self._subject.redaction)
        outcome, seconds = send(canary, config, min(backend.timeout, self._step() - time.monotonic()))
        began = time.time()
        reply = reply_of(backend, self._step()) if outcome.error == "" or "HTTP" in outcome.error else None
        check = check_canary(outcome, seconds, reply, backend, self._step())
        yield check
        if reply is not None:
            yield check_clock(reply.headers.get("Date"), began)
        if check.status == "failure":
            return
        server = self._find_server(config)
        if reply is None and server is not None:
            yield check_clock(server.date, began)
        yield check_arrival(self._api, canary, config, self._deadline)

    def _score(self) -> Iterable[Check]:
        self._diagnosis.scores = scores_of(self._traces)
        return ()

    def _find_server(self, config: Config) -> Server | None:
        server = find_server(self._questions.url, config, self._questions.tenant, self._step())
        self._api = None if server is None else server.api
        return server

    def _look_back(self, config: Config) -> Iterable[Check]:
        """Fetch recent traces of the service."""
        if self._api is None and self._questions.url is not None:
            self._find_server(config)
        if self._api is None:
            yield unknown("traces", "nobody was asked for recent traces", HOW_TO_TELL)
            return
        now, wanted = int(time.time()), "{ }"
        if config.service is not None:
            wanted = f"{{ resource.service.name = {quoted(config.service)} }}"
        try:
            ids = self._api.search(wanted, start=now - int(self._questions.since), end=now + 1, limit=_MOST_TRACES)
            for trace in fetch(self._api, ids, lambda _: None):
                if MARK not in trace.root.attributes:
                    self._traces.append(trace)
                if time.monotonic() > self._deadline:
                    break
        except ValueError as error:
            said = Secrets(config.traces.headers).hidden_in(str(error))
            yield failure("traces", f"recent traces cannot be fetched: {said}", HOW_TO_TELL)
            return
        whose = f"of {config.service}" if config.service is not None else "of all services"
        if self._traces:
            yield ok("traces", f"recent traces {whose} are there to look at: {len(self._traces)}")
        else:
            yield unknown(
                "traces", f"there are no recent traces {whose}", "send a request to the service, or set --since"
            )

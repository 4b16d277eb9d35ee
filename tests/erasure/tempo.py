"""A Tempo in miniature: its query API and its redaction service, with the answers that a real one gave."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import grpc

from analysis.commands import answering

CAPTURES = Path(__file__).parents[1] / "viewer" / "tempo_captures"
LONGEST = 168 * 3600


def captured(name: str) -> Any:
    return json.loads((CAPTURES / f"{name}.json").read_text())["body_json"]


class Stored(NamedTuple):
    """A trace: whose it is, and when it began, in seconds since the epoch."""

    user: str
    start: int


class Refusal(NamedTuple):
    code: grpc.StatusCode
    details: str


class Tempo:
    """What the peer has been asked, and how it behaves."""

    def __init__(self) -> None:
        self.url = ""
        self.scheduler = ""
        self.version: str | None = captured("buildinfo")["version"]
        self.traces: dict[str, Stored] = {}
        """The traces by their ids. A late span of each may be in a block of its own; see `late`."""
        self.late: set[str] = set()
        """Traces of which a block has a span without the pseudonym: no query erases that one."""
        self.only_late: set[str] = set()
        """Those of which nothing else is left: a search does not find them."""
        self.searches: list[dict[str, str]] = []
        self.by_id: list[str] = []
        self.tenants: list[str | None] = []
        """Tenants of the questions."""
        self.requests: list[bytes] = []
        """The redactions that were asked for, as their bytes came, whatever became of them."""
        self.metadata: list[dict[str, str]] = []
        self.refusals: list[Refusal] = []
        """What the next redactions are refused with, one after the other."""
        self.only_by_query = False
        """Whether redactions by id have no effect, as when the blocks are new."""
        self.busy_for = 0
        """How many more requests are refused after one that was accepted, since that redaction runs."""
        self.fails_at: set[int] = set()
        """The searches that are answered with 503, by their number from 1 on."""
        self.looks = 0
        """How many searches still find what was redacted."""
        self._busy = 0
        self._redacted: list[tuple[int, set[str], bool]] = []
        self._batches = 0

    def answer(self, target: str, headers: Any) -> tuple[int, bytes]:
        parts = urlsplit(target)
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/api/status/buildinfo":
            if self.version is None:
                return 404, b"404 page not found\n"
            return 200, json.dumps({**captured("buildinfo"), "version": self.version}).encode()
        self.tenants.append(headers.get("x-scope-orgid"))
        if parts.path == "/api/search":
            return self._search(asked)
        if parts.path.startswith("/api/v2/traces/"):
            return self._trace(parts.path.rpartition("/")[2])
        return 404, b"404 page not found\n"

    def _search(self, asked: dict[str, str]) -> tuple[int, bytes]:
        start, end = int(asked.get("start", 0)), int(asked.get("end", 0))
        if not 0 < start < end:
            return 400, b"http parameter start must be before end."
        if end - start > LONGEST:
            return 400, b"range specified by start and end exceeds 168h0m0s."
        self.searches.append(asked)
        if len(self.searches) in self.fails_at:
            return 503, b"the frontend is overloaded"
        self._erase()
        users = "|".join(re.findall(r'span\.user\.hash =~? "([^"]+)"', asked["q"]))
        found = [
            {**captured("search-all")["traces"][0], "traceID": trace_id.lstrip("0")}
            for trace_id, stored in self.traces.items()
            if re.fullmatch(users, stored.user) and start <= stored.start <= end and trace_id not in self.only_late
        ]
        answer: dict[str, Any] = {"metrics": captured("search-all")["metrics"]}
        return 200, json.dumps({**answer, "traces": found[: int(asked["limit"])]}).encode()

    def _trace(self, trace_id: str) -> tuple[int, bytes]:
        self.by_id.append(trace_id)
        stored = self.traces.get(trace_id.zfill(32))
        if stored is None:
            return 200, json.dumps(captured("byid-v2-missing")).encode()
        answer = captured("byid-v2-json")
        first = answer["trace"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        first["attributes"].append({"key": "user.hash", "value": {"stringValue": stored.user}})
        return 200, json.dumps(answer).encode()

    def _erase(self) -> None:
        """Let the redactions that were accepted have their effect, `looks` searches later."""
        waiting = []
        for looks, ids, by_query in self._redacted:
            if looks > 0:
                waiting.append((looks - 1, ids, by_query))
                continue
            for trace_id in ids:
                if by_query and trace_id in self.late:
                    self.only_late.add(trace_id)
                else:
                    self.traces.pop(trace_id, None)
        self._redacted = waiting

    def submit(self, body: bytes, context: Any) -> bytes:
        self.requests.append(body)
        self.metadata.append({key: value for key, value in context.invocation_metadata() if key != "user-agent"})
        if self.refusals:
            context.abort(*self.refusals.pop(0))
        if self._busy:
            self._busy -= 1
            context.abort(grpc.StatusCode.ALREADY_EXISTS, "a redaction is already in progress for this tenant")
        if not self.traces:
            context.abort(grpc.StatusCode.NOT_FOUND, "no blocks found for tenant")
        self._busy = self.busy_for
        if not body.endswith(b"\x20\x01") and b"}\x20\x01" not in body:  # else it is a dry run
            users = set(re.findall(rb'span\.user\.hash = "([^"]+)"', body))
            by_query = {trace_id for trace_id, stored in self.traces.items() if stored.user.encode() in users}
            by_id = {trace_id for trace_id in self.traces if bytes.fromhex(trace_id) in body}
            if by_query or not self.only_by_query:
                self._redacted.append((self.looks, by_query or by_id, bool(by_query)))
        self._batches += 1
        batch = b"batch-%d" % self._batches
        return b"\x0a" + bytes([len(batch)]) + batch + b"\x10\x03"


@contextmanager
def tempo_serving(*, credentials: grpc.ServerCredentials | None = None) -> Iterator[Tempo]:
    """Serve a Tempo on two free ports of 127.0.0.1 for the length of the block."""
    tempo = Tempo()

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, call: Any) -> Any:
            if call.method == "/tempopb.BackendScheduler/SubmitRedaction":
                return grpc.unary_unary_rpc_method_handler(tempo.submit)
            return None

    server = grpc.server(ThreadPoolExecutor(2), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers([Handler()])
    bound = (
        server.add_secure_port("127.0.0.1:0", credentials) if credentials else server.add_insecure_port("127.0.0.1:0")
    )
    tempo.scheduler = f"{'https' if credentials else 'http'}://127.0.0.1:{bound}"
    with ExitStack() as serving:
        tempo.url = serving.enter_context(answering(tempo.answer))
        server.start()
        try:
            yield tempo
        finally:
            server.stop(0).wait()

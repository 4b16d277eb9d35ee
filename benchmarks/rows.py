"""The rows: who takes turns at what, and what is asked of us."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.measure import Contestant, Goal, Row


class Way:
    """A function of a module of contestants, what it is called with, and what is in its environment."""

    def __init__(self, function: str, env: Mapping[str, str] | None = None, **options: object) -> None:
        self.function = function
        self.env = env or {}
        self.options = options


FASTAPI = "fastapi"
"""The row that the first figure comes from."""

REALISTIC = "fastapi-realistic"
"""The row whose endpoint does some work."""


class Peer(NamedTuple):
    """Who traces a FastAPI application."""

    label: str
    door: str
    """The function in `contestants.peers`."""
    spans: float | None
    """What a request must deliver."""
    spans_working: float | None
    """The same of the endpoint that works."""


def _floors(times: float) -> Goal:
    return Goal(relation="ratio", bound=times)


def _ratio(one_in: float) -> Goal:
    return Goal(relation="ratio", bound=1 / one_in)


def _asgi(name: str, title: str, goal: float, *, request: str = "plain", more: tuple[Contestant, ...] = ()) -> Row:
    given = {"request": request}
    return Row(
        name=name,
        title=title,
        unit="us",
        base="subtract",
        contestants=[
            Contestant(name="ours", target="asgi:ours", options=given, spans=1),
            Contestant(name="official", target="asgi:official", options=given, spans=4),
            Contestant(name="official, one span", target="asgi:official", options={**given, "one_span": True}, spans=1),
            *more,
            Contestant(name="floor", target="asgi:floor", options=given, goal=_floors(goal), spans=1),
            Contestant(name="untraced", target="asgi:untraced", options=given),
        ],
    )


def _pair(
    name: str,
    title: str,
    module: str,
    ours: Way,
    peers: Sequence[tuple[str, Way, Goal | None]],
    untraced: Way,
    *,
    spans: int = 1,
) -> Row:
    """Ours and some others, less the untraced application."""

    def contestant(name: str, way: Way, goal: Goal | None = None, spans: int | None = spans) -> Contestant:
        return Contestant(
            name=name, target=f"{module}:{way.function}", options=way.options, env=way.env, goal=goal, spans=spans
        )

    return Row(
        name=name,
        title=title,
        unit="us",
        base="subtract",
        contestants=[
            contestant("ours", ours),
            *(contestant(called, way, goal) for called, way, goal in peers),
            contestant("untraced", untraced, spans=None),
        ],
    )


def _fastapi(
    name: str,
    title: str,
    doors: Sequence[Peer],
    goal: float,
    *,
    burst: tuple[int, int],
    counted: tuple[int, int] | None = (32, 160),
    **options: object,
) -> Row:
    """FastAPI in process, traced by each of these."""

    def contestant(peer: Peer) -> Contestant:
        return Contestant(
            name=peer.label,
            target=f"endpoints:{'realistic' if name == REALISTIC else 'fastapi'}",
            options={"door": peer.door, **options},
            spans=peer.spans_working if name == REALISTIC else peer.spans,
            goal=_floors(goal) if peer.door == "floor" else None,
        )

    return Row(
        name=name,
        title=title,
        unit="us",
        base="subtract",
        burst=burst,
        counted=counted,
        contestants=[contestant(peer) for peer in (*doors, Peer("untraced", "untraced", None, None))],
    )


def _client(name: str, others: Sequence[tuple[str, Way, Goal | None]]) -> Row:
    title = f"a call with {name}: CPU added, sampled and exported"
    return _pair(name, title, "clients", Way(name, door="ours"), others, Way(name))


def _recorder(name: str, title: str, goal: Goal | None, *, foreign: bool = False, sampled: bool = True) -> Row:
    given = {"foreign": foreign, "sampled": sampled}
    # What our pipeline and the SDK's deliver off the clock is counted; a foreign processor keeps its spans.
    spans = None if foreign else int(sampled)
    floor = [Contestant(name="floor", target="recording:recorder_floor")] if sampled else []
    return Row(
        name=name,
        title=title,
        unit="us",
        contestants=[
            *(
                Contestant(
                    name=name,
                    target="recording:recorder",
                    options={**given, "whose": name},
                    goal=goal,
                    spans=spans,
                    # The worker sleeps while spans are recorded, so that recording alone is measured.
                    env={"OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "65536", "OTEL_BSP_SCHEDULE_DELAY": "600000"},
                )
                for name, goal in (("ours", None), ("SDK", goal))
            ),
            *floor,
        ],
    )


def _encode(name: str, title: str, goal: float, *, unique: bool) -> Row:
    given = {"unique": unique}
    target = "recording:encoder"
    return Row(
        name=name,
        title=title,
        unit="us",
        contestants=[
            Contestant(name="ours", target=target, options={**given, "whose": "ours"}),
            Contestant(name="official", target=target, options={**given, "whose": "official"}),
            Contestant(name="floor", target=target, options={**given, "whose": "floor"}, goal=_floors(goal)),
        ],
    )


def _kept(name: str, title: str, contestants: Iterable[Contestant]) -> Row:
    """Throughput that is kept, of what the last contestant does without tracing."""
    return Row(
        name=name,
        title=title,
        unit="requests/s",
        base="divide",
        burst=(2000, 1000),  # milliseconds of load
        counted=None,
        rounds=(11, 3),
        contestants=[*contestants],
    )


def _served(name: str, title: str, target: str, kind: str, ours: dict[str, float], peers: dict[str, str]) -> Row:
    """Throughput that is kept; `ours` has the goal for each label's sampling ratio, `peers` the door for each name."""
    ratios = {"ours": 1.0, "ours, 10 %": 0.1}
    return _kept(
        name,
        title,
        (
            *(
                Contestant(
                    name=label,
                    target=target,
                    options={"kind": kind, "door": "ours", "sampling": ratios[label]},
                    goal=Goal(relation="kept", bound=bound),
                )
                for label, bound in ours.items()
            ),
            *(
                Contestant(name=label, target=target, options={"kind": kind, "door": door})
                for label, door in peers.items()
            ),
            Contestant(name="untraced", target=target, options={"kind": kind}),
        ),
    )


def _chaos(name: str, title: str, server: str, backend: str) -> Row:
    """The slowest of a hundred responses while the backend misbehaves, beside those while it is well."""

    def contestant(name: str, backend: str, goal: Goal | None = None) -> Contestant:
        options = {"server": server, "backend": backend}
        return Contestant(name=name, target="servers:chaos", options=options, goal=goal)

    return Row(
        name=name,
        title=title,
        unit="p99 ms",
        burst=(2000, 1000),  # milliseconds of load
        counted=None,
        rounds=(15, 5),
        contestants=[
            contestant(f"a backend that {backend}", backend),
            contestant("one that is well", "healthy", Goal(relation="ratio", bound=1.1)),
        ],
    )


_STABLE_METRICS = {"OTEL_SEMCONV_STABILITY_OPT_IN": "http"}
_FASTAPI_PEERS = {"official": "official", "FastAPI native": "native", "floor": "floor"}
_DOORS = (
    Peer("ours", "ours", 1, 3),
    Peer("official", "official", 3, 7),
    Peer("official, one span", "official_one_span", 1, 4),
    Peer("FastAPI native", "native", 4, 7),
    Peer("ddtrace", "datadog", 2, None),  # has spans of its start as well
    Peer("logfire", "logfire", 1, 4),
    Peer("sentry-sdk", "sentry", 1, 3),
    Peer("elastic-apm", "elastic", 1, 3),
    Peer("floor", "floor", 1, 3),
)
_COLD_DOORS = [peer for peer in _DOORS if peer.door in ("ours", "official_one_span", "native", "floor")]

ROWS = [
    _fastapi(
        FASTAPI,
        "a FastAPI request: CPU added, sampled, recorded, encoded and posted",
        _DOORS,
        3.5,
        burst=(1024, 256),
    ),
    _fastapi(
        REALISTIC,
        "FastAPI, a select by SQLAlchemy's ORM and a call with httpx: CPU added, sampled and delivered",
        _DOORS,
        3,
        burst=(256, 64),
        counted=(16, 48),
    ),
    Row(
        name="fastapi-watched",
        title="FastAPI, two selects, two log records and a call, with what explains requests: CPU added and delivered",
        unit="us",
        base="subtract",
        burst=(256, 64),
        counted=(16, 48),
        contestants=[
            Contestant(name=name, target="endpoints:watched", options={"door": door}, goal=goal, spans=spans)
            for name, door, goal, spans in (
                ("all of it", "ours_with_logs", None, 4),
                ("watchdog and heartbeat", "ours", None, 4),
                ("watchdog", "ours_without_blame", None, 4),
                ("kept logs", "ours_with_logs_alone", None, 4),
                ("nothing", "ours_unwatched", _floors(1.2), 4),
                ("untraced", "untraced", None, None),
            )
        ],
    ),
    _fastapi(
        "fastapi-cold",
        "a FastAPI request that finds cold caches: CPU added, sampled and delivered",
        _COLD_DOORS,
        3.5,
        burst=(256, 64),
        counted=None,
        cold=True,
    ),
    _asgi(
        "asgi",
        "an ASGI request: CPU added, sampled, recorded, encoded and posted",
        3,
        more=(
            Contestant(
                name="official, one span, fastotel",
                target="asgi:official",
                options={"one_span": True, "processor": "fastotel"},
                spans=1,
            ),
        ),
    ),
    _asgi("asgi-traceparent", "the same, called by a traced service", 3, request="traceparent"),
    _asgi("asgi-unique", "the same with path, query and peer port never the same", 2.5, request="unique"),
    _pair(
        "asgi-starlette",
        "a Starlette request: CPU added, sampled and exported",
        "asgi",
        Way("ours", starlette=True),
        [("Starlette's own", Way("starlettes_own"), None), ("floor", Way("floor", starlette=True), _floors(3.5))],
        Way("untraced", starlette=True),
    ),
    _pair(
        "asgi-unsampled",
        "an ASGI request that is sampled out, and recorded in case it fails: CPU added",
        "asgi",
        Way("ours", sampling=0.0),
        [("official, one span", Way("official", sampling=0.0, one_span=True), _ratio(8))],
        Way("untraced"),
        spans=0,
    ),
    _pair(
        "asgi-unrecorded",
        "the same with keep_errors=False, where nothing is recorded: CPU added",
        "asgi",
        Way("ours", sampling=0.0, keep_errors=False),
        [("official, one span", Way("official", sampling=0.0, one_span=True), _ratio(15))],
        Way("untraced"),
        spans=0,
    ),
    _pair(
        "asgi-metrics",
        "an ASGI request with HTTP metrics: CPU added, sampled and exported",
        "asgi",
        Way("ours", metrics=True),
        [("official, one span", Way("official", _STABLE_METRICS, metrics=True, one_span=True), _ratio(8))],
        Way("untraced"),
    ),
    _pair(
        "asgi-skipped",
        "a health check: CPU added",
        "asgi",
        Way("ours", request="health"),
        [("official, excluded", Way("official", request="health"), _ratio(1))],
        Way("untraced", request="health"),
        spans=0,
    ),
    Row(
        name="routes",
        counted=None,
        title="a Starlette request with 300 routes and with 3: CPU added, sampled, export left out",
        unit="us",
        contestants=[
            Contestant(
                name=f"{number} routes",
                target="asgi:routes",
                options={"number": number},
                goal=goal,
                env={"OTEL_TRACES_EXPORTER": "none"},
            )
            for number, goal in ((300, None), (3, _ratio(1)))
        ],
    ),
    _pair(
        "wsgi",
        "a WSGI request: CPU added, sampled and exported",
        "wsgi",
        Way("ours"),
        [("official", Way("official"), None), ("floor", Way("floor"), _floors(3))],
        Way("untraced"),
    ),
    _pair(
        "flask",
        "a Flask request: CPU added, sampled and exported",
        "wsgi",
        Way("ours", flask=True),
        [("official", Way("official", flask=True), None), ("floor", Way("floor", flask=True), _floors(4.5))],
        Way("untraced", flask=True),
    ),
    _client(
        "httpx",
        [("official", Way("httpx", door="official"), None), ("floor", Way("httpx", door="floor"), _floors(2.5))],
    ),
    _client("requests", [("official", Way("requests", door="official"), _ratio(3))]),
    _pair(
        "sqlalchemy",
        "a select by SQLAlchemy: CPU added, sampled and exported",
        "databases",
        Way("sqlalchemy", door="ours"),
        [("official", Way("sqlalchemy", door="official"), _ratio(3))],
        Way("sqlalchemy"),
    ),
    Row(
        name="sqlalchemy-repeats",
        title="5,000 selects in a loop of one request, folded and not: CPU added, sampled and exported",
        unit="us",
        base="subtract",
        burst=(4, 1),
        counted=None,
        contestants=[
            Contestant(name="folded", target="databases:repeats", options={"door": "ours"}, spans=22),
            Contestant(
                name="not folded",
                target="databases:repeats",
                options={"door": "ours"},
                env={"TRACEMW_FOLD_AFTER": "0"},
                goal=_ratio(2),
                spans=5001,
            ),
            Contestant(name="untraced", target="databases:repeats"),
        ],
    ),
    _encode("encode", "a span encoded, of batches of 512 with 9 to 12 attributes, values repeat", 2, unique=False),
    _encode("encode-unique", "the same, every value is new", 1.5, unique=True),
    _recorder("recorder", "start_span with 9 attributes, and end", _ratio(7)),
    _recorder("recorder-foreign", "the same with the user's own sampler and processor", _ratio(2), foreign=True),
    _recorder("recorder-unsampled", "the same, sampled out, and recorded in case it fails", None, sampled=False),
    _recorder(
        "recorder-foreign-unsampled", "the same, sampled out by the user's sampler", None, foreign=True, sampled=False
    ),
    _served(
        "fastapi-uvicorn-h11",
        "FastAPI under uvicorn, h11 and asyncio: throughput kept",
        "servers:uvicorn",
        "h11",
        {"ours": 0.95, "ours, 10 %": 0.97},
        _FASTAPI_PEERS,
    ),
    _served(
        "fastapi-uvicorn-standard",
        "FastAPI under uvicorn[standard], httptools and uvloop: throughput kept",
        "servers:uvicorn",
        "standard",
        {"ours": 0.92, "ours, 10 %": 0.95},
        _FASTAPI_PEERS,
    ),
    _kept(
        "fastapi-watched-uvicorn",
        "the endpoint of fastapi-watched under uvicorn[standard], its call over the network: throughput kept",
        (
            Contestant(name=name, target="servers:shop", options={"door": door}, goal=goal)
            for name, door, goal in (
                ("all of it", "ours_with_logs", Goal(relation="kept", bound=0.85)),
                ("nothing", "ours_unwatched", Goal(relation="kept", bound=0.88)),
                ("official", "official", None),
                ("untraced", "untraced", None),
            )
        ),
    ),
    _served(
        "flask-gunicorn-sync",
        "Flask under gunicorn, sync worker: throughput kept",
        "servers:gunicorn",
        "sync",
        {"ours": 0.95},
        {"official": "official"},
    ),
    _served(
        "flask-gunicorn-gthread",
        "Flask under gunicorn, gthread worker: throughput kept",
        "servers:gunicorn",
        "gthread",
        {"ours": 0.95},
        {"official": "official"},
    ),
    _chaos("chaos-p99", "uvicorn with a backend that fails, in another way each time: p99 latency", "uvicorn", "fails"),
    _chaos("chaos-p99-hangs", "uvicorn with a backend that never answers: p99 latency", "uvicorn", "hangs"),
    _chaos("chaos-p99-gunicorn", "the first of these with gunicorn's gthread worker", "gunicorn", "fails"),
    Row(
        name="import",
        title="import, in a new process",
        unit="ms",
        burst=(5, 3),
        counted=None,
        contestants=[
            Contestant(name="import tracemw", target="startup:importing", options={"module": "tracemw"}),
            Contestant(
                name="import opentelemetry.trace",
                target="startup:importing",
                options={"module": "opentelemetry.trace"},
                goal=Goal(relation="over", bound=10),
            ),
        ],
    ),
    Row(
        name="init",
        title="import and set up, in a new process",
        unit="ms",
        burst=(3, 1),
        counted=None,
        contestants=[
            Contestant(name="tracemw.init", target="startup:setting_up", options={"whose": "ours"}),
            Contestant(
                name="SDK and its exporter", target="startup:setting_up", options={"whose": "SDK"}, goal=_ratio(1)
            ),
        ],
    ),
    Row(
        name="memory",
        title="resident memory over a million requests, all sampled and unlike, after the first 10,000",
        unit="MB",
        burst=(1_000_000, 60_000),
        rounds=(1, 1),
        most_rounds=1,
        counted=None,
        warm_up=False,
        contestants=[Contestant(name="ours", target="asgi:memory", goal=Goal(relation="below", bound=4), spans=1)],
    ),
]


def selected(names: list[str]) -> list[Row]:
    """Return the rows with these names; a name that no row has selects those that begin with it.

    Raises:
        ValueError: for a name that selects nothing.
    """
    if not names:
        return ROWS
    chosen: list[Row] = []
    for name in names:
        rows = [row for row in ROWS if row.name == name] or [row for row in ROWS if row.name.startswith(name)]
        if not rows:
            raise ValueError(f"no row {name!r}; there are {', '.join(row.name for row in ROWS)}")
        chosen += [row for row in rows if row not in chosen]
    return chosen

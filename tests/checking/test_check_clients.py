"""What `tracemw check` says of clients."""

from __future__ import annotations

import pytest

from checking.conftest import Check

TRACED_APPLICATION = """
        import tracemw, tracemw.asgi
        tracemw.init("shop")
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        app = tracemw.asgi.TraceMiddleware(app)
"""


def test_clients_of_every_library_are_found_traced_or_not(check: Check) -> None:
    found = check(f"""{TRACED_APPLICATION}
        import httpx, httpx2, requests, urllib3
        from sqlalchemy import create_engine
        from sqlalchemy.ext.asyncio import create_async_engine
        import tracemw.httpx, tracemw.httpx2, tracemw.requests, tracemw.urllib3, tracemw.sqlalchemy
        a1, a2 = tracemw.httpx.trace_client(httpx.Client()), httpx.Client()
        b1, b2 = tracemw.httpx.trace_client(httpx.AsyncClient()), httpx.AsyncClient()
        c1, c2 = tracemw.httpx2.trace_client(httpx2.Client()), httpx2.Client()
        d1, d2 = tracemw.requests.trace_session(requests.Session()), requests.Session()
        e1, e2 = tracemw.urllib3.trace_pool_manager(urllib3.PoolManager()), urllib3.PoolManager()
        from sqlalchemy import text
        f1, f2 = tracemw.sqlalchemy.trace_engine(create_engine("sqlite://")), create_engine("sqlite://")
        g1 = tracemw.sqlalchemy.trace_engine(create_async_engine("sqlite+aiosqlite://"))
        g2 = create_async_engine("sqlite+aiosqlite://")
        h1, h2 = create_engine("sqlite://"), create_engine("sqlite://")
        tracemw.sqlalchemy.trace_engine(h1)
        for used in (h1, h2):
            with used.connect() as connection:
                connection.execute(text("SELECT 1"))
        i1 = create_async_engine("sqlite+aiosqlite://")
        tracemw.sqlalchemy.trace_engine(i1)
        j1 = h1.execution_options(stream_results=True)
        del used, connection
    """)
    traced = {client["name"]: client["traced"] for client in found["clients"]}
    both = {f"service.{letter}{number}": number == 1 for letter in "abcdefgh" for number in (1, 2)}
    assert traced == {**both, "service.i1": True, "service.j1": True}
    told = {problem["remedy"] for problem in found["problems"] if problem["code"] == "client"}
    assert told == {
        "add: tracemw.httpx.trace_client(a2)",
        "add: tracemw.httpx.trace_client(b2)",
        "add: tracemw.httpx2.trace_client(c2)",
        "add: tracemw.requests.trace_session(d2)",
        "add: tracemw.urllib3.trace_pool_manager(e2)",
        "add: tracemw.sqlalchemy.trace_engine(f2)",
        "add: tracemw.sqlalchemy.trace_engine(g2)",
        "add: tracemw.sqlalchemy.trace_engine(h2)",
    }


def test_clients_are_found_wherever_the_application_keeps_them(check: Check) -> None:
    found = check(
        """
        import functools
        import httpx, tracemw
        from starlette.applications import Starlette
        from starlette.routing import Route
        tracemw.init("shop")
        class Gateway:
            shared = httpx.Client()
            def __init__(self):
                self.own = httpx.Client()
        gateway = Gateway()
        by_name = {"payments": httpx.Client()}
        several = [httpx.Client()]
        part = functools.partial(print, httpx.Client())
        def with_default(client=httpx.Client()):
            pass
        def create_app():
            client = httpx.Client()
            def served(request):
                return client.get("/")
            made = Starlette(routes=[Route("/", served)])
            made.add_middleware(tracemw.starlette.TraceMiddleware)
            made.state.pool = httpx.Client()
            return made
    """,
        "--factory",
        target="service:create_app",
    )
    names = {client["name"] for client in found["clients"]}
    assert names == {
        "service.Gateway.shared",
        "service.gateway.own",
        "service.by_name['payments']",
        "service.several[0]",
        "service.part[0]",
        "service.with_default[0]",
        "service.create_app.state.pool",
        "service.create_app.client",
    }
    assert found["traced_by"] == "tracemw.starlette.TraceMiddleware"


def test_a_client_is_told_once_with_its_line_and_a_call_without_one_by_the_rule_of_the_linter(check: Check) -> None:
    found = check(f"""{TRACED_APPLICATION}
        import httpx, requests
        client = httpx.Client(
            timeout=1,
        )
        other = httpx.Client(
            timeout=1,
        )  # tracemw: ignore[client] - no service of ours
        one_more = httpx.Client()  # tracemw: ignore[no-door]
        def charge():
            return requests.post("http://payments.example", timeout=1)
        def ask():
            return requests.get("http://payments.example", timeout=1)  # noqa: TMW302 - no service of ours
    """)
    places = [(problem["code"], problem["path"], problem["line"]) for problem in found["problems"]]
    assert places == [("client", "service.py", 10), ("client", "service.py", 16), ("TMW302", "service.py", 18)]
    assert found["problems"][0]["sentence"] == ("the httpx.Client service.client is not traced: it hands no trace on")


def test_a_client_that_the_startup_makes_is_found_with_the_startup(check: Check) -> None:
    found = check(
        """
        import contextlib
        import httpx, tracemw
        from starlette.applications import Starlette
        @contextlib.asynccontextmanager
        async def lifespan(app):
            tracemw.init("shop")
            app.state.client = make()
            yield
        def make(kind=httpx.Client):
            return kind()
        app = Starlette(lifespan=lifespan)
        app.add_middleware(tracemw.starlette.TraceMiddleware)
        """,
        "--lifespan",
    )
    (problem,) = found["problems"]
    assert (problem["code"], problem["line"]) == ("client", 8)
    assert problem["remedy"] == "add: tracemw.httpx.trace_client(app.state.client)"


def test_a_client_counts_as_traced_if_all_that_it_sends_through_is_traced(check: Check) -> None:
    found = check(f"""{TRACED_APPLICATION}
        import httpx, tracemw.httpx
        class Retries(httpx.BaseTransport):
            def __init__(self, transport):
                self._transport = transport
        within = httpx.Client(transport=Retries(tracemw.httpx.TraceTransport()))
        past = httpx.Client(transport=tracemw.httpx.TraceTransport(), proxy="http://proxy.example:3128")
    """)
    assert {client["name"]: client["traced"] for client in found["clients"]} == {
        "service.within": True,
        "service.past": False,
    }


def test_an_engine_that_the_official_instrumentation_traces_counts_as_traced(check: Check) -> None:
    pytest.importorskip("opentelemetry.instrumentation.sqlalchemy")
    found = check(f"""{TRACED_APPLICATION}
        from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor
        from sqlalchemy import create_engine
        engine = create_engine("sqlite://")
        SQLAlchemyInstrumentor().instrument(engine=engine)
    """)
    assert (found["clients"], found["problems"]) == (
        [{"name": "service.engine", "class": "sqlalchemy.engine.base.Engine", "traced": True}],
        [],
    )


def test_a_channel_of_grpc_is_told_with_its_instrumentation(check: Check) -> None:
    pytest.importorskip("grpc")
    found = check(f"""{TRACED_APPLICATION}
        import grpc
        channel = grpc.insecure_channel("127.0.0.1:1")
    """)
    (problem,) = found["problems"]
    assert problem["remedy"].endswith('tracemw.init(instrument=("grpc_client",))')


def test_clients_within_installed_packages_are_no_business_of_the_application(check: Check) -> None:
    found = check(f"""{TRACED_APPLICATION}
        import requests.api, urllib3.connectionpool
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        exporter = OTLPSpanExporter()
    """)
    assert (found["clients"], found["problems"]) == ([], [])

"""What `tracemw check` says of how requests are traced."""

from __future__ import annotations

import re

import pytest

from checking.conftest import Check, codes

BARE = """
    import tracemw, tracemw.asgi
    tracemw.init("shop")
    async def answer(scope, receive, send):
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b""})
"""
LAYER = """
    class Errors:
        def __init__(self, app):
            self.app = app
        async def __call__(self, scope, receive, send):
            await self.app(scope, receive, send)
"""

TRACED = {
    "ASGI": (f"{BARE}\n    app = tracemw.asgi.TraceMiddleware(answer)", "tracemw.asgi"),
    "WSGI": (
        """
        import tracemw, tracemw.wsgi
        tracemw.init("shop")
        def answer(environ, start_response):
            start_response("404 Not Found", [])
            yield b""
        app = tracemw.wsgi.TraceMiddleware(answer)
        """,
        "tracemw.wsgi",
    ),
    "Starlette": (
        """
        import tracemw
        from starlette.applications import Starlette
        tracemw.init("shop")
        app = Starlette()
        app.add_middleware(tracemw.starlette.TraceMiddleware)
        """,
        "tracemw.starlette",
    ),
    "FastAPI from outside": (
        """
        import tracemw
        from fastapi import FastAPI
        tracemw.init("shop")
        inner = FastAPI()
        @inner.middleware("http")
        async def timed(request, call_next):
            return await call_next(request)
        @inner.api_route("/{path:path}", methods=["GET", "POST"])
        def everything(path: str):
            raise RuntimeError("a handler has run")
        app = tracemw.fastapi.TraceMiddleware(inner)
        """,
        "tracemw.fastapi",
    ),
    "Flask": (
        """
        import tracemw
        from flask import Flask
        from werkzeug.middleware.proxy_fix import ProxyFix
        tracemw.init("shop")
        app = Flask(__name__)
        tracemw.flask.TraceMiddleware(app)
        app.wsgi_app = ProxyFix(app.wsgi_app)
        """,
        "tracemw.flask",
    ),
    "Litestar": (
        """
        import tracemw
        from litestar import Litestar
        tracemw.init("shop")
        app = Litestar([])
        tracemw.litestar.TraceMiddleware(app)
        """,
        "tracemw.litestar",
    ),
    "Falcon": (
        """
        import falcon, tracemw
        tracemw.init("shop")
        app = falcon.App()
        tracemw.falcon.TraceMiddleware(app)
        """,
        "tracemw.falcon",
    ),
    "Falcon on ASGI": (
        """
        import falcon.asgi, tracemw
        tracemw.init("shop")
        app = falcon.asgi.App()
        tracemw.falcon.TraceMiddleware(app)
        """,
        "tracemw.falcon",
    ),
    "Quart": (
        """
        import tracemw
        from quart import Quart
        tracemw.init("shop")
        app = Quart(__name__)
        app.asgi_app = tracemw.asgi.TraceMiddleware(app.asgi_app)
        """,
        "tracemw.asgi",
    ),
    "Django": (
        """
        import tracemw
        from django.conf import settings
        from django.core.asgi import get_asgi_application
        settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="-", ALLOWED_HOSTS=["shop.example"])
        urlpatterns = []
        tracemw.init("shop")
        app = get_asgi_application()
        app = tracemw.asgi.TraceMiddleware(app)
        """,
        "tracemw.asgi",
    ),
    "Django on WSGI": (
        """
        import tracemw
        from django.conf import settings
        from django.core.wsgi import get_wsgi_application
        settings.configure(ROOT_URLCONF=__name__, SECRET_KEY="-", DEBUG=True)
        urlpatterns = []
        tracemw.init("shop")
        app = get_wsgi_application()
        app = tracemw.wsgi.TraceMiddleware(app)
        """,
        "tracemw.wsgi",
    ),
}


@pytest.mark.parametrize("name", TRACED)
def test_an_application_with_its_door_passes(check: Check, name: str) -> None:
    source, door = TRACED[name]
    found = check(source)
    assert (found["problems"], found["status"]) == ([], 0)
    assert found["traced_by"] == f"{door}.TraceMiddleware"
    assert "the request has failed" not in str(found["notes"])


OF_THE_PAGE = {"FastAPI from outside"}
"""What the page shows without its door: see `test_check_command`."""
VARIANTS = {"Falcon on ASGI", "Django"}
"""Their missing lines have the form of another one's."""


@pytest.mark.parametrize("name", sorted(TRACED.keys() - OF_THE_PAGE - VARIANTS))
def test_without_its_door_the_very_line_that_is_missing_is_told(check: Check, name: str) -> None:
    lines = TRACED[name][0].replace("answer", "app").splitlines()
    (removed,) = (line for line in lines if "TraceMiddleware" in line)
    lines.remove(removed)
    found = check("\n".join(lines))
    assert (codes(found), found["status"], found["traced_by"]) == (["no-door"], 1, None)
    (problem,) = found["problems"]
    assert problem["remedy"] == f"add: {removed.strip()}"
    assert problem["path"] == "service.py"
    assert re.match(r" *(app = |(async )?def app)", lines[problem["line"] - 1])


def test_without_init_the_call_is_told(check: Check) -> None:
    found = check(TRACED["ASGI"][0].replace('tracemw.init("shop")', "pass"))
    assert codes(found) == ["no-init"]
    assert found["problems"][0]["remedy"] == 'add: tracemw.init("service")'


def test_a_provider_of_the_application_s_own_stands_in_for_init_and_exports_nothing(check: Check) -> None:
    found = check("""
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
        import sys, tracemw.asgi
        class Exporter(SpanExporter):
            def export(self, spans):
                print("exported", file=sys.stderr)
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(Exporter()))
        trace.set_tracer_provider(provider)
        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        app = tracemw.asgi.TraceMiddleware(app)
    """)
    assert (found["problems"], found["traced_by"]) == ([], "tracemw.asgi.TraceMiddleware")
    assert "exported" not in found["stderr"]


def test_a_door_with_a_provider_of_its_own_counts(check: Check) -> None:
    found = check(
        f"{BARE}\n    from opentelemetry.sdk.trace import TracerProvider"
        "\n    app = tracemw.asgi.TraceMiddleware(answer, tracer_provider=TracerProvider())"
    )
    assert (found["problems"], found["traced_by"]) == ([], "tracemw.asgi.TraceMiddleware")


def test_a_layer_outside_of_the_door_is_told_with_its_line(check: Check) -> None:
    found = check(f"{BARE}{LAYER}\n    app = Errors(tracemw.asgi.TraceMiddleware(answer))")
    (problem,) = found["problems"]
    assert (problem["code"], problem["line"]) == ("not-outermost", 11)
    assert "Errors stands outside of the TraceMiddleware" in problem["sentence"]
    assert problem["remedy"].endswith("app = tracemw.asgi.TraceMiddleware(app)")


@pytest.mark.parametrize(
    "lines",
    [
        "app = Guard(tracemw.asgi.TraceMiddleware(answer))",
        "from starlette.applications import Starlette; app = Starlette(); other = Starlette(); "
        "app.add_middleware(tracemw.starlette.TraceMiddleware); app = Guard(app)",
    ],
    ids=["around", "added"],
)
def test_a_layer_that_answers_before_the_door_is_told(check: Check, lines: str) -> None:
    found = check(f"""{BARE}
    class Guard:
        def __init__(self, app):
            self.app = app
        async def __call__(self, scope, receive, send):
            await answer(scope, receive, send)
    {lines}
    """)
    (problem,) = found["problems"]
    assert (problem["code"], problem["line"]) == ("not-outermost", 4)
    assert problem["remedy"] == "put the TraceMiddleware outside: app = tracemw.asgi.TraceMiddleware(app)"


def test_a_layer_that_runs_the_application_in_a_task_of_its_own_is_told(check: Check) -> None:
    found = check("""
        import tracemw
        from starlette.applications import Starlette
        from starlette.middleware.base import BaseHTTPMiddleware
        tracemw.init("shop")
        inner = Starlette()
        inner.add_middleware(tracemw.starlette.TraceMiddleware)
        async def timed(request, call_next):
            return await call_next(request)
        app = BaseHTTPMiddleware(inner, dispatch=timed)
    """)
    assert codes(found) == ["not-outermost"]
    assert "BaseHTTPMiddleware" in found["problems"][0]["sentence"]


def test_middleware_around_a_flask_application_that_is_traced_first_is_told(check: Check) -> None:
    found = check("""
        import tracemw
        from flask import Flask
        tracemw.init("shop")
        app = Flask(__name__)
        tracemw.flask.TraceMiddleware(app)
        def errors(app):
            def handled(environ, start_response):
                return app(environ, start_response)
            return handled
        app.wsgi_app = errors(app.wsgi_app)
    """)
    (problem,) = found["problems"]
    assert problem["code"] == "not-outermost"
    assert problem["sentence"].startswith("service.errors stands outside")
    assert problem["remedy"].endswith("call tracemw.flask.TraceMiddleware(app) after service.errors is there")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (f"{BARE}\n    app = tracemw.asgi.TraceMiddleware(tracemw.asgi.TraceMiddleware(answer))", ["door-twice"]),
        (
            """
            import tracemw
            from starlette.applications import Starlette
            tracemw.init("shop")
            app = Starlette()
            app.add_middleware(tracemw.starlette.TraceMiddleware)
            app.add_middleware(tracemw.starlette.TraceMiddleware)
            """,
            ["door-twice"],
        ),
        (
            """
            import tracemw
            from starlette.applications import Starlette
            tracemw.init("shop")
            app = Starlette()
            app.add_middleware(tracemw.starlette.TraceMiddleware)
            app = tracemw.asgi.TraceMiddleware(app)
            """,
            [],
        ),
        (
            """
            import tracemw
            from flask import Flask
            tracemw.init("shop")
            app = Flask(__name__)
            tracemw.flask.TraceMiddleware(app)
            app.wsgi_app = tracemw.wsgi.TraceMiddleware(app.wsgi_app)
            """,
            [],
        ),
    ],
    ids=["around", "added", "general around Starlette", "general around Flask"],
)
def test_a_door_that_adds_nothing_to_one_outside_is_told(check: Check, source: str, told: list[str]) -> None:
    assert codes(check(source)) == told


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (
            """
            import tracemw
            from starlette.applications import Starlette
            tracemw.init("shop")
            app = Starlette()
            app = tracemw.asgi.TraceMiddleware(app)
            """,
            "app.add_middleware(tracemw.starlette.TraceMiddleware)",
        ),
        (
            """
            import tracemw
            from flask import Flask
            tracemw.init("shop")
            app = Flask(__name__)
            app.wsgi_app = tracemw.wsgi.TraceMiddleware(app.wsgi_app)
            """,
            "tracemw.flask.TraceMiddleware(app)",
        ),
    ],
    ids=["Starlette", "Flask"],
)
def test_a_door_that_does_not_know_the_routes_is_told(check: Check, source: str, line: str) -> None:
    (problem,) = check(source)["problems"]
    assert problem["code"] == "other-door"
    assert problem["remedy"].endswith(line)


@pytest.mark.parametrize(
    ("skip", "wrong"),
    [
        ('"/*"', ["skips-all"]),
        ('("/orders*", "/customers/*")', ["skips-all"]),
        ('"/orders*"', []),
        ('lambda request: request.method != "GET"', []),
    ],
)
def test_skip_patterns_that_leave_nothing_are_told(check: Check, skip: str, wrong: list[str]) -> None:
    found = check(f"""
        import tracemw
        from starlette.applications import Starlette
        from starlette.routing import Mount, Route
        tracemw.init("shop")
        def served(request):
            raise RuntimeError
        routes = [Route("/orders", served), Mount("/customers", routes=[Route("/{{id}}", served)])]
        routes.append(Route("/health", served))
        app = Starlette(routes=routes)
        app.add_middleware(tracemw.starlette.TraceMiddleware, skip={skip})
    """)
    assert codes(found) == wrong


def test_what_is_mounted_without_a_door_is_told(check: Check) -> None:
    found = check("""
        import tracemw
        from flask import Flask
        from werkzeug.middleware.dispatcher import DispatcherMiddleware
        tracemw.init("shop")
        site, api = Flask("site"), Flask("api")
        tracemw.flask.TraceMiddleware(site)
        app = DispatcherMiddleware(site, {"/api": api})
    """)
    assert "mount-without-door" in codes(found)
    (told,) = (problem for problem in found["problems"] if problem["code"] == "mount-without-door")
    assert "beneath /api are not traced" in told["sentence"]
    assert told["remedy"].endswith("app = tracemw.wsgi.TraceMiddleware(app)")


def test_an_outer_application_without_a_door_is_told_though_a_mounted_one_has_one(check: Check) -> None:
    found = check("""
        import tracemw
        from starlette.applications import Starlette
        tracemw.init("shop")
        first, app = Starlette(), Starlette()
        part = Starlette()
        part.add_middleware(tracemw.starlette.TraceMiddleware)
        app.mount("/part", part)
        last = Starlette()
    """)
    (problem,) = found["problems"]
    assert (problem["code"], problem["line"]) == ("no-door", 5)
    assert "beneath /part only" in problem["sentence"]
    assert problem["remedy"] == "add: app.add_middleware(tracemw.starlette.TraceMiddleware)"


def test_an_application_whose_middleware_needs_the_startup_is_checked_all_the_same(check: Check) -> None:
    source = f"""{BARE}
    ready = []
    async def needing(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            ready.append(True)
            await send({{"type": "lifespan.startup.complete"}})
            await receive()
            await send({{"type": "lifespan.shutdown.complete"}})
            return
        if not ready:
            raise RuntimeError("no pool: password=hunter2")
        await answer(scope, receive, send)
    app = tracemw.asgi.TraceMiddleware(needing)
    """
    found = check(source)
    assert found["problems"] == []
    assert "--lifespan" in found["notes"][0]
    assert "the request has failed: RuntimeError: no pool: password=[REDACTED] (" in found["notes"][-1]
    assert check(source, "--lifespan")["notes"] == []


def test_of_several_applications_of_which_one_was_wrapped_its_own_line_is_told(check: Check) -> None:
    found = check(f"""{BARE}{LAYER}
    from starlette.applications import Starlette
    app = Starlette()
    other = Starlette()
    app = Errors(app)
    """)
    (problem,) = found["problems"]
    assert (problem["code"], problem["line"]) == ("no-door", 15)
    assert problem["remedy"] == "add: app.add_middleware(tracemw.starlette.TraceMiddleware)"

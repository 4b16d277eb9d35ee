"""The doors that remedies name: of frameworks, and of clients. `tracemw check` goes by the same tables."""

from __future__ import annotations

from typing import Final, NamedTuple


class Framework(NamedTuple):
    """One framework."""

    name: str
    protocol: str
    """The interface that servers call its applications by: `asgi` or `wsgi`."""
    door: str
    """The module of its door."""
    line: str
    """What adds the door to the application `{app}`."""

    def line_for(self, application: str) -> str:
        """Return the line that adds the door to an application, by the name that the application has."""
        return self.line.format(app=application)


_FASTAPI: Final = Framework(
    "FastAPI", "asgi", "tracemw.fastapi", "{app}.add_middleware(tracemw.fastapi.TraceMiddleware)"
)
_STARLETTE: Final = Framework(
    "Starlette", "asgi", "tracemw.starlette", "{app}.add_middleware(tracemw.starlette.TraceMiddleware)"
)
_FLASK: Final = Framework("Flask", "wsgi", "tracemw.flask", "tracemw.flask.TraceMiddleware({app})")
_QUART: Final = Framework(
    "Quart", "asgi", "tracemw.asgi", "{app}.asgi_app = tracemw.asgi.TraceMiddleware({app}.asgi_app)"
)
_LITESTAR: Final = Framework("Litestar", "asgi", "tracemw.litestar", "tracemw.litestar.TraceMiddleware({app})")
_FALCON: Final = Framework("Falcon", "wsgi", "tracemw.falcon", "tracemw.falcon.TraceMiddleware({app})")
_FALCON_ASGI: Final = _FALCON._replace(protocol="asgi")
_DJANGO: Final = Framework("Django", "wsgi", "tracemw.wsgi", "{app} = tracemw.wsgi.TraceMiddleware({app})")
_DJANGO_ASGI: Final = Framework("Django", "asgi", "tracemw.asgi", "{app} = tracemw.asgi.TraceMiddleware({app})")

MADE_BY: Final = {
    "fastapi.FastAPI": _FASTAPI,
    "fastapi.applications.FastAPI": _FASTAPI,
    "starlette.applications.Starlette": _STARLETTE,
    "flask.Flask": _FLASK,
    "flask.app.Flask": _FLASK,
    "quart.Quart": _QUART,
    "quart.app.Quart": _QUART,
    "litestar.Litestar": _LITESTAR,
    "litestar.app.Litestar": _LITESTAR,
    "falcon.App": _FALCON,
    "falcon.app.App": _FALCON,
    "falcon.asgi.App": _FALCON_ASGI,
    "falcon.asgi.app.App": _FALCON_ASGI,
    "django.core.wsgi.get_wsgi_application": _DJANGO,
    "django.core.handlers.wsgi.WSGIHandler": _DJANGO,
    "django.core.asgi.get_asgi_application": _DJANGO_ASGI,
    "django.core.handlers.asgi.ASGIHandler": _DJANGO_ASGI,
}
"""What makes an application, by its full name: as it is imported, and as the class itself tells."""

CLIENT_DOORS: Final = {
    "httpx": "tracemw.httpx.trace_client",
    "httpx2": "tracemw.httpx2.trace_client",
    "requests": "tracemw.requests.trace_session",
    "urllib3": "tracemw.urllib3.trace_pool_manager",
    "sqlalchemy": "tracemw.sqlalchemy.trace_engine",
}
"""What traces a client, by the client's library."""

INSTRUMENTATIONS: Final = {"aiohttp": "aiohttp-client", "grpc": "grpc_client"}
"""The official instrumentations of libraries that have no door, by the names that `init(instrument=...)` takes."""

INSTRUMENTORS: Final = {
    "httpx": "HTTPXClientInstrumentor",
    "requests": "RequestsInstrumentor",
    "urllib3": "URLLib3Instrumentor",
    "aiohttp": "AioHttpClientInstrumentor",
}
"""The classes by which official instrumentations trace all clients of a library."""


def instrumentation_remedy(library: str) -> str:
    """Return what to do for a library that has no door."""
    return f'turn on its instrumentation: tracemw.init(instrument=("{INSTRUMENTATIONS[library]}",))'

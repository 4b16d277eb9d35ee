"""Applications with and without a middleware."""

from fastapi import FastAPI
from flask import Flask
from litestar import Litestar
from quart import Quart
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount

from shop.settings import MIDDLEWARE, OPTIONS, Adapter, lifespan

import tracemw.asgi
import tracemw.flask
import tracemw.starlette
from tracemw.fastapi import TraceMiddleware

bare = FastAPI()  # expect: TMW301
traced = FastAPI(title="shop")
traced.add_middleware(TraceMiddleware)
from_outside = TraceMiddleware(FastAPI())
inner = FastAPI()
outer = TraceMiddleware(inner)
native = FastAPI(telemetry={"tracer_provider": None})
by_list = Starlette(middleware=[Middleware(tracemw.starlette.TraceMiddleware)])
without = Starlette(middleware=[Middleware(dict)])  # expect: TMW301
part = FastAPI()
traced.mount("/part", part)
adapted = Flask(__name__)
traced.mount("/adapted", Adapter(adapted))
other_part = Starlette()
whole = Starlette(routes=[Mount("/other", other_part)], middleware=[Middleware(TraceMiddleware)])
site = Flask(__name__)  # expect: TMW301
traced_site = Flask(__name__)
tracemw.flask.TraceMiddleware(traced_site)
quart = Quart(__name__)
quart.asgi_app = tracemw.asgi.TraceMiddleware(quart.asgi_app)
star = Litestar()  # expect: TMW301
by_name = Starlette(middleware=MIDDLEWARE)
Flask(__name__)  # for its side effects
lifespan(FastAPI())
by_options = FastAPI(**OPTIONS)


def make():
    app = FastAPI()  # expect: TMW301
    return app


def make_traced():
    app = FastAPI()
    add_tracing(app)
    return app


def add_tracing(application):
    application.add_middleware(TraceMiddleware)

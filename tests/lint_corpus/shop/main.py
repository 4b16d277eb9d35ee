"""Where the middleware is added."""

from tracemw.fastapi import TraceMiddleware

from .app import api, create_app

api.add_middleware(TraceMiddleware)
app = create_app()
app.add_middleware(TraceMiddleware)

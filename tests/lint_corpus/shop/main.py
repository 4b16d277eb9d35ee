"""Where the middleware is added."""

from tracemw.fastapi import TraceMiddleware

from .app import api, create_app
from .chat import mount_panel

api.add_middleware(TraceMiddleware)
app = create_app()
app.add_middleware(TraceMiddleware)
mount_panel(app)

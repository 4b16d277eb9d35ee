"""The storefront, whose calls are retried."""

import httpx

from examples.fastapi_app.storefront import app, shared_client
from examples.incidents.ghost_error.retries import Retries

client = httpx.AsyncClient(transport=Retries(), timeout=5.0)

app.dependency_overrides[shared_client] = lambda: client

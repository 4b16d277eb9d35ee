"""The server from which a command fetches traces."""

from __future__ import annotations

import argparse

from tracemw.analysis.load.query_api import QueryApi
from tracemw.config.arguments import Arguments
from tracemw.config.headers import headers_for
from tracemw.config.tls import Tls


def open_api(options: argparse.Namespace) -> QueryApi:
    """Return the server that `--url` and `--tenant` name. Headers and certificates are those of the export."""
    tls = Tls.resolve("traces", Arguments(), needs_context=options.url.startswith("https:"))
    headers = headers_for("traces", "http/protobuf", None, options.tenant)
    return QueryApi(options.url, headers=headers, context=tls.context)

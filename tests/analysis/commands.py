"""Commands of `tracemw`, run in this process, which is quick; and servers that answer what a test says."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest

from servers import socketserver_serving
from tracemw.cli import main

Answers = Callable[[str, Any], tuple[int, bytes]]


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, stdin: bytes = b"") -> Ended:
    """Run a command."""
    out, err, given = io.StringIO(), io.StringIO(), io.TextIOWrapper(io.BytesIO(stdin))
    with redirect_stdout(out), redirect_stderr(err), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", given)
        try:
            status = main(arguments)
        except SystemExit as error:
            status = int(error.code or 0)
    return Ended(status, out.getvalue(), err.getvalue())


@contextmanager
def answering(answers: Answers) -> Iterator[str]:
    """Run a server that answers a target and headers with a status and a body."""

    class Handler(BaseHTTPRequestHandler):
        wbufsize = -1  # head and body leave together

        def do_GET(self) -> None:
            status, body = answers(self.path, self.headers)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            if status == 302:
                self.send_header("location", "http://127.0.0.1:9/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with socketserver_serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as url:
        yield url

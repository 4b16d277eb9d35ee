"""The ``tracemw`` command: one subcommand per tool; each loads its own room, and no door, when it runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tracemw._version import __version__

EXIT_OK = 0
EXIT_ERROR = 2

_VIEW_EXAMPLE = """\
example:
  tracemw view                      listens where OTLP exporters send by default, http://127.0.0.1:4318
  tracemw view --db traces.db       keeps the traces for the next time

Then run a service with OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 and open http://127.0.0.1:4318.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, ``sys.argv`` unless given; returns the exit status (0 fine, 2 usage or environment)."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tracemw",
        description="Tools for distributed tracing of Python web services.",
        epilog="example:\n  tracemw view        watch traces in the browser, with nothing installed\n",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tracemw {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_view(commands)
    return parser


def _add_view(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    view = commands.add_parser(
        "view",
        help="receive traces and show them in the browser",
        description="Receive traces over OTLP/HTTP, answer Tempo's query API and show the traces on a web page.",
        epilog=_VIEW_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    view.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    view.add_argument("--port", type=_port, default=4318, help="port, 0 for any free one (default: %(default)s)")
    view.add_argument("--db", type=Path, metavar="FILE", help="SQLite file to keep traces in (default: in memory)")
    view.add_argument(
        "--max-spans",
        type=_positive,
        default=200_000,
        metavar="N",
        help="when there are more spans, the oldest traces go (default: %(default)s)",
    )
    view.set_defaults(run=_view)


def _view(options: argparse.Namespace) -> int:
    try:
        from tracemw.viewer.serve import PortError, serve
        from tracemw.viewer.store import StoreError
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "anyio", "h11"):
            raise
        return _error(f"tracemw view needs {error.name}: pip install 'tracemw[viewer]'")

    def announce(line: str) -> None:
        print(line, flush=True)

    try:
        serve(
            host=options.host,
            port=options.port,
            db=options.db,
            max_spans=options.max_spans,
            announce=announce,
        )
    except (PortError, StoreError) as error:
        return _error(f"tracemw view: {error}")
    return EXIT_OK


def _error(message: str) -> int:
    print(message, file=sys.stderr)
    return EXIT_ERROR


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)

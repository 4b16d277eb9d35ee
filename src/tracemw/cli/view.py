"""``tracemw view``: receive traces and show them in the browser."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import Final

from tracemw.cli.command import FINE, Command
from tracemw.cli.output import fail, say
from tracemw.config.environment import get

_EXTRA: Final = ("starlette", "uvicorn", "anyio", "h11", "re2")
"""The modules that the extra `viewer` installs."""

_HOST_NAME: Final = re.compile(r"[\w-]+(\.[\w-]+)*", re.ASCII)


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=4318, help="port, 0 for any free one (default: %(default)s)")
    parser.add_argument("--db", type=Path, metavar="FILE", help="SQLite file to keep traces in (default: in memory)")
    parser.add_argument(
        "--token",
        metavar="TOKEN",
        help="what each request has to show (default: TRACEMW_VIEWER_TOKEN, which does not stand in the list of "
        "processes; else a new token, or none if only this machine can connect)",
    )
    parser.add_argument(
        "--allowed-host",
        type=_host_name,
        action="append",
        default=[],
        metavar="NAME",
        help="a name by which the viewer may be called, beside localhost and addresses; may come several times "
        "(default: this machine's own names, if others can connect)",
    )
    parser.add_argument(
        "--max-spans",
        type=_positive,
        default=200_000,
        metavar="N",
        help="when there are more spans, the oldest traces go (default: %(default)s)",
    )
    parser.add_argument(
        "--max-bytes",
        type=_positive,
        default=256 * 1024 * 1024,
        metavar="N",
        help="when the spans have more bytes, the oldest traces go (default: %(default)s, which is 256 MiB)",
    )


def _run(options: argparse.Namespace) -> int:
    try:
        from tracemw.viewer.admission import TokenError, check_token
        from tracemw.viewer.serve import PortError, serve
        from tracemw.viewer.storing.database import StoreError
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        return fail(f"tracemw view needs {error.name}: pip install 'tracemw[viewer]'")
    token = get("TRACEMW_VIEWER_TOKEN") if options.token is None else options.token
    try:
        serve(
            host=options.host,
            port=options.port,
            db=options.db,
            max_spans=options.max_spans,
            max_bytes=options.max_bytes,
            token=None if token is None else check_token(token),
            allowed_hosts=options.allowed_host,
            announce=say,
        )
    except (TokenError, PortError, StoreError) as error:
        return fail(f"tracemw view: {error}")
    return FINE


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; use a port from 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; use a whole number above 0")
    return int(text)


def _host_name(text: str) -> str:
    if not _HOST_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; use a name without http:// and without a port")
    return text.lower()


VIEW: Final = Command(
    name="view",
    summary="receive traces and show them in the browser",
    description="Receive traces over OTLP/HTTP, answer Tempo's query API and show the traces on a web page.",
    example="""\
example:
  tracemw view                      listens where OTLP exporters send by default, http://127.0.0.1:4318
  tracemw view --db traces.db       keeps the traces for the next time

  tracemw view --host 0.0.0.0       lets other machines connect that show the token, which it prints

Then run a service with OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 and open http://127.0.0.1:4318.
""",
    add_options=_add_options,
    run=_run,
)

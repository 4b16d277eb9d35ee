"""``tracemw mcp``: coding agents ask what is wrong with traces."""

from __future__ import annotations

import argparse
import socket
from typing import Final

from tracemw.cli.analyze import add_server_options
from tracemw.cli.command import FINE, Command
from tracemw.cli.output import fail, say


def _add_options(parser: argparse.ArgumentParser) -> None:
    add_server_options(parser)
    parser.add_argument(
        "--http",
        type=_port,
        metavar="PORT",
        help="serve http://127.0.0.1:PORT/mcp (streamable HTTP) in place of standard input and output",
    )
    parser.add_argument("--skill", action="store_true", help="print a SKILL.md for agents, and end")


def _run(options: argparse.Namespace) -> int:
    try:
        from tracemw.mcp.tools import make_server, skill
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("mcp", "mcp_types", "pydantic"):
            raise
        return fail(f"tracemw mcp needs {error.name}: pip install 'tracemw[mcp]'")
    from tracemw.cli.fetching import open_api

    if options.skill:
        for line in skill().splitlines():
            say(line)
        return FINE
    try:
        server = make_server(open_api(options))
    except ValueError as problem:
        return fail(f"tracemw mcp: {problem}")
    if options.http is None:
        server.run("stdio")
    elif (taken := _taken(options.http)) is not None:
        return fail(
            f"tracemw mcp: cannot listen on 127.0.0.1:{options.http} ({taken}); choose another port with --http"
        )
    else:
        server.run("streamable-http", host="127.0.0.1", port=options.http, stateless_http=True, json_response=True)
    return FINE


def _taken(port: int) -> str | None:
    """Return why nobody can listen on a port of this machine; None if somebody can."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            tried.bind(("127.0.0.1", port))
        except OSError as error:
            return error.strerror or str(error)
    return None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not accepted; use a port from 1 to 65535")
    return int(text)


MCP: Final = Command(
    name="mcp",
    summary="let coding agents ask what is wrong with traces",
    description="Serve the Model Context Protocol: agents find traces, and see verdicts, findings and spans.",
    example="""\
example:
  tracemw mcp --url http://tempo:3200            an agent starts this, and speaks over standard input and output
  claude mcp add tracemw -- tracemw mcp          tells Claude Code to
  tracemw mcp --http 8765                        serves http://127.0.0.1:8765/mcp, to this machine only
  tracemw mcp --skill > .claude/skills/tracemw/SKILL.md

Each answer has at most 2000 tokens. What redaction has hidden is hidden here, too: agents see what is stored.
""",
    add_options=_add_options,
    run=_run,
)

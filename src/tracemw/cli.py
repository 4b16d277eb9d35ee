"""The ``tracemw`` command: one subcommand per tool; each loads its own room, and no door, when it runs."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tracemw import config, control
from tracemw._version import __version__
from tracemw.config.parsers import to_ratio

EXIT_OK = 0
EXIT_ERROR = 2

_VIEW_EXAMPLE = """\
example:
  tracemw view                      listens where OTLP exporters send by default, http://127.0.0.1:4318
  tracemw view --db traces.db       keeps the traces for the next time

Then run a service with OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 and open http://127.0.0.1:4318.
"""

_SPIKE_EXAMPLE = """\
example:
  export TRACEMW_CONTROL_FILE=/run/tracemw/control.json       for the services and for this command
  tracemw spike 1.0 --for 10m                                 records every new trace for ten minutes
  tracemw spike 0.5 --for 1h --path "POST /checkout/*"        and half of the checkouts for an hour
  tracemw spike --status                                      what is active, and until when
  tracemw spike --off --path "POST /checkout/*"               ends that one now
  tracemw spike --off                                         ends all of them

A spike takes the place of one with the same --path, stands beside others, and ends by itself.
"""

_UNITS = {"d": 24 * 3600, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile("".join(rf"(?:([0-9]+(?:\.[0-9]+)?){unit})?" for unit in _UNITS), re.ASCII)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line, ``sys.argv`` unless given; returns the exit status (0 fine, 2 usage or environment)."""
    options = _parser().parse_args(arguments)
    status: int = options.run(options)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tracemw",
        description="Tools for distributed tracing of Python web services.",
        epilog=(
            "example:\n"
            "  tracemw view                     watch traces in the browser, with nothing installed\n"
            "  tracemw spike 1.0 --for 10m      record every trace of running services for ten minutes\n"
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"tracemw {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_view(commands)
    _add_spike(commands)
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
    view.add_argument(
        "--max-bytes",
        type=_positive,
        default=256 * 1024 * 1024,
        metavar="N",
        help="when the spans have more bytes, the oldest traces go (default: %(default)s, which is 256 MiB)",
    )
    view.set_defaults(run=_view)


def _view(options: argparse.Namespace) -> int:
    try:
        from tracemw.viewer.serve import PortError, serve
        from tracemw.viewer.storing.database import StoreError
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn", "anyio", "h11", "re2"):
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
            max_bytes=options.max_bytes,
            announce=announce,
        )
    except (PortError, StoreError) as error:
        return _error(f"tracemw view: {error}")
    return EXIT_OK


def _add_spike(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    spike = commands.add_parser(
        "spike",
        help="sample more in running services, for a while",
        description="Raise the sampling of every process that reads the same control file, for a while.",
        epilog=_SPIKE_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    spike.add_argument("ratio", type=_ratio, nargs="?", metavar="RATIO", help="share of new traces, such as 1.0")
    spike.add_argument("--for", type=_duration, dest="seconds", metavar="TIME", help="30s, 10m, 1h30m; 24h at most")
    spike.add_argument("--path", metavar="PATTERN", help='only these requests, such as "POST /checkout/*"')
    spike.add_argument("--file", type=_file, help="the control file (default: $TRACEMW_CONTROL_FILE)")
    other = spike.add_mutually_exclusive_group()
    other.add_argument("--status", action="store_true", help="show the active spikes")
    other.add_argument("--off", action="store_true", help="end them all, or that of --path")
    spike.add_argument("--json", action="store_true", help="with --status: as JSON")
    spike.set_defaults(run=_spike, parser=spike)


def _spike(options: argparse.Namespace) -> int:
    usage: argparse.ArgumentParser = options.parser
    begins = not (options.status or options.off)
    if begins and (options.ratio is None or options.seconds is None):
        usage.error("a spike has a ratio and an end, such as 1.0 --for 10m; or ask for --status or --off")
    if not begins and (options.ratio, options.seconds) != (None, None):
        usage.error("--status and --off take neither RATIO nor --for")
    if options.status and options.path is not None:
        usage.error("--status shows all spikes, and takes no --path")
    if options.json and not options.status:
        usage.error("--json goes with --status")
    file: Path | None = options.file or config.control_file()
    if file is None:
        return _error(
            "tracemw spike: which control file? Set TRACEMW_CONTROL_FILE, to the path that the services have too, "
            "or pass --file"
        )
    try:
        if options.status:
            _print_status(file, as_json=options.json)
        elif options.off:
            _end(file, options.path)
        else:
            spike = control.Spike(ratio=options.ratio, path=options.path, until=time.time() + options.seconds)
            control.add(file, spike)
            _say(f"{_described(spike)}, wherever TRACEMW_CONTROL_FILE is {file}")
    except (control.ControlError, ValueError) as error:
        return _error(
            f"tracemw spike: {file}: {error}" if isinstance(error, control.ControlError) else f"tracemw spike: {error}"
        )
    return EXIT_OK


def _print_status(file: Path, *, as_json: bool) -> None:
    spikes = control.read(file)
    if as_json:
        entries = [{"ratio": spike.ratio, "path": spike.path, "until": spike.until} for spike in spikes]
        print(json.dumps({"file": str(file), "spikes": entries}))
        return
    for spike in spikes:
        _say(_described(spike))
    if not spikes:
        _say(_none_is_active(file))


def _end(file: Path, path: str | None) -> None:
    ended = control.remove(file, path)
    if not ended:
        _say(_none_is_active(file, path))
        return
    _say(f"ended {len(ended)} spike{'s' if len(ended) > 1 else ''} in {file}:")
    for spike in ended:
        _say(_named(spike))


def _none_is_active(file: Path, path: str | None = None) -> str:
    which = "no spike" if path is None else f"no spike of {path}"
    return f"{which} is active in {file}" if file.exists() else f"{which} is active: there is no {file}"


def _named(spike: control.Spike) -> str:
    return f"{spike.ratio} of {'all new traces' if spike.path is None else spike.path}"


def _described(spike: control.Spike) -> str:
    left = max(round(spike.until - time.time()), 0)
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(spike.until))
    return f"{_named(spike)} until {until} ({left // 3600}:{left // 60 % 60:02}:{left % 60:02} from now)"


def _say(line: str) -> None:
    """Print a line; what came from a file, or as an argument, gives the terminal no orders."""
    print(control.printable(line))


def _error(message: str) -> int:
    print(control.printable(message), file=sys.stderr)
    return EXIT_ERROR


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port from 0 to 65535")
    return int(text)


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def _file(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("it takes the path of a file, and got nothing")
    return Path(text).absolute()


def _ratio(text: str) -> float:
    try:
        return to_ratio("RATIO", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _duration(text: str) -> float:
    match = _DURATION.fullmatch(text)
    if match is None or not text:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 30s, 10m, 1h30m or 1d")
    seconds = sum(float(number or 0) * unit for number, unit in zip(match.groups(), _UNITS.values(), strict=True))
    try:
        return control.require_duration(seconds, text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None

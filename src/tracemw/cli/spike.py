"""``tracemw spike``: sample more in running services, for a while."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NoReturn

from tracemw.cli.command import FINE, Command
from tracemw.cli.lengths_of_time import seconds_of
from tracemw.cli.output import fail, say
from tracemw.config import control_file
from tracemw.config.parsers import to_ratio
from tracemw.spikes import ControlError, Spike, add_spike, read_spikes, remove_spikes, require_duration


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ratio", type=_ratio, nargs="?", metavar="RATIO", help="share of new traces, such as 1.0")
    parser.add_argument("--for", type=_duration, dest="seconds", metavar="TIME", help="30s, 10m, 1h30m; 24h at most")
    parser.add_argument("--path", metavar="PATTERN", help='only these requests, such as "POST /checkout/*"')
    parser.add_argument("--file", type=_file, help="the control file (default: $TRACEMW_CONTROL_FILE)")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--status", action="store_true", help="show the active spikes")
    other.add_argument("--off", action="store_true", help="end all spikes, or the one of --path")
    parser.add_argument("--json", action="store_true", help="with --status: as JSON")
    parser.set_defaults(usage_error=parser.error)


def _run(options: argparse.Namespace) -> int:
    _require_sense(options)
    file: Path | None = options.file or control_file()
    if file is None:
        return fail(
            "tracemw spike: no control file is named; set TRACEMW_CONTROL_FILE to the path that the services use, or "
            "pass --file"
        )
    try:
        if options.status:
            _print_status(file, as_json=options.json)
        elif options.off:
            _end_spikes(file, options.path)
        else:
            spike = Spike(ratio=options.ratio, path=options.path, until=time.time() + options.seconds)
            add_spike(file, spike)
            say(f"{_described(spike)}, wherever TRACEMW_CONTROL_FILE is {file}")
    except ControlError as error:
        return fail(f"tracemw spike: {file}: {error}")
    except ValueError as error:
        return fail(f"tracemw spike: {error}")
    return FINE


def _print_status(file: Path, *, as_json: bool) -> None:
    spikes = read_spikes(file)
    if as_json:
        entries = [{"ratio": spike.ratio, "path": spike.path, "until": spike.until} for spike in spikes]
        say(json.dumps({"file": str(file), "spikes": entries}))
        return
    for spike in spikes:
        say(_described(spike))
    if not spikes:
        say(_none_is_active(file))


def _end_spikes(file: Path, path: str | None) -> None:
    ended = remove_spikes(file, path)
    if not ended:
        say(_none_is_active(file, path))
        return
    say(f"ended {len(ended)} spike{'s' if len(ended) > 1 else ''} in {file}:")
    for spike in ended:
        say(_named(spike))


def _none_is_active(file: Path, path: str | None = None) -> str:
    which = "no spike" if path is None else f"no spike of {path}"
    return f"{which} is active in {file}" if file.exists() else f"{which} is active: there is no {file}"


def _named(spike: Spike) -> str:
    return f"{spike.ratio} of {'all new traces' if spike.path is None else spike.path}"


def _described(spike: Spike) -> str:
    left = max(round(spike.until - time.time()), 0)
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(spike.until))
    return f"{_named(spike)} until {until} ({left // 3600}:{left // 60 % 60:02}:{left % 60:02} from now)"


def _require_sense(options: argparse.Namespace) -> None:
    """End with a usage error when the options contradict each other."""
    error: Callable[[str], NoReturn] = options.usage_error
    begins = not (options.status or options.off)
    if begins and (options.ratio is None or options.seconds is None):
        error("a spike needs RATIO and --for, such as 1.0 --for 10m; or pass --status or --off")
    if not begins and (options.ratio, options.seconds) != (None, None):
        error("--status and --off take neither RATIO nor --for")
    if options.status and options.path is not None:
        error("--status shows all spikes, and takes no --path")
    if options.json and not options.status:
        error("--json goes with --status")


def _file(text: str) -> Path:
    if not text.strip():
        raise argparse.ArgumentTypeError("'' is not accepted; use the path of a file")
    return Path(text).absolute()


def _ratio(text: str) -> float:
    try:
        return to_ratio("RATIO", text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _duration(text: str) -> float:
    try:
        return require_duration(seconds_of(text), text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


SPIKE: Final = Command(
    name="spike",
    summary="sample more in running services, for a while",
    description="Raise the sampling of every process that reads the same control file, for a while.",
    example="""\
example:
  export TRACEMW_CONTROL_FILE=/run/tracemw/control.json       for the services and for this command
  tracemw spike 1.0 --for 10m                                 records every new trace for ten minutes
  tracemw spike 0.5 --for 1h --path "POST /checkout/*"        and half of the checkouts for an hour
  tracemw spike --status                                      what is active, and until when
  tracemw spike --off --path "POST /checkout/*"               ends that one now
  tracemw spike --off                                         ends all of them

A spike ends by itself. It replaces one with the same --path. Other spikes stay.
""",
    add_options=_add_options,
    run=_run,
)

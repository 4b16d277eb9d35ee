"""Real servers with one worker on one core, under load from another."""

from __future__ import annotations

import atexit
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.contestants import Burst
from benchmarks.measure import pin

_CONNECTIONS = 32
_TRIES = 3
_DISTURBED = 5.0
"""By how many per cent of the time others may be on the core more than they are at the best, networking included."""
_FAILING = ["refused", "reset", "reset-unanswered", "busy", "unavailable", "refuses", "garbage", "garbled", "partial"]
_UVICORN = {"h11": ["--http", "h11", "--loop", "asyncio"], "standard": ["--http", "httptools", "--loop", "uvloop"]}
_GUNICORN = {"sync": ["-k", "sync"], "gthread": ["-k", "gthread", "--threads", "4"]}


def uvicorn(*, kind: str, door: str = "untraced", sampling: float = 1.0) -> Burst:
    port = _free_port()
    quiet = ["--no-access-log", "--log-level", "warning", "--port", str(port)]
    server = ["uvicorn", "--factory", "benchmarks.contestants.apps:fastapi_app", *quiet, *_UVICORN[kind]]
    return _under_load(server, _item(port), door, sampling)


def shop(*, door: str = "untraced") -> Burst:
    """Serve the endpoint that works. The service that it calls is on the core of the load."""
    port, path = _free_port(), Path(__file__)
    payments = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.payments"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    pin(payments.pid, 0)
    os.environ["BENCH_PAYMENTS"] = payments.stdout.readline().strip() if payments.stdout else ""
    quiet = ["--no-access-log", "--log-level", "warning", "--port", str(port)]
    server = ["uvicorn", "--factory", "benchmarks.contestants.apps:shop_app", *quiet, *_UVICORN["standard"]]
    url = f"http://127.0.0.1:{port}/orders/checkout"
    order = urllib.request.Request(url, b'{"item": "mug", "quantity": 1}', {"Content-Type": "application/json"})
    # Few connections: what is under way when a burst is over has been paid for, and is not counted.
    return _under_load(server, order, door, 1.0, ["-c8", "-s", str(path.with_name("order.lua"))])


def gunicorn(*, kind: str, door: str = "untraced", sampling: float = 1.0) -> Burst:
    port = _free_port()
    quiet = ["--log-level", "warning", "--bind", f"127.0.0.1:{port}", "-w", "1", "--no-control-socket"]
    server = ["gunicorn", "benchmarks.contestants.apps:flask_app()", *quiet, *_GUNICORN[kind]]
    return _under_load(server, _item(port), door, sampling)


def chaos(*, server: str, backend: str) -> Burst:
    """Serve with a backend that is `healthy`, or `hangs`, or, when it `fails`, has another fault in each burst."""
    misbehaving = Misbehaving()
    os.environ["BENCH_SINK"] = misbehaving.url
    burst = uvicorn(kind="h11", door="ours") if server == "uvicorn" else gunicorn(kind="gthread", door="ours")
    faults = itertools.cycle([backend] if backend != "fails" else _FAILING)

    def under_fault(milliseconds: int) -> dict[str, float]:
        misbehaving.change(next(faults))
        return burst(milliseconds)

    return under_fault


class Misbehaving:
    """The backend of the chaos tests, with one port."""

    def __init__(self) -> None:
        program = Path(__file__).parents[2] / "tests" / "chaos" / "misbehaving.py"
        self._process = subprocess.Popen(
            [sys.executable, str(program)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._port = self._asked(do="open", secure=False)["port"]
        self.url = f"http://127.0.0.1:{self._port}"

    def change(self, fault: str) -> None:
        """Have it misbehave so."""
        self._asked(do="tell", port=self._port, forget=True)  # lest its memory grow
        self._asked(do="change", port=self._port, fault=fault)

    def _asked(self, **command: object) -> dict[str, Any]:
        commands, answers = self._process.stdin, self._process.stdout
        if commands is None or answers is None:
            raise RuntimeError("started without a pipe")
        commands.write(json.dumps(command) + "\n")
        commands.flush()
        answer: dict[str, Any] = json.loads(answers.readline())
        return answer


def _item(port: int) -> urllib.request.Request:
    return urllib.request.Request(f"http://127.0.0.1:{port}/items/42")


def _under_load(
    server: list[str], request: urllib.request.Request, door: str, sampling: float, how: Sequence[str] = ()
) -> Burst:
    wrk = shutil.which("wrk")
    if wrk is None:
        raise RuntimeError("these rows need the load generator wrk: apt-get install wrk")
    env = {
        **os.environ,
        "BENCH_DOOR": door,
        "BENCH_SAMPLING": str(sampling),
        # What is still queued when a burst is over leaves soon, so that it is on nobody else's account.
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    # As users have it; whoever drops spans under load has dropped them, and the spans that arrived tell.
    del env["OTEL_BSP_MAX_QUEUE_SIZE"]
    process = subprocess.Popen([sys.executable, "-m", *server], env=env, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    atexit.register(_stop, process)
    _wait_for(process, request)
    command = [wrk, "-t1", f"-c{_CONNECTIONS}", "--latency", *how, request.full_url]

    quietest = 100.0

    def burst(milliseconds: int) -> dict[str, float]:
        # Others on the core take throughput away: such a burst is done again, if that may help.
        nonlocal quietest
        requests = 0.0
        for _ in range(_TRIES):
            sample, others = one_burst(milliseconds)
            requests += sample["operations"]
            quietest = min(quietest, others)
            if others < quietest + _DISTURBED:
                break
        return {**sample, "operations": requests}

    def one_burst(milliseconds: int) -> tuple[dict[str, float], float]:
        cpu, busy, started = _cpu_seconds(process.pid), _busy_seconds(), time.monotonic()
        told = subprocess.run(
            [*command, f"-d{milliseconds // 1000}s"],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=lambda: pin(0, 0),
        ).stdout
        seconds = time.monotonic() - started
        others = 100 * (_busy_seconds() - busy - (_cpu_seconds(process.pid) - cpu)) / seconds
        requests = int(_found(r"(\d+) requests in", told))
        if "Non-2xx" in told or not requests:
            raise RuntimeError(told)
        _settle(process.pid)
        sample = {
            "requests/s": float(_found(r"Requests/sec:\s+([\d.]+)", told)),
            "p99 ms": _p99(told),
            "CPU us/request": (_cpu_seconds(process.pid) - cpu) / requests * 1e6,
            "operations": requests,
        }
        return sample, others

    return burst


def _found(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise RuntimeError(text)
    return match[1]


def _p99(told: str) -> float:
    match = re.search(r" 99%\s+([\d.]+)(us|ms|s)", told)
    if match is None:
        raise RuntimeError(told)
    return float(match[1]) * {"us": 1e-3, "ms": 1.0, "s": 1e3}[match[2]]


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, its threads and its children, from the scheduler, in nanoseconds' grain."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            total += int((task / "schedstat").read_text().split()[0])
            children = (task / "children").read_text().split()
        except (FileNotFoundError, ProcessLookupError):  # a thread that has ended
            continue
        total += sum(int(_cpu_seconds(int(child)) * 1e9) for child in children)
    return total / 1e9


def _busy_seconds() -> float:
    """Return the time for which this process's core has worked for anybody, or was taken by the host."""
    core = min(os.sched_getaffinity(0))
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _idle, _wait, irq, softirq, steal, *_ = map(int, line.split()[1:])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def _settle(pid: int) -> None:
    """Wait until a server has delivered what its last burst left, at most two seconds."""
    deadline = time.monotonic() + 2
    before = _cpu_seconds(pid)
    while time.monotonic() < deadline:
        time.sleep(0.25)
        now = _cpu_seconds(pid)
        if now - before < 0.005:
            return
        before = now


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _wait_for(process: subprocess.Popen[bytes], request: urllib.request.Request) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(request, timeout=60).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"no server at {request.full_url}") from None
            time.sleep(0.05)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()

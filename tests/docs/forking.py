"""A process that has loaded what takes long to load, and forks for each snippet that it reads: `python forking.py`.

A line of standard input is a JSON list: the name of the snippet, its code, and the file for its output. The answer is a
line with the exit status. Nothing of tracemw is loaded here, so that no snippet sees another's traces.
"""

import importlib
import json
import os
import signal
import sys
import warnings

for name in ("fastapi.testclient", "flask", "httpx2", "opentelemetry.sdk.trace.export", "requests", "sqlalchemy"):
    importlib.import_module(name)


def run(name: str, code: str, output: str) -> None:
    """Run a snippet, for two minutes at most."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT)
    os.dup2(file, 1)
    os.dup2(file, 2)
    signal.alarm(120)
    warnings.simplefilter("error")
    exec(compile(code, name, "exec"), {"__name__": "__main__"})


for line in sys.stdin:
    child = os.fork()
    if not child:
        run(*json.loads(line))
        sys.exit()
    sys.stdout.write(f"{os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])}\n")
    sys.stdout.flush()

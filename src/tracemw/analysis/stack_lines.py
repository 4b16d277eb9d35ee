"""The line of code that a stack trace leads to, as Python, Java, Node and .NET write it."""

from __future__ import annotations

import re
from typing import Final

_PYTHON: Final = re.compile(r'^\s*File "(?P<file>[^"]*)", line (?P<number>\d+)(?:, in (?P<function>\S+))?')
_JAVA: Final = re.compile(r"^\s*at (?P<function>[\w.$/<>]+)\((?P<file>[\w$]+\.\w+):(?P<number>\d+)\)")
_NODE: Final = re.compile(
    r"^\s*at (?:(?:async )?(?P<function>[^()]+) \()?(?P<file>[^()\s]+\.\w+):(?P<number>\d+):\d+\)?$"
)
_DOTNET: Final = re.compile(r"^\s*at (?P<function>[^()]+)\([^()]*\) in (?P<file>.+):line (?P<number>\d+)$")

_INSTALLED: Final = ("site-packages", "/lib/python", "node_modules", "node:", "<frozen ")
_LIBRARIES: Final = (
    *("java.", "javax.", "jakarta.", "jdk.", "sun.", "com.sun.", "kotlin.", "kotlinx.", "scala.", "groovy."),
    *("org.springframework.", "org.apache.", "org.hibernate.", "org.eclipse.", "org.postgresql.", "org.jboss."),
    *("com.fasterxml.", "com.google.", "com.mysql.", "com.zaxxer.", "io.grpc.", "io.micrometer.", "io.netty."),
    *("io.opentelemetry.", "io.quarkus.", "io.vertx.", "okhttp3.", "reactor.", "redis.", "System.", "Microsoft."),
)
"""Packages of Java and .NET that are nobody's own code."""


def line_of_stack(text: str) -> str:
    """Return the innermost line that belongs to no library, as `orders.py:57, load`; empty if none is told.

    Python writes the innermost line last. The others write it first, and Java writes the cause of an exception below.
    """
    own = above = ""
    for line in text.splitlines():
        if line.startswith("Caused by: "):
            own, above = "", own or above
        found = _PYTHON.match(line)
        if not found and not own:
            found = _JAVA.match(line) or _NODE.match(line) or _DOTNET.match(line)
        if not found:
            continue
        function = (found["function"] or "").rpartition("/")[2]
        if function.startswith(_LIBRARIES) or any(part in found["file"] for part in _INSTALLED):
            continue
        file = re.split(r"[/\\]", found["file"])[-1]
        own = f"{file}:{found['number']}, {function.rpartition('.')[2]}".rstrip(", ")
    return own or above

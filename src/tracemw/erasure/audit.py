"""Audit lines: one for each run, as JSON, to show later that users were erased. No line has an identifier."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class AuditError(ValueError):
    """An audit line cannot be written. The message says the remedy."""


class AuditLog:
    """Takes audit lines: a file that lines are added to, or standard error.

    Args:
        file: The file, which is made for its owner alone if there is none; None for standard error.

    Raises:
        AuditError: when the file cannot be written.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._descriptor = None
        if file is not None:
            try:
                self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            except OSError as error:
                raise AuditError(
                    f"the audit file {file} cannot be written ({error.strerror}), so nothing was erased; name a file "
                    "with --audit that you may write, in a directory that is there"
                ) from None

    def write(self, told: Mapping[str, Any], *, status: int) -> None:
        """Write a line, with the time of now and the exit status of the run.

        Raises:
            AuditError: when the file cannot be written. The error has the line.
        """
        time = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        line = json.dumps({"time": time, "command": "forget", **told, "status": status})
        if self._descriptor is None:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        else:
            try:
                os.write(self._descriptor, f"{line}\n".encode())  # one call: lines of two runs do not mix
            except OSError as error:
                raise AuditError(
                    f"the audit file {self._file} cannot be written ({error.strerror}); keep this line: {line}"
                ) from None

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)

"""The one error of this room: a trace request is refused, with an HTTP status and a reason."""

from __future__ import annotations


class RefusalError(Exception):
    """A trace request is refused.

    Attributes:
        status: The HTTP status to respond with.
        message: What is wrong and what would be accepted, for the sender's log.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def too_large(limit: int) -> RefusalError:
    """Return the refusal of a body beyond ``limit`` bytes."""
    return RefusalError(413, f"body is larger than {limit} bytes: send smaller batches")

"""The one error of the receiving end: a trace request is refused, with an HTTP status and a reason."""

from __future__ import annotations


class RefusalError(Exception):
    """A trace request is refused.

    Attributes:
        status: the HTTP status to respond with
        message: what is wrong and what would be accepted, for the sender's log
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def too_large(limit: int) -> RefusalError:
    """The refusal of a body beyond ``limit`` bytes."""
    return RefusalError(413, f"body is larger than {limit} bytes: send smaller batches")

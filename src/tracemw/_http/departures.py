"""Exceptions that only say that the client has gone. They are no errors of the application.

First, the door must have seen that the client has gone. Then three kinds count: the server's own exception, which the
door has seen pass; a cancellation; and an exception that a framework raises at the news. Frameworks share no class for
the last kind, so it is told by name. Any other exception is an error, also after the client has gone.
"""

from __future__ import annotations

import re
from asyncio import CancelledError
from typing import Final

_NAMES: Final = re.compile(
    r"(Client|WebSocket)\w*Disconnect"  # Starlette, FastAPI, Litestar, Falcon, BlackSheep, uvicorn
    r"|Disconnect(ed)?(Error|Exception)?$"
    r"|ConnectionClosed(OK|Error)?$"  # websockets, simple-websocket
    r"|RequestAborted$|StopConsumer$"  # Django, Channels
)


def says_only_that_the_client_has_gone(error: BaseException, sign: BaseException | None) -> bool:
    """Tell whether an exception only says that the client has gone, once the door knows that it has.

    Args:
        error: The exception. A group says so when all of its members do.
        sign: The exception by which the server told the application, if there was one.
    """
    if isinstance(error, BaseExceptionGroup):
        return all(says_only_that_the_client_has_gone(each, sign) for each in error.exceptions)
    return error is sign or isinstance(error, CancelledError) or is_named_for_it(error)


def is_named_for_it(error: BaseException) -> bool:
    """Tell whether an exception's class, or a class that it derives from, is named for a lost connection."""
    return any(_NAMES.match(kind.__name__) for kind in type(error).__mro__)

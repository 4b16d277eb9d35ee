"""Exceptions that say nothing but that the client has gone, which is no error of the application.

The door has to have seen that the client has gone. Then the exception may be the server's own, which the door has seen
pass, or a cancellation, or one that a framework has made of the news. Frameworks have no class in common for it, so
that the last goes by name; everything else that is raised after a client has gone is an error like any other.
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
    """Tell whether that is all, when the client has gone; `sign` is the server's exception that said so, if any."""
    if isinstance(error, BaseExceptionGroup):
        return all(says_only_that_the_client_has_gone(each, sign) for each in error.exceptions)
    return error is sign or isinstance(error, CancelledError) or is_named_for_it(error)


def is_named_for_it(error: BaseException) -> bool:
    """Tell whether the class of an exception, or one that it derives from, has a name that says so."""
    return any(_NAMES.match(kind.__name__) for kind in type(error).__mro__)

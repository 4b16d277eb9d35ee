"""How many attempts at a request came before. httpx sends again after a redirect, and after a challenge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from tracemw._otel.guard import guarded

RESENDS: Final = "tracemw.resend_count"
"""The extension of a request that holds the count."""


class Resends:
    """Counts the attempts that go through one transport.

    After a challenge, httpx sends the same request again. After a redirect, httpx makes another request with the
    extensions of the one before. So the count stands in the extensions while the redirecting response is open. Then the
    caller's request gets its own extensions back.
    """

    def __init__(self) -> None:
        self.challenged: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        """The requests whose last response was a challenge, and how often each has been sent."""

    def before(self, request: Any) -> int:
        """Return how many attempts came before this one."""
        count = self.challenged.pop(request, None) or request.extensions.get(RESENDS, 0)
        return count if isinstance(count, int) else 0

    @guarded
    def after(self, request: Any, response: Any, resend_count: int) -> Callable[[], None] | None:
        """Note a response that may lead to another attempt. Return a function to call when it is closed, if any."""
        if response.status_code in (401, 407):
            self.challenged[request] = resend_count + 1
        if not response.has_redirect_location:
            return None
        extensions = request.extensions
        request.extensions = {**extensions, RESENDS: resend_count + 1}

        def restore() -> None:
            request.extensions = extensions

        return restore

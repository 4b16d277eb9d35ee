"""How many attempts at a request came before: httpx follows redirects, and answers challenges, by sending again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from weakref import WeakKeyDictionary

from tracemw._otel.guard import guarded

RESENDS: Final = "tracemw.resend_count"
"""The extension of a request that holds the count."""


class Resends:
    """Counts the attempts that go through one transport.

    After a challenge httpx sends the same request again; after a redirect it makes another, which takes over the
    extensions of the one before. So the count stands in the extensions for as long as the redirecting response is open,
    and then the caller's request is as it was.
    """

    def __init__(self) -> None:
        self.challenged: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
        """The requests whose last answer was a challenge, and how often each has been sent."""

    def before(self, request: Any) -> int:
        """Return how many attempts came before this one."""
        count = self.challenged.pop(request, None) or request.extensions.get(RESENDS, 0)
        return count if isinstance(count, int) else 0

    @guarded
    def after(self, request: Any, response: Any, resend_count: int) -> Callable[[], None] | None:
        """Note an answer that may lead to another attempt; return what the end of that answer is to call, if any."""
        if response.status_code in (401, 407):
            self.challenged[request] = resend_count + 1
        if not response.has_redirect_location:
            return None
        extensions = request.extensions
        request.extensions = {**extensions, RESENDS: resend_count + 1}

        def restore() -> None:
            request.extensions = extensions

        return restore

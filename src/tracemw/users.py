"""`user`: whose request this is, in a form that only whoever holds the key can tell."""

from __future__ import annotations

from uuid import UUID

from opentelemetry import trace
from opentelemetry.trace import Span

from tracemw._otel.context import is_skipped, request_span
from tracemw._otel.guard import guarded, refuse
from tracemw._otel.recorder import mark_user
from tracemw.config import pseudonym_keys
from tracemw.redaction.pseudonyms import pseudonym


def user(identifier: str | int | UUID) -> None:
    """Say whose request this is: `tracemw.user("alice@example.com")`. The spans get a pseudonym as `user.hash`.

    The pseudonym is HMAC-SHA256 of the identifier under the first key of `TRACEMW_PSEUDONYM_KEY`, with the id of that
    key before it, such as `2026b:9f86...`. The identifier itself is recorded nowhere. `tracemw forget` finds the traces
    of a user under all keys, and has them erased.

    Before it is hashed, the identifier is normalised: Unicode NFC, without white space at its ends. Case counts, so
    name a user the same way each time. A number or a UUID is the same as its text.

    The current span, the spans around it and the request's own get the attribute, and so do all spans of the request
    that start later, in any thread or task. A second call replaces the first on these. No header carries it to other
    services: each says for itself whose request it serves. With a tracer provider that is not tracemw's, only the
    current span and the request's own get it.

    Without a key nothing is recorded, and a line in the log says so. This never raises: an identifier of another type,
    an empty one, one of more than 1,000 characters, and one with unreadable characters (control characters, or
    surrogates) is left out, with a line in the log that does not show it.

    Args:
        identifier: What names the user in your application: an e-mail address, an account number, a UUID.
    """
    spans = [] if is_skipped() else _open_spans()
    if not spans:
        return
    try:
        keys = pseudonym_keys()
        if not keys:
            refuse(
                "tracemw.user() records nothing: there is no key; set TRACEMW_PSEUDONYM_KEY to ID:KEY, such as "
                "2026a:$(openssl rand -base64 32)"
            )
            return
        made = pseudonym(identifier, keys[0].id, keys[0].secret)
    except ValueError as error:  # of the identifier or the key, and it shows no part of either
        refuse(f"tracemw.user() records nothing: {error}")
    else:
        _mark(spans, made)


@guarded
def _mark(spans: list[Span], made: str) -> None:
    for span in spans:
        mark_user(span, made)


@guarded  # spans of others may raise
def _open_spans() -> list[Span]:
    """Return the current span and those around it, as far as they are known, and the request's own."""
    found: list[Span] = []
    span: Span | None = trace.get_current_span()
    while span is not None:
        found.append(span)
        span = getattr(span, "parent_span", None)
    request = request_span()
    if request is not None and all(each is not request for each in found):
        found.append(request)
    return [each for each in found if each.is_recording()]

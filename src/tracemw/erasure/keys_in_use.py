"""The keys that spans of other users have pseudonyms under: what tells a wrong key from a user who has no traces."""

from __future__ import annotations

from collections.abc import Sequence

from tracemw.analysis.load.unreadable import NoTraceError, NotTracesError, ServerError
from tracemw.erasure.seeking import Seeker
from tracemw.erasure.user_query import ANY_KEY, query_of_keys
from tracemw.redaction.pseudonyms import USER_HASH, is_pseudonym


def keys_in_use(seeker: Seeker, named: Sequence[str]) -> list[str] | None:
    """Return the ids of the keys of one trace: of one under a key that is named, else of any.

    Returns:
        An empty list if no span there has a pseudonym; None if the server does not answer such a question.
    """
    try:
        trace = seeker.example(query_of_keys(each.replace(".", "[.]") for each in named))
        trace = trace or seeker.example(query_of_keys([ANY_KEY]))
    except (
        ServerError,
        NoTraceError,
        NotTracesError,
    ):  # all was erased that is to be; the question was for the words alone
        return None
    hashes = [str(span.attributes.get(USER_HASH)) for span in trace.spans] if trace else []
    return list(dict.fromkeys(each.rpartition(":")[0] for each in hashes if is_pseudonym(each)))

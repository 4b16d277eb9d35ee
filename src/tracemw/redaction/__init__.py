"""Redaction: what may leave the process.

    from tracemw.redaction import Answer, Found, Redaction

    def rule(found: Found) -> Answer:
        return Answer.HASH if found.key == "customer.id" else Answer.MASK

    tracemw.init("shop", allow={"payment.amount", "order.*"}, redaction=Redaction(rule=rule))

The way through this room, one module per step:

* `policy`: which keys may leave, and what is taken out of their texts; every way out asks it
* `in_use`: the policy of the process, for those who record texts
* `allowed_keys`: the keys that are allowed unasked
* `users_rule`: what a user may say, and a rule of the user's own
* `nested`: the same for sequences and mappings
* `detectors`: what looks like a secret in a text; `places` is what they find
* `known_tokens`, `pairs`, `spaced`, `numbers`, `addresses`: the detectors
* `disguises`: what escapes and other letters stand for
* `urls`, `database_errors`: what URLs, and errors of databases, repeat of values
* `pseudonyms`: the hashes that stand for users
* `report`: what has been redacted, and how often
* `remedy`: what lets the values of a key pass, for the log
"""

from tracemw.redaction.users_rule import Answer, Found, Redaction

__all__ = ["Answer", "Found", "Redaction"]

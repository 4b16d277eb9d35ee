"""The collector looks for keys and secrets once more, by tracemw's own list and with patterns that it can run."""

from __future__ import annotations

import runpy
from collections import Counter
from collections.abc import Callable
from typing import Final

import pytest

from deploy.stack import DEPLOY, loaded
from leaks import ordinary
from leaks.corpus import leaks
from tracemw.redaction.allowed_keys import KEYS, OF_HEADERS, PREFIXES, SECRET_HEADERS
from tracemw.redaction.policy import RedactionPolicy

re2 = pytest.importorskip("re2", reason="the Collector's expressions are RE2's")

WRITER: Final = runpy.run_path(str(DEPLOY / "collector/write_allowed_keys.py"))
NET: Final = loaded("collector/collector.yaml")["processors"]["redaction/secrets"]


def masked(text: str) -> str:
    """What the redaction processor makes of a value: it replaces what matches, pattern after pattern."""
    for pattern in NET["blocked_values"]:
        text = re2.sub(pattern, "****", text)
    return text


def stands_alone(secret: str, text: str) -> bool:
    """Tell whether what is around a secret is no part of its word."""
    return re2.search(rf"\b{re2.escape(secret)}\b", text) is not None


def passing(*allow: str) -> Callable[[str], bool]:
    """Tell whether the collector keeps a key."""
    matches = re2.compile(WRITER["pattern"](allow)).search
    return lambda key: matches(key) is not None


def test_the_list_of_keys_is_that_of_this_version_of_tracemw() -> None:
    written = (DEPLOY / "collector/allowed-keys.yaml").read_text()
    assert written == WRITER["written"](), "run: python deploy/collector/write_allowed_keys.py"


def test_the_collector_keeps_the_keys_that_tracemw_lets_out_and_no_others() -> None:
    invented = {
        "user.id",
        "user.email",
        "session.id",
        "enduser.id",
        "gen_ai.prompt",
        "order.total",
        "xhttp.route",
        "url",
    }
    near = {f"{key}s" for key in KEYS} | {key.replace(".", "x") for key in KEYS} | {f"x{key}" for key in PREFIXES}
    beneath = {f"{prefix}some.thing" for prefix in PREFIXES}
    keeps, policy = passing(), RedactionPolicy()
    for key in KEYS | invented | near | beneath:
        assert keeps(key) == policy.of(key).passes, key


def test_what_services_allow_beside_it_can_be_written_too() -> None:
    allowed = ("payment.amount", "order.*", "seat.?")
    keeps, policy = passing(*allowed), RedactionPolicy(allowed)
    for key in (
        "payment.amount",
        "payment.amounts",
        "order.id",
        "order.x.y",
        "orders",
        "border.x",
        "seat.7",
        "seat.77",
    ):
        assert keeps(key) == policy.of(key).passes, key
    for wrong in ("order.[ab]", 'order"', "order\\d", "^order", "", "two keys"):
        with pytest.raises(ValueError, match="is not accepted; use letters, digits"):
            WRITER["pattern"]([wrong])


def test_headers_that_are_credentials_are_masked_whole() -> None:
    patterns = [re2.compile(pattern) for pattern in NET["blocked_key_patterns"]]
    for header in ("authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key", "x-auth-token"):
        assert header in SECRET_HEADERS
        for namespace in OF_HEADERS:
            key = f"{namespace}{header}"
            if not key.startswith("rpc.grpc") and "connect_rpc" not in key:
                assert any(pattern.search(key) for pattern in patterns), key
    assert not any(pattern.search("http.request.header.accept-language") for pattern in patterns)


def test_most_secrets_of_the_corpus_would_be_masked_and_some_kinds_all() -> None:
    of_kind, gone = Counter[str](), Counter[str]()
    for leak in leaks():
        if leak.kind == "card" and not stands_alone(leak.secret, leak.text):
            continue  # without Luhn's checksum, a number that is part of a word tells nothing
        of_kind[leak.kind] += 1
        gone[leak.kind] += leak.secret not in masked(leak.text)
    assert {kind for kind in of_kind if gone[kind] == of_kind[kind]} >= {
        *("private_key", "jwt", "bearer", "basic", "userinfo", "iban", "email"),
    }
    assert gone["card"] >= 0.9 * of_kind["card"]
    assert gone["token"] >= 0.8 * of_kind["token"]
    assert gone["pair"] >= 0.6 * of_kind["pair"]


def test_ordinary_values_stay_but_for_numbers_that_look_like_cards() -> None:
    like_cards = re2.compile(next(pattern for pattern in NET["blocked_values"] if "6011" in pattern))
    values = [text for text in (*ordinary.lines(), *ordinary.values()) if not like_cards.search(text)]
    assert len(values) > 2500
    assert [text for text in values if masked(text) != text] == []

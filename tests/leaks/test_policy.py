"""Which keys leave, and what a user may say about it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, TraceFlags

import tracemw
from encoding.samples import attributes_in
from settings.resolving import resolve
from tracemw._export.encoding import SpanEncoder
from tracemw._http.semconv import HeaderCapture
from tracemw._setup.pipeline import policy_for
from tracemw.redaction import Answer, Found, Redaction
from tracemw.redaction.in_use import in_use, use
from tracemw.redaction.policy import RedactionPolicy

MASK = "[REDACTED]"


def sent(policy: RedactionPolicy, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What a new encoder makes of the attributes of a span."""
    return sent_by(SpanEncoder(policy=policy), attributes)


def sent_by(encoder: SpanEncoder, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """What an encoder makes of the attributes of a span."""
    context = SpanContext(7, 9, is_remote=False, trace_flags=TraceFlags(1))
    span = ReadableSpan("GET /", context, resource=Resource({}), attributes=attributes, start_time=1, end_time=2)
    told = attributes_in(encoder.encode([span]))
    return {key: getattr(value, value.WhichOneof("value") or "", None) for key, value in told.items()}


class Unshowable:
    def __str__(self) -> str:
        raise AssertionError("the value of a key that is not allowed was looked at")

    __repr__ = __str__


def test_a_key_that_is_taken_off_the_list_is_redacted_in_the_next_export() -> None:
    attributes = {"payment.method": "card", "order.id": 7, "url.path": "/orders/7", "http.response.status_code": 200}
    kept = {"url.path": "/orders/7", "http.response.status_code": 200}
    assert sent(RedactionPolicy({"payment.method", "order.*"}), attributes) == attributes
    assert sent(RedactionPolicy({"order.*"}), attributes) == {"payment.method": MASK, "order.id": 7, **kept}
    assert sent(RedactionPolicy(), attributes) == {"payment.method": MASK, "order.id": MASK, **kept}


def test_a_glob_lets_no_key_pass_that_tells_a_secret_and_the_full_name_does() -> None:
    attributes = {"order.password": "geheim", "order.token_count": 3, "order.lines": "two"}
    assert sent(RedactionPolicy({"order.*"}), attributes) == {**attributes, "order.password": MASK}
    assert sent(RedactionPolicy({"order.*", "order.password"}), attributes) == attributes


def test_in_development_numbers_pass_and_the_log_names_each_key_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACEMW_ALLOW")
    attributes = {"order.total": 7, "order.rush": True, "order.note": "please", "user.pin": 1234}
    policy = policy_for(resolve(), None)
    for _ in range(2):
        assert sent(policy, attributes) == {**attributes, "order.note": MASK, "user.pin": MASK}
    assert warnings(caplog) == [
        "the values of attribute 'order.total' that are numbers or booleans pass in development only; "
        "init(allow={'order.total'}), or TRACEMW_ALLOW=order.total, lets them pass, but for secrets in them",
        "the values of attribute 'order.rush' that are numbers or booleans pass in development only; "
        "init(allow={'order.rush'}), or TRACEMW_ALLOW=order.rush, lets them pass, but for secrets in them",
        "the values of attribute 'order.note' are not allowed to leave; "
        "init(allow={'order.note'}), or TRACEMW_ALLOW=order.note, lets them pass, but for secrets in them",
        "the values of attribute 'user.pin' are not allowed to leave; "
        "init(allow={'user.pin'}), or TRACEMW_ALLOW=user.pin, lets them pass, but for secrets in them",
    ]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize("environment", ["production", "staging", "prod"])
def test_outside_development_one_line_says_that_a_key_was_redacted(
    environment: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACEMW_ALLOW")
    attributes = {"order.total": 7, "order.rush": True, "order.note": "please"}
    policy = policy_for(resolve(environment=environment), None)
    for _ in range(2):
        assert set(sent(policy, attributes).values()) == {MASK}
    (said,) = warnings(caplog)
    assert "attribute 'order.total' are not allowed to leave; init(allow={'order.total'})" in said
    assert "stats().redacted counts" in said


@pytest.mark.parametrize(
    ("key", "remedy"),
    [
        ("http.request.header.x-api-key", "Redaction(headers=('x-api-key',))"),
        ("order note, long", "init(allow={'order?note??long'})"),
        ("items[0]", "init(allow={'items?0?'})"),
        ("mail joe@customer.example", "a name of the key without a secret in it"),
        ("my password", "a name of the key without spaces, commas and brackets"),
    ],
)
def test_what_the_log_says_of_a_key_lets_its_values_pass(
    key: str, remedy: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACEMW_ALLOW")
    sent(policy_for(resolve(), None), {key: "please"})
    (said,) = warnings(caplog)
    assert remedy in said
    assert "joe@customer.example" not in said
    if "allow=" in remedy:
        allow = remedy.split("'")[1]
        assert sent(policy_for(resolve(allow={allow}), None), {key: "please"}) == {key: "please"}


def test_the_log_and_the_counts_leave_out_what_the_users_rule_keeps(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRACEMW_ALLOW")
    policy = policy_for(resolve(), Redaction(rule=lambda found: Answer(found.key)))
    assert sent(policy, {"keep": "a", "drop": "b"}) == {"keep": "a"}
    assert policy.report.counts() == {"drop": 1}
    (said,) = warnings(caplog)
    assert "attribute 'drop' are not allowed to leave" in said


def test_none_has_nothing_to_hide() -> None:
    policy = RedactionPolicy({"allowed"})
    assert policy.cleaned(None, policy.of("own"), "attribute") is None
    assert sent(policy, {"own": None, "allowed": None}) == {"own": None, "allowed": None}
    assert policy.report.counts() == {}


def test_what_was_redacted_is_counted_by_key_and_no_value_is_looked_at() -> None:
    policy = RedactionPolicy()
    rule = policy.of("own")
    assert policy.cleaned(Unshowable(), rule, "attribute") == MASK
    for _ in range(3):
        sent(policy, {"own": "x", "url.query": "item=7&page=2", "url.path": "/orders"})
    assert policy.report.counts() == {"own": 4, "url.query": 3}


def test_a_key_that_holds_a_secret_itself_leaves_without_it() -> None:
    assert list(sent(RedactionPolicy({"*"}), {"mail joe@customer.example": 1})) == [f"mail {MASK}"]


def test_the_three_lists_of_allowed_keys_hold_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pyproject.toml").write_text('[tool.tracemw]\nallow = ["c.*"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRACEMW_ALLOW", "b, b2")
    assert resolve(allow={"a"}, baggage=("tenant.id",)).allow == {"a", "b", "b2", "c.*", "tenant.id"}


def test_the_first_project_file_from_the_working_directory_upwards_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner" / "src").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.tracemw]\nallow = ["outer.*"]\n')
    monkeypatch.chdir(tmp_path / "inner" / "src")
    monkeypatch.delenv("TRACEMW_ALLOW")
    assert resolve().allow == {"outer.*"}
    (tmp_path / "inner" / "pyproject.toml").write_text("[project]\n")
    assert resolve().allow == set()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool", r"pyproject.toml cannot be read: .*; use TOML, with \[tool.tracemw\] for allow and lint"),
        ("tool = 1", "tool in .*=1 is not accepted; use a table"),
        ("[tool]\ntracemw = 1", r"\[tool.tracemw\] in .*=1 is not accepted; use a table with allow and lint"),
        ("[tool.tracemw]\nalow = []", "has 'alow', which is not accepted; use allow and lint"),
        ("[tool.tracemw]\nallow = 'c'", "allow in .* is not accepted; use a list of keys"),
        ("[tool.tracemw]\nallow = [5]", "allow in .*=5 is not accepted; use keys such as"),
        ("[tool.tracemw]\nallow = ['a b']", "allow in .*='a b' is not accepted; use keys .* separated by commas"),
    ],
)
def test_a_project_file_that_cannot_be_right_is_an_error_that_says_the_remedy(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pyproject.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=said):
        resolve()


@pytest.mark.parametrize("given", [[""], ["a b"], {5}, True, "a b"])
def test_keys_that_cannot_be_right_are_an_error_that_says_the_remedy(given: Any) -> None:
    with pytest.raises((TypeError, ValueError), match=r"allow.*keys.*separated by commas"):
        resolve(allow=given)


def test_a_variable_whose_keys_no_comma_separates_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEMW_ALLOW", "a b")
    with pytest.raises(ValueError, match=r"TRACEMW_ALLOW='a b' is not accepted; use keys .* separated by commas"):
        resolve()


def test_a_rule_of_the_users_keeps_masks_drops_and_hashes() -> None:
    seen: list[Found] = []

    def rule(found: Found) -> Answer:
        seen.append(found)
        return {"kept": Answer.KEEP, "dropped": Answer.DROP, "hashed": Answer.HASH}.get(found.key, Answer.MASK)

    policy = RedactionPolicy({"note"}, Redaction(rule=rule, hash_key="0123456789abcdef"))
    told = sent(policy, {"kept": "a", "dropped": "b", "hashed": "c", "masked": "d", "note": "to joe@shop.example!"})
    assert told == {"kept": "a", "hashed": told["hashed"], "masked": MASK, "note": f"to {MASK}!"}
    assert told["hashed"].startswith("[HASH:")
    assert sent(policy, {"hashed": "c"}) == {"hashed": told["hashed"]}
    assert Found("attribute", "dropped", "b", "key") in seen
    assert Found("attribute", "note", "joe@shop.example", "email") in seen


def test_a_rule_that_raises_or_answers_nonsense_masks() -> None:
    def raises(found: Found) -> Answer:
        raise ValueError(found.key)

    nonsense: Any = lambda found: "keep"  # noqa: E731
    for rule in (raises, nonsense):
        assert sent(RedactionPolicy((), Redaction(rule=rule)), {"own": "x"}) == {"own": MASK}


def test_redaction_is_checked_when_it_is_made() -> None:
    async def later(found: Found) -> Answer:
        return Answer.KEEP

    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"rule": 7}, TypeError, "rule takes a function"),
        ({"rule": lambda: Answer.KEEP}, TypeError, "a function of one argument"),
        ({"rule": later}, TypeError, "a plain function"),
        ({"headers": "cookie"}, TypeError, "headers takes several names"),
        ({"headers": ["x api key"]}, ValueError, "headers='x api key' is not accepted; use names of headers"),
        ({"hash_key": "short"}, ValueError, "use at least 16 bytes"),
    ]
    for given, error, said in wrong:
        with pytest.raises(error, match=said):
            Redaction(**given)
    with pytest.raises(TypeError, match=r"redaction takes a tracemw.redaction.Redaction, not int"):
        tracemw.init("shop", redaction=7)  # type: ignore[arg-type]


def test_headers_that_are_credentials_are_not_captured_unless_the_user_says_so() -> None:
    capture = HeaderCapture("request", ("authorization", "X-Api-Key", "accept"))
    headers = {"authorization": ["Bearer abc"], "x-api-key": ["k"], "accept": ["*/*"]}
    keys = ("http.request.header.authorization", "http.request.header.x-api-key", "http.request.header.accept")
    before = in_use()
    try:
        use(RedactionPolicy({"*"}))
        assert capture.attributes(headers) == dict(zip(keys, (MASK, MASK, ("*/*",)), strict=True))  # type: ignore[arg-type]
        use(RedactionPolicy((), Redaction(headers=("X-API-Key",))))
        assert capture.attributes(headers)[keys[1]] == ("k",)  # type: ignore[arg-type]
        assert sent(in_use(), {keys[0]: "abc", keys[1]: "a password=b"}) == {keys[0]: MASK, keys[1]: "a password=b"}
    finally:
        use(before)


def test_what_follows_a_telling_name_within_a_value_is_masked() -> None:
    policy = RedactionPolicy({"note"})
    value = {"password": "geheim", "lines": [1, {"api_key": "k", "n": 2}], "command": ["run", "--password", "geheim"]}
    assert policy.cleaned(value, policy.of("note"), "attribute") == {
        "password": MASK,
        "lines": (1, {"api_key": MASK, "n": 2}),
        "command": ("run", "--password", MASK),
    }
    assert policy.cleaned([4111111111111111, 1_700_000_000_000_000_000], policy.of("note"), "attribute") == (
        MASK,
        1_700_000_000_000_000_000,
    )


def test_a_statement_leaves_without_literals_whoever_tells_it() -> None:
    assert sent(RedactionPolicy(), {"db.statement": "SELECT a FROM t WHERE b = 'x' AND c = 7"}) == {
        "db.statement": "SELECT a FROM t WHERE b = ? AND c = ?"
    }


@pytest.mark.parametrize(
    "key", ["note", "url.path", "url.query", "url.full", "user_agent.original", "user.hash", "http.request.method"]
)
@hypothesis.given(st.text("aAbz019/.-_&=?: ", max_size=24) | st.from_regex(r"[a-z/]+[0-9.]+(=[0-9]+)?", fullmatch=True))
def test_which_digits_a_text_has_never_tells_whether_the_text_needs_a_look(key: str, text: str) -> None:
    policy = RedactionPolicy({"note", "url.query.v0", "url.query.a[0-4]"})
    is_calm = policy.of(key).is_calm
    if is_calm(re.sub("[1-9]", "0", text)):
        assert is_calm(text)


def test_a_name_in_queries_passes_without_those_that_differ_from_it_in_a_digit() -> None:
    encoder = SpanEncoder(policy=RedactionPolicy({"url.query.v0"}))
    for query, shown in (("v0=17", "v0=17"), ("v1=17", "v1=REDACTED"), ("v0=18", "v0=18"), ("v2=", "v2=REDACTED")):
        assert sent_by(encoder, {"url.query": query}) == {"url.query": shown}


def test_metrics_keep_allowed_labels_only() -> None:
    policy = RedactionPolicy({"shop.*"})
    assert [policy.allows_label(key) for key in ("http.route", "shop.kind", "type", "own")] == [True, True, True, False]
    assert policy.report.counts() == {"own": 1}

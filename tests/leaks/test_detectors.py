"""What looks like a secret, and what does not."""

from __future__ import annotations

import time

import pytest

from leaks.corpus import Leak, beyond_ascii, leaks
from leaks.ordinary import lines, values
from tracemw.redaction.detectors import is_harmless
from tracemw.redaction.policy import RedactionPolicy


def shown(text: str) -> str:
    policy = RedactionPolicy({"note"})
    told: str = policy.cleaned(text, policy.of("note"), "attribute")
    return told


@pytest.mark.parametrize("leak", [*leaks(), *beyond_ascii()], ids=lambda leak: leak.kind)
def test_a_secret_is_taken_out_of_its_text(leak: Leak) -> None:
    assert leak.secret not in shown(leak.text)


def test_words_that_are_harmless_alone_hide_no_secret_that_they_are_together() -> None:
    for leak in leaks():
        for word in leak.text.split():
            shown(f"so {word} it goes")
    assert [leak.kind for leak in leaks() if leak.secret in shown(leak.text)] == []


@pytest.mark.parametrize(
    ("before", "text"),
    [
        (["ship 4111 of 1111"], "card 4111 1111 1111 1111"),
        (["the GB82 of WEST", "at 1234 5698", "on 7654 32"], "to GB82 WEST 1234 5698 7654 32"),
        (["-p or not", "so hunter2 it is"], "run with -p hunter2"),
        (["send a=b or x: y", "it was hunter2"], "token: hunter2"),
    ],
)
def test_a_secret_of_several_words_is_found_after_each_of_its_words_was_seen(before: list[str], text: str) -> None:
    for line in before:
        shown(line)
    assert "[REDACTED]" in shown(text)


def test_prose_is_let_go_whatever_numbers_it_has() -> None:
    shown("Order 4711 was placed in Berlin")
    assert is_harmless("Order 1234 was placed in Berlin")
    assert not is_harmless("Order 1234 was placed with the password hunter2")


def test_ordinary_lines_and_values_stay_as_they_are() -> None:
    ordinary = [*lines(), *values()]
    changed = [line for line in ordinary if shown(line) != line]
    assert len(changed) * 1000 < len(ordinary), changed


@pytest.mark.parametrize("leak", leaks()[::7], ids=lambda leak: leak.kind)
def test_what_is_redacted_once_stays_so(leak: Leak) -> None:
    assert shown(shown(leak.text)) == shown(leak.text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("qty 12 4111111111111111 ok", "qty 12 [REDACTED] ok"),
        ('{"password": "hunter2", "a": 1}', '{"password": "[REDACTED]", "a": 1}'),
        ("password: correct horse battery\nuser: joe", "password: [REDACTED]\nuser: joe"),
        ("password=hunter2&page=2", "password=[REDACTED]&page=2"),
        ("Server=x;Password=hunter2;Encrypt=yes", "Server=x;Password=[REDACTED];Encrypt=yes"),
        ("postgresql://joe:hunter2@db/x", "postgresql://REDACTED@db/x"),
        ("git@github.com:x/y.git", "git@github.com:x/y.git"),
        ("GET /reset-password/8f14e45fce failed", "GET /reset-password/REDACTED failed"),
        ("for url 'https://h/x?email=joe&page=2'", "for url 'https://h/x?email=REDACTED&page=2'"),
        ("self.password = self.settings.password", "self.password = self.settings.password"),
        ("passwd hunter2 was refused", "passwd [REDACTED] was refused"),
        ("sshpass -p hunter2 ssh shop", "sshpass -p [REDACTED] ssh shop"),
        ("run with -p hunter2", "run with -p [REDACTED]"),
        ("mysql -u joe -p geheim shop", "mysql -u joe -p [REDACTED] shop"),
        ("SSN 123-45-6789.", "SSN [REDACTED]."),
        ("pin 4711, please", "pin [REDACTED], please"),
        ("the api key 9f8e7d6c5b, which", "the api key [REDACTED], which"),
        ("docker run -p 8080:80 shop -p 8080", "docker run -p 8080:80 shop -p 8080"),
        ("mkdir -p /srv/app1 && pytest -p no:cacheprovider", "mkdir -p /srv/app1 && pytest -p no:cacheprovider"),
        ("password sha256 is fine, passwd reset for user 7", "password sha256 is fine, passwd reset for user 7"),
        ("pin 17 of GPIO, secret /run/secrets/key1", "pin 17 of GPIO, secret /run/secrets/key1"),
        ("bearer token is missing", "bearer token is missing"),
        ('    api_key = os.environ["API_KEY"]', '    api_key = os.environ["API_KEY"]'),
        ('    password = form.cleaned_data["password"]', '    password = form.cleaned_data["password"]'),
        ("    token = await get_access_token(user, secret)", "    token = await get_access_token(user, secret)"),
        ('{"Authorization": f"Bearer {token}"}', '{"Authorization": f"Bearer {token}"}'),
        ("api_key_id=2708 passes=953 password_age_days=9", "api_key_id=2708 passes=953 password_age_days=9"),
        ("<class 'app.Token'> has no attribute 'value'", "<class 'app.Token'> has no attribute 'value'"),
        ('secret "db-1" not found in namespace "x"', 'secret "db-1" not found in namespace "x"'),
        ("security code review 8246 is over", "security code review 8246 is over"),
        ("login -> token -> orders, | token | 12 |", "login -> token -> orders, | token | 12 |"),
        ("token_type=bearer max_tokens=100", "token_type=bearer max_tokens=100"),
        ("order 1234567812345678", "order 1234567812345678"),
    ],
)
def test_only_the_secret_goes(text: str, expected: str) -> None:
    assert shown(text) == expected


_HOSTILE = [
    *("a" * 32, "A", "1", "4111 ", "4", "DE12 ", "de89", "@", "a@", "a@b.", "//", "//a:b", "=", "password=", "4111-"),
    *("password: ", "password\\", "pass", "token ", "Bearer ", "basic ", "eyJ", "eyJa.", "-----BEGIN ", "-----END "),
    *("-----BEGIN PRIVATE KEY-----", "sk-", "ghp_", "gh", "?a=", "&", "?", "/token/", "/", "cvv ", "cvv: 1", "%20"),
    *("<password>", "--", "--password ", "%3D", "%40", "%", "\\n", "[SQL: ", "key", "a.b", "x:y@", 'password="'),
    *(
        "password: |\n ",
        "  pw: >-\n",
        "('password', '1",
        "[('token', ",
        "name: password value: ",
        "key=pw,value=",
        "PWD={",
        "PWD={a1",
    ),
    *(
        "authorization: digest a=",
        'authorization: oauth a="',
        "curl ",
        "curl -u ",
        "curl -u a:",
        "mysql ",
        "sshpass -p",
        "otp ",
    ),
    *(
        "one-time code is ",
        "password for ",
        "password for a",
        "x4111111111111111",
        "4111.",
        "4111_",
        "a\u200b",
        "\uff50",
    ),
    *("%2525", "\\u0022", "&amp;", "\x1b[", "password(", "token|", "<token a=", 'name="password"\r\n', "value='aaaa"),
    *("authorization: ab ", "social security ", "123456 is your ", "joe:a1b2c3", "sqlplus a/", "$argon2id$", "sess="),
    *("phone: 0 ", "phone ", "passwd ", "ssn 123-", "pin 1", " -p ", "login ", "mysql -p"),
]


@pytest.mark.parametrize("piece", _HOSTILE)
def test_a_megabyte_of_anything_takes_linear_time(piece: str) -> None:
    policy = RedactionPolicy({"note"}, longest=2_000_000)
    rule = policy.of("note")
    taken = []
    for size in (125_000, 1_000_000):
        text = (piece * (size // len(piece) + 1))[:size]
        began = time.process_time()
        policy.cleaned(text, rule, "attribute")
        taken.append(time.process_time() - began)
    assert taken[1] < 5
    assert taken[1] < 20 * taken[0] + 0.5  # eight times the text

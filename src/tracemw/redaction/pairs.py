"""Secrets that their names tell: pairs of a name and a value, in whatever notation.

`password=x`, `{"password": "x"}`, `{'password': 'x'}`, `password: x`, `<password>x</password>`, `--password x`,
`Authorization: Bearer x`, `password%3Dx`. The name is found first. Then the value is read up to where it ends in that
notation. A value that ends nowhere is a secret up to the end of the text. So nothing is read twice.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from tracemw.redaction.apart import block_at, braced_at
from tracemw.redaction.places import BEGIN, MASK, Stretch
from tracemw.redaction.spaced import NO_VALUE

ROOTS: Final = (
    *("pass", "pw", "secret", "token", "key", "cred", "auth", "cookie", "sess", "sid", "srf", "sig", "otp"),
    *("pin", "ssn", "jwt", "salt", "dsn", "identified", "verifier", "connectionstring", "connection_string"),
    *("contrase", "senha", "wachtwoord", "kennwort", "parola", "psk", "answer", "saml", "assertion", "device"),
    *("ароль", "密码", "密碼", "スワード", "밀번호"),
)
"""Parts of names, in lower case. A text without any of these has no pair to look at."""

# Names that tell a secret, whatever the value looks like; and names that may also tell something harmless.
_STRONG: Final = (
    r"(?i:p(?:ass(?:word|wd|phrase|code|wort|e(?!s))|wd|sk|arola)|contrase(?:ñ|n\u0303?)a|[kw](?:enn|acht)woo?r[dt]"
    r"|[^\x00-\x7f](?:ароль|[码碼]|スワード|밀번호)"
    r"|s(?:ecret|enha|et-cookie|aml_?re(?:sponse|quest)|ecurity[ _-]?answer"
    r"|(?<![A-Za-z]s)s?ess(?:[0-9a-f]{4,32})?(?==))"
    r"|credential|authorization"
    r"|(?:api|access|account|private|secret|signing|encryption|encrypt|master|subscription|shared|storage|auth|app"
    r"|client|deploy|ssh|hmac|license|service|webhook|jwt|aes|rsa|consumer|session|admin|root|functions"
    r"|recovery|backup|host)[ _.-]?key"
    r"|(?:access|auth|refresh|session|bearer|id|api|csrf|xsrf|security|reset|verification|invite|device|personal)"
    r"[ _.-]?token|jsessionid|phpsessid|asp\.net_sessionid|connect\.sid|session[_.-]?id|[cx]srf|connection[_ ]?string"
    r"|identified[ _]by|c(?:lient[_-]?assertion|ode(?:[_-]?verifier|(?<=[&?]code)(?==)))|device[_-]?code|_oauth2_proxy)"
)
_WEAK: Final = (
    r"(?i:tokens?|cookies?|(?:(?<![A-Za-z])|(?<=\\[nrt]))"
    r"(?:pass|pw|auth|session|sid|sig|signature|otp|pin|ssn|jwt|key|salt|dsn))"
)

_NAME: Final = rf"(?:(?P<strong>{_STRONG}s?)|(?P<weak>{_WEAK}))(?![a-z])(?P<rest>[\w.-]{{0,40}}+)"
_PAIR: Final = re.compile(
    _NAME
    + r"(?P<close>\\{0,3}[\"'`]?\]?(?:\[[0-9]{0,3}\])?)"
    + r"(?P<sep>\s{0,8}(?:=>|:=|:>|->|\u2192|!=|==?|:(?!:)|%3[aAdD]|>)\s{0,8}|\s{0,40}\|\s{0,8}|\(\s?(?=[bruf]?[\"'])"
    + r"|\s{1,4}(?:is|was|are)\s{0,4}:?\s{1,4}|\s{1,4}(?=['\"])"
    + r"|\s{1,4}(?i:for|of)\s{1,4}(?:user\s{1,4})?[\"']?[\w.@-]{1,64}[\"']?\s{0,4}[:=]\s{0,4}"
    + r"|\s[^<>\n]{1,120}>(?=[^<]))"
)
_FLAG: Final = re.compile(rf"(?<![\w-])--?[\w-]{{0,40}}?{_NAME}\s{{1,4}}(?!-)")
_ITEM: Final = re.compile(
    r"[(\[]\s{0,4}b?\\{0,3}[\"'][\w.-]{0,40}?"
    + _NAME
    + r"(?P<close>\\{0,3}[\"'])(?P<sep>\s{0,4},\s{0,4})(?=[bru]?\\{0,3}[\"'])"
)
_RECORD: Final = re.compile(
    r"(?<![A-Za-z])(?i:name|key|field|header)\\{0,3}[\"']?\s{0,4}[:=]\s{0,4}\\{0,3}[\"']?[\w.-]{0,40}?"
    + _NAME
    + r"(?P<close>\\{0,3}[\"']?)\s{0,4},?(?:[^{}\[\]\n]{1,80}?,)?(?:\\n)?"
    r"[\s|]{0,24}\\{0,3}[\"']?(?i:value)\\{0,3}[\"']?(?P<sep>\s{0,4}[:=]\s{0,4})"
)
_REVERSED: Final = re.compile(
    r"(?i:value)[\"']?\s{0,4}[:=]\s{0,4}(?P<quote>[\"'])(?P<value>[^\"'\n]{4,400})(?P=quote)\s{0,4},\s{0,4}[\"']?"
    r"(?i:name|key)[\"']?\s{0,4}[:=]\s{0,4}[\"'][\w.-]{0,40}?" + _NAME
)
_BREAK: Final = r"(?:\\{1,4}r\\{1,4}n|\\{1,4}n|\r?\n)[ |]{0,24}+"
"""A line ends, escaped or not. Python puts `|` before the lines of exceptions in a group."""
_PART: Final = re.compile(
    r"(?:\b|(?<=\\[nrt]))name=\\{0,3}[\"'][\w.\[-]{0,40}?"
    + _NAME
    + r"(?P<close>\]?\\{0,3}[\"'])[^\r\n\\]{0,100}"
    + rf"(?P<sep>(?:{_BREAK}[^\r\n\\]{{1,100}}){{0,4}}(?:{_BREAK}){{2}})(?P<value>[^\r\n\\]++)"
)
"""A part of a form in multipart/form-data (RFC 7578)."""
_HARMLESS: Final = re.compile(
    r"(?i:[\w.-]*?(?:type|types|count|counts|url|uri|endpoint|path|file|name|names|expires|expiry|expiration|expires_?in"
    r"|expires_?at|expired|ttl|age|max_?age|policy|length|len|size|limit|budget|usage|used|version|status|state|enabled"
    r"|disabled|required|error|errors|kind|format|field|fields|input|class|arn|provider|manager|store|backend|bucket"
    r"|domain|samesite|secure|httponly|scheme|method|mode|algorithm|alg|rounds|iterations|per_?second|rate|latency"
    r"|duration|seconds|minutes|hours|days|ms|reset|changed|change|updated_?at|created_?at|rotation|validator|validators|hasher"
    r"|checker|form|page|view|route|middleware|handler|factory|service|client|event|prefix|header_?name|usages?))s?"
)
"""What follows a telling word in a name that tells nothing secret: `token_type`, `password_reset_url`."""

_IS_STRONG: Final = re.compile(_STRONG).search
_IS_OF_KEY: Final = re.compile(r"(?i:[ _.-]?ids?)").fullmatch
"""What follows a key's name in the name of its identifier."""

_VAGUE: Final = frozenset({"tokens", "key", "session", "salt"})
"""Names that alone tell nothing secret."""

_NOTHING: Final = re.compile(
    r"(?i:none|null|nil|undefined|true|false|yes|no|n/a|on|off|empty|unset|not|set|\*+|x{2,}|\.{2,}|-+|_+|\?|%s|%d|%r"
    r"|\[?redacted\]?|\[?filtered\]?|\[?masked\]?|hidden|%\(\w*\)[sdr]|\$\{?\w*\}?|\{\{?\s*[\w.]*\s*\}?\}|<[^<>]*>|:\w+|@\w+"
    r"|str|string|int|integer|bytes|bool|boolean|float|dict|list|object|any|optional\[?\w*\]?|secretstr|text|varchar"
    r"|invalid|valid|required|missing|expired|incorrect|wrong|rejected|accepted|refused|denied|revoked|mismatch|failed"
    r"|failure|unauthorized|forbidden|ok|error|unknown|unexpected|found|changed|updated|reset|refreshed|created|deleted"
    r"|verified|verification|validation|successful|success|too|must|should|cannot|does|has|have|will|for|from|in|to|by"
    r"|with|of|and|or|the|this|that|your|a|an|at|is|was|be|been|already|still|bearer|basic|digest|apikey|jwt|oauth2?"
    r"|api|default|stored|given|provided|include|omit|here|there|now|only|used|unused|loaded|present|absent|disabled|enabled)"
)
"""What stands where a secret might, and is none: placeholders, types, and words of messages."""

_CODE: Final = re.compile(r"(?:await\s)?(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:\(|\[['\"]?\w*['\"]?\])")
_IN_CALL: Final = re.compile(r"[A-Za-z_][\w.]{0,100}+\((?:\w{1,40}=)?b?([\"'])(?P<value>[^\"'\n]{6,200})\1\)")
_FILLED: Final = re.compile(r"(?:[A-Za-z]{2,20} )?(?:\{[\w.]{0,60}\}|%s)")
"""A text that is filled in later, such as `Bearer {token}`."""
_OF_CLUSTER: Final = re.compile(
    r"\s(?:not found|in (?:the )?namespace|does not exist|is (?:forbidden|invalid|not))"
).match
"""What follows the name of a secret of Kubernetes."""
_ATTRIBUTE: Final = re.compile(r"(?:[a-zA-Z_]\w*\.){1,6}[a-zA-Z_]\w*")
_OPENER: Final = re.compile(r"(?:[rRbBuUfF]{1,2}(?=[\"']))?(\\{0,3})([\"'`])")
_CLOSERS: Final = {quote: re.compile(rf"(?:[^{quote}\\]++|\\.)*+", re.DOTALL) for quote in "\"'`"}
_BARE: Final = re.compile(r"(?:[^\s,;&|\"'`<>\\]++|,(?!\s|[\w.-]{1,40}[=:])|\\(?![nrt\"']))*+")
_LINE: Final = re.compile(r"[^\r\n\"'`<>\\]*+")
_ENCODED: Final = re.compile(r"(?:[^\s&\"'`<>%\\]++|%(?!26|3[bB]|2[cC]))*+")
_ELEMENT: Final = re.compile(r"[^<]*+")
_SCHEME: Final = re.compile(
    r"(?i:bearer|basic|digest|token|negotiate|apikey|aws4-hmac-sha256|hawk|key|jwt|oauth|!!?\w{1,20})\s{1,4}(?=\S)"
)
_ANY_SCHEME: Final = re.compile(r"[A-Za-z][\w.-]{1,40}(?: \w{1,10})?(?:=|(?<!=)) {1,2}(?=[^\s=]{8})(?!\w+=)")
"""The same of any name, behind `authorization`."""
_PARAMETERS: Final = re.compile(r"(?:[\w-]{1,40}+=(?:\\?\"[^\"\r\n]*+\"|[^\s,\"']*+)[, ]{0,3}+)++")
"""What follows a scheme such as Digest (RFC 9110, 11.4)."""
_BRACKETS: Final = {"[": "]", "(": ")", "{": "}"}
_PROSE: Final = ("is", "was", "are", "for", "of", "->", "\u2192", "|")
_YAML: Final = re.compile(r"(?:^|[\r\n])[ \t-]{0,40}[\w.-]{0,60}\Z")
_TELLING: Final = re.compile(_NAME)

_BEARER: Final = re.compile(BEGIN + r"(?P<word>[Bb]earer|BEARER)(?:\s|%20|\+|:|=){1,4}(?P<value>[\w.~+/-]{6,}+=*+)")
_BASIC: Final = re.compile(
    BEGIN + r"(?i:basic)(?:\s|%20|\+){1,4}(?P<value>[A-Za-z0-9+/_-]{6,}+(?:={0,2}|(?:%3[dD]){0,2}))"
)


def is_telling(name: str) -> bool:
    """Tell whether a name is that of a secret: `password`, `x-api-key`; not `token_count`."""
    found = _TELLING.search(name)
    while found is not None:
        is_harmless = found["rest"] and _HARMLESS.fullmatch(found["rest"])
        if not is_harmless and (found["weak"] or "").lower() not in _VAGUE:
            return True
        found = _TELLING.search(name, found.end())
    return False


def pairs(text: str) -> Iterator[Stretch]:
    """Find the values of pairs whose name tells a secret."""
    at = 0
    while (found := _PAIR.search(text, at)) is not None:
        at = found.end()
        rest = found["rest"]
        if rest and _HARMLESS.fullmatch(rest):
            continue
        separator = found["sep"].strip()
        is_element = separator[-1:] == ">" and len(separator) != 2
        if is_element and text.rfind("<", max(found.start() - 60, 0), found.start()) < 0:
            at = found.end("close")
            continue
        start, end, is_quoted = _element_at(text, at) if is_element else _value_at(text, found, at)
        if is_element and (found["close"] or len(separator) > 1) and not text.startswith("</", end):
            at = found.end("close")
            continue
        if start < end and _is_secret(text, start, end, found, is_quoted=is_quoted):
            yield Stretch(start, end, "pair")
            at = end
        elif (call := _IN_CALL.match(text, start)) is not None and _is_mixed(call["value"]):
            yield Stretch(call.start("value"), call.end("value"), "pair")
            at = call.end()
    for found in _FLAG.finditer(text):
        start, end, is_quoted = _value_at(text, None, found.end())
        if start < end and not (found["rest"] and _HARMLESS.fullmatch(found["rest"])):
            yield Stretch(start, end, "pair")


def items(text: str) -> Iterator[Stretch]:
    """Find values that follow a telling name as its neighbours, if they have digits: `('token', 'x1')`."""
    for place in _apart(_ITEM, text):
        # Else it is one of many names of fields.
        if NO_VALUE.match(text, place.start) is None and any(map(str.isdigit, text[place.start : place.end])):
            yield place


def records(text: str) -> Iterator[Stretch]:
    """Find values of records whose name tells a secret: `{'name': 'token', 'value': 'x1'}`."""
    yield from _apart(_RECORD, text)
    for found in _REVERSED.finditer(text):
        if not found["rest"] or _HARMLESS.fullmatch(found["rest"]) is None:
            yield Stretch(found.start("value"), found.end("value"), "pair")


def parts(text: str) -> Iterator[Stretch]:
    """Find values in the parts of a form whose name tells a secret."""
    for found in _PART.finditer(text):
        if not found["rest"] or _HARMLESS.fullmatch(found["rest"]) is None:
            yield Stretch(found.start("value"), found.end("value"), "pair")


def _apart(pattern: re.Pattern[str], text: str) -> Iterator[Stretch]:
    for found in pattern.finditer(text):
        if not found["rest"] or _HARMLESS.fullmatch(found["rest"]) is None:
            start, end, is_quoted = _value_at(text, found, found.end())
            if start < end and _is_secret(text, start, end, found, is_quoted=is_quoted):
                yield Stretch(start, end, "pair")


def _is_mixed(value: str) -> bool:
    """Tell whether a value has digits and other characters, and is no name such as `DB_PASSWORD_2`."""
    return any(map(str.isdigit, value)) and not value.isdigit() and not (value.isupper() and "_" in value)


def credentials(text: str) -> Iterator[Stretch]:
    """Find the credentials of HTTP's schemes Bearer and Basic (RFC 6750, RFC 7617), whatever stands before."""
    for found in _BEARER.finditer(text):
        value = found["value"]
        is_sure = found["word"] != "bearer" or len(value) >= 20 or any(map(str.isdigit, value))
        if is_sure and _NOTHING.fullmatch(value) is None and not value.lower().startswith(_WORDS):
            yield Stretch(found.start("value"), found.end(), "bearer")
    for found in _BASIC.finditer(text):
        value = found["value"]
        is_word = value.isalpha() and (value.islower() or value.istitle() or value.isupper())
        is_long = len(value) >= 12 or value.endswith("=")
        if is_long and not is_word and "." not in value and not value.lower().startswith(_WORDS):
            yield Stretch(found.start("value"), found.end(), "basic")


_WORDS: Final = ("token", "auth", "realm", "scheme", "error", "format", "credential", "header", "scope")


def entropy(text: str) -> float:
    """Return how many bits a character of a text tells, by Shannon."""
    size = len(text)
    return -sum([count / size * math.log2(count / size) for count in Counter(text).values()])


def looks_random(value: str) -> bool:
    """Tell whether a value looks like one that a machine has drawn: long, mixed, with hardly a repetition."""
    if len(value) < 16 or _RANDOM.fullmatch(value) is None or _UUID.fullmatch(value):
        return False
    has_digits = any(map(str.isdigit, value))
    has_both_cases = not value.islower() and not value.isupper()
    return (has_digits or has_both_cases) and entropy(value[:256]) >= 3.0


_RANDOM: Final = re.compile(r"[\w.~+/=%-]*[A-Za-z][\w.~+/=%-]*")
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")


def _element_at(text: str, at: int) -> tuple[int, int, bool]:
    found = _ELEMENT.match(text, at)
    return at, at if found is None else found.end(), True


def _value_at(text: str, pair: re.Match[str] | None, at: int) -> tuple[int, int, bool]:
    """Return where a value begins and ends, and whether it is in quotes."""
    opener = _OPENER.match(text, at)
    if opener is not None:
        start = opener.end()
        if opener[1]:
            end = text.find(opener[1] + opener[2], start)
        else:
            found = _CLOSERS[opener[2]].match(text, start)
            end = -1 if found is None else found.end()
        return start, len(text) if end < 0 else end, True
    if pair is not None and text.startswith(("{", "|", ">"), at):
        apart = braced_at(text, at) if text[at] == "{" else block_at(text, at, pair.start())
        if apart is not None:
            return *apart, True
    if text[at : at + 1] in _BRACKETS and text[at : at + 2] != "{{":
        end = text.find(_BRACKETS[text[at]], at)
        return at, len(text) if end < 0 else end + 1, True
    is_authorization = pair is not None and "authorization" in pair[0].lower()
    scheme = _SCHEME.match(text, at) or (_ANY_SCHEME.match(text, at) if is_authorization else None)
    start = at if scheme is None else scheme.end()
    if scheme is not None and scheme[0].lower().startswith(("digest", "oauth", "hawk", "aws4")):
        parameters = _PARAMETERS.match(text, start)
        if parameters is not None:
            return start, start + len(parameters[0].rstrip(", ")), True
    pattern = _BARE
    if pair is not None:
        name = pair[0].lower()
        if pair["sep"].startswith("%"):
            pattern = _ENCODED
        elif (
            ":" in pair["sep"]
            and not pair["close"]
            and (
                "cookie" in name
                or "authorization" in name
                or _YAML.search(text, max(pair.start() - 100, 0), pair.start())
            )
        ):
            pattern = _LINE
    found = pattern.match(text, start)
    end = start if found is None else found.end()
    if (
        end > start and text[end : end + 1] in ("'", '"') and text[end - 1] in "=:"
    ):  # a pair within: `<Cookie: sid='x'>`
        inner = _CLOSERS[text[end]].match(text, end + 1)
        return start, len(text) if inner is None else inner.end(), True
    while end > start and text[end - 1] in ")]}.,:; \t":
        end -= 1
    return start, end, False


def _is_secret(text: str, start: int, end: int, pair: re.Match[str], *, is_quoted: bool) -> bool:
    """Tell whether what stands at the value of a pair is a secret, and no placeholder, code or word of a message."""
    if end - start > 200:
        return True
    value = text[start:end]
    if _NOTHING.fullmatch(value) or value.startswith(MASK) or _FILLED.fullmatch(value):
        return False
    strong, rest = pair["strong"], pair["rest"]
    if strong and strong.lower().endswith("key") and _IS_OF_KEY(rest):
        return looks_random(value)
    if not strong and rest and _IS_STRONG(rest):
        strong = rest
    if pair["sep"].startswith("("):
        return len(value) >= 6 and _is_mixed(value)
    word = value.split(" ", 1)[0]
    if " " in value and not is_quoted and _NOTHING.fullmatch(word.strip(",.;")):
        return False
    if not is_quoted and text[end : end + 1] != "@":
        if _CODE.match(text, start) or text[end : end + 1] == "(":
            return False
        if _ATTRIBUTE.fullmatch(value) and is_telling(value):
            return False
        if value.lower() in ("password", "token", "secret", "api_key", "key", "auth") and "=" in pair["sep"]:
            return False
    is_prose = pair["sep"].isspace() or pair["sep"].strip(" \t\r\n:").split(" ", 1)[0] in _PROSE
    if is_prose and not is_quoted and " " in value:
        return False
    if strong:
        if pair["sep"].isspace() and is_quoted and strong.lower() == "secret" and _OF_CLUSTER(text, end + 1):
            return False
        if is_prose and not is_quoted:
            return len(value) >= 6 and any(map(str.isdigit, value))
        return True
    name = pair["weak"].lower()
    if name in ("pin", "otp", "ssn"):
        return sum(map(str.isdigit, value)) >= 4 and not is_prose
    if name in ("tokens", "key", "salt", "signature", "sig", "auth", "session", "dsn"):
        return looks_random(value)
    has_digits = any(map(str.isdigit, value))
    has_letters = any(map(str.isalpha, value))
    if is_prose:
        return has_digits and has_letters and len(value) >= 8
    return (has_digits and has_letters and len(value) >= 4) or len(value) >= 10 or (len(value) >= 6 and is_quoted)

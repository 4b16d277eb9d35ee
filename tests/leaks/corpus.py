"""Secrets that nobody has ever used, of every kind, and texts that hold them. They are put together here, in pieces."""

from __future__ import annotations

import base64
import random
import string
from collections.abc import Iterator
from typing import NamedTuple

_draw = random.Random(20_260_101).choice
_MIXED = string.ascii_letters + string.digits
_HEX = "0123456789abcdef"


class Leak(NamedTuple):
    """A text as an application may record it, and what of it must not leave."""

    kind: str
    text: str
    secret: str


def _drawn(size: int, alphabet: str = _MIXED) -> str:
    return "".join(_draw(alphabet) for _ in range(size))


def _with_luhn(start: str, size: int) -> str:
    digits = start + _drawn(size - len(start) - 1, string.digits)
    total = sum(
        sum(divmod(int(digit) * (2 if index % 2 == 0 else 1), 10)) for index, digit in enumerate(reversed(digits))
    )
    return digits + str(-total % 10)


def _with_checksum(country: str, account: str) -> str:
    number = "".join(str(int(each, 36)) for each in f"{account}{country}00")
    return f"{country}{98 - int(number) % 97:02}{account}"


def _grouped(digits: str, sign: str) -> str:
    return sign.join(digits[at : at + 4] for at in range(0, len(digits), 4))


def _cards() -> Iterator[Leak]:
    shapes = [("4", 16), ("51", 16), ("2221", 16), ("37", 15), ("6011", 16), ("4", 13), ("4", 19), ("3530", 16)]
    for start, size in shapes * 3:
        number = _with_luhn(start, size)
        yield Leak("card", f"charged {number} twice", number)
        if size == 16:
            for sign in (" ", "-"):
                shown = _grouped(number, sign)
                yield Leak("card", f'{{"card": "{shown}"}}', shown)
    for label in ("cvv: {}", "card_cvc={}", "cvv%3D{}", "CVC={}", '"cvv2": "{}"', "security code {}", "cvn={}"):
        code = _drawn(3, "3456789")
        yield Leak("cvv", f"card check {label.format(code)} ok", label.format(code))


def _accounts() -> Iterator[Leak]:
    for country, size in (("DE", 18), ("NL", 0), ("GB", 0), ("FR", 23), ("ES", 20), ("AT", 16), ("CH", 17)) * 2:
        account = {"NL": "ABNA" + _drawn(10, "123456789"), "GB": "WEST" + _drawn(14, "123456789")}.get(
            country, _drawn(size, "123456789")
        )
        iban = _with_checksum(country, account)
        yield Leak("iban", f"refund to {iban} failed", iban)
        yield Leak("iban", f"IBAN {_grouped(iban, ' ')} is closed", _grouped(iban, " "))


_TOKENS = [
    ("AK" + "IA", 16, string.ascii_uppercase + "234567"),
    ("AS" + "IA", 16, string.ascii_uppercase + "234567"),
    ("AI" + "za", 35, _MIXED),
    ("ya" + "29.", 40, _MIXED),
    ("GOC" + "SPX-", 28, _MIXED),
    ("gh" + "p_", 36, _MIXED),
    ("gh" + "o_", 36, _MIXED),
    ("gh" + "s_", 36, _MIXED),
    ("github" + "_pat_", 60, _MIXED),
    ("gl" + "pat-", 20, _MIXED),
    ("gl" + "dt-", 20, _MIXED),
    ("xo" + "xb-123456789012-", 24, _MIXED),
    ("xo" + "xp-123456789012-", 24, _MIXED),
    ("sk" + "_live_", 24, _MIXED),
    ("rk" + "_live_", 24, _MIXED),
    ("sk" + "_test_", 24, _MIXED),
    ("wh" + "sec_", 32, _MIXED),
    ("np" + "m_", 36, _MIXED),
    ("py" + "pi-AgEIcHlwaS5vcmc", 60, _MIXED),
    ("s" + "k-proj-", 48, _MIXED),
    ("s" + "k-ant-api03-", 80, _MIXED),
    ("S" + "G.", 22, _MIXED),
    ("h" + "f_", 34, _MIXED),
    ("do" + "p_v1_", 64, _HEX),
    ("sh" + "pat_", 32, _HEX),
    ("ke" + "y-", 32, _HEX),
    ("A" + "C", 32, _HEX),
    ("hv" + "s.", 40, _MIXED),
    ("dck" + "r_pat_", 27, _MIXED),
    ("NR" + "AK-", 27, string.ascii_uppercase + string.digits),
    ("gl" + "sa_", 40, _MIXED),
    ("li" + "n_api_", 40, _MIXED),
    ("gs" + "k_", 48, _MIXED),
    ("AGE-SECRET" + "-KEY-1", 58, string.ascii_uppercase + string.digits),
    ("da" + "pi", 32, _HEX),
    ("sn" + "trys_", 60, _MIXED),
    ("N" + "RII-", 32, _MIXED),
    ("AK" + "Cp8", 68, _MIXED),
    ("CLO" + "JARS_", 60, string.ascii_lowercase + string.digits),
    ("v1" + ".0-" + "0a1b2c3d" * 3 + "-", 146, _HEX),
    ("nf" + "p_", 36, _MIXED),
    ("sha" + "256~", 43, _MIXED),
    ("access-" + "production-0b1c2d3e-0000-4000-8000-", 12, _HEX),
    ("tskey" + "-auth-kAbCdE1CNTRL-", 32, _MIXED),
    ("bk" + "ua_", 40, _HEX),
    ("sg" + "p_", 40, _HEX),
    ("ph" + "x_", 43, _MIXED),
    ("nv" + "api-", 64, _MIXED),
    ("rz" + "p_live_", 14, _MIXED),
    ("re" + "_AbCdEfG1_", 24, _MIXED),
    ("na" + "pi_", 64, string.ascii_lowercase + string.digits),
    ("pc" + "sk_", 60, _MIXED),
    ("Fwo" + "GZXIvYXdzE", 200, _MIXED),
    ("IQ" + "oJb3JpZ2luX2Vj", 200, _MIXED),
    ("v4" + ".public.", 120, _MIXED),
    ("sl" + ".u.", 130, _MIXED),
    ("bot" + "1234567890:AA", 33, _MIXED),
    ("sd" + "k-0b1c2d3e-0000-4000-8000-", 12, _HEX),
    ("$2" + "b$12$", 53, _MIXED),
    ("$argon" + "2id$v=19$m=65536,t=3,p=4$", 60, _MIXED),
    ("pbkdf2" + "_sha256$600000$", 60, _MIXED),
]


def _tokens() -> Iterator[Leak]:
    for prefix, size, alphabet in _TOKENS:
        token = prefix + _drawn(size, alphabet)
        if prefix.endswith("G."):
            token += "." + _drawn(43)
        yield Leak("token", token, token)
        yield Leak("token", f"login with {token} was refused", token)
        yield Leak("token", f'{{"note": "{token}", "n": 1}}', token)
    for number in range(8):
        claims = base64.urlsafe_b64encode(b'{"sub":"%d","name":"fake"}' % number).decode().rstrip("=")
        jwt = f"ey{'JhbGciOiJIUzI1NiJ9'}.{claims}.{_drawn(43)}"
        yield Leak("jwt", f"token was {jwt}", jwt)
        yield Leak("jwt", jwt, jwt)


def _credentials() -> Iterator[Leak]:
    for _ in range(6):
        opaque = _drawn(30)
        yield Leak("bearer", f"sent Authorization: Bearer {opaque}", opaque)
        yield Leak("bearer", f"got Bearer {opaque} from peer", opaque)
        pair = base64.b64encode(f"joe:{_drawn(12)}".encode()).decode()
        yield Leak("basic", f"Authorization: Basic {pair}", pair)
        yield Leak("basic", f"replied to basic {pair}", pair)


def _keys() -> Iterator[Leak]:
    for kind in ("RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED "):
        body = "\n".join(_drawn(64) for _ in range(3))
        name = f"{kind}PRIVATE {'KEY'}"
        yield Leak("private_key", f"read -----BEGIN {name}-----\n{body}\n-----END {name}----- of file", body)
        yield Leak("private_key", f"-----BEGIN {name}-----\n{body}", body)
        flat = body.replace("\n", "\\n")
        yield Leak("private_key", f'{{"k": "-----BEGIN {name}-----\\n{flat}\\n-----END {name}-----"}}', flat)


_NOTATIONS = [
    "{name}={value}",
    "{name}: {value}",
    "{name} = '{value}'",
    '"{name}": "{value}"',
    "'{name}': '{value}'",
    '{{\\"{name}\\":\\"{value}\\"}}',
    "<{name}>{value}</{name}>",
    "--{name} {value}",
    "--{name}={value}",
    "a=1&{name}={value}&b=2",
    "{name}%3D{value}",
    "{name} => '{value}'",
    "Server=db;{name}={value};Encrypt=yes",
    "export {name}={value}",
]
_NAMES = [
    *("password", "passwd", "pwd", "DB_PASSWORD", "userPassword", "client_secret", "api_key", "apiKey", "X-Api-Key"),
    *(
        "access_token",
        "refresh_token",
        "auth_token",
        "secret_key",
        "aws_secret_access_key",
        "private_key",
        "csrf_token",
    ),
]


def _pairs() -> Iterator[Leak]:
    for number, name in enumerate(_NAMES):
        for turn, notation in enumerate(_NOTATIONS):
            if (number + turn) % 2 == 0:
                value = _drawn(16)
                yield Leak("pair", f"seen {notation.format(name=name, value=value)} here", value)


def _addresses() -> Iterator[Leak]:
    for sign in ("%2540", "\\u0040", "&#64;", "\\x40"):
        user = f"mail.{_drawn(8).lower()}"
        yield Leak("email", f"no such user {user}{sign}customer.example.com!", user)
    for number in range(12):
        user = f"mail.{_drawn(8).lower()}"
        address = f"{user}@customer{number}.example.com"
        yield Leak("email", f"no such user {address}!", address)
        yield Leak("email", f"to={address.replace('@', '%40')}&page=1", user)
    for scheme in ("https", "postgresql", "mysql+pymysql", "mongodb+srv", "redis", "amqp", "ftp"):
        word = _drawn(14)
        yield Leak("userinfo", f"cannot reach {scheme}://joe:{word}@db.example.com:5432/shop", word)
        yield Leak("userinfo", f'dsn "{scheme}://:{word}@cache.example.com/0"', word)
    for label in (
        "phone: {}",
        "mobile={}",
        '"phone_number": "{}"',
        "tel:{}",
        "fax {}",
        "WhatsApp: {}",
        "contact_number: {}",
    ):
        number_shown = f"+49 170 {_drawn(7, '23456789')}" if ":" in label else f"0170{_drawn(7, '23456789')}"
        yield Leak("phone", f"called {label.format(number_shown)} twice", number_shown)


_APART = [
    *(
        "password: |\n  {value}",
        "db:\n  - password: >-\n      {value}\n    user: joe",
        "token: |\\n  {value}\\nuser: joe",
    ),
    *("('password', '{value}')", "[('api_key', '{value}'), ('page', '1')]", "(b'x-api-key', b'{value}')"),
    *("{{'name': 'password', 'value': '{value}'}}", '{{"key": "api_key", "value": "{value}"}}'),
    *("- name: DB_PASSWORD\n  value: {value}", '<input name="password" value="{value}">'),
    *(
        "password\t{value}",
        "passwort {value}",
        "password   {value}",
        "PWD={{{value}}};Encrypt=yes",
        "DSN=x;Pwd={{{value};}}}}}}",
    ),
    *(
        "pw={value}",
        "Password for joe: {value}",
        "password of user joe = {value}",
    ),
    *(
        "mot de passe : {value}",
        "passwort: {value}",
    ),
    *("curl -u joe:{value} https://shop.example", "curl -s --user 'joe:{value}' https://shop.example"),
    *("['curl', '-u', 'joe:{value}']", "curl -ujoe:{value} shop.example", "curl --proxy-user joe:{value} shop.example"),
    *("mysql -u joe -p{value} shop", "mysqldump -p{value} shop", "sshpass -p{value} ssh shop"),
    'authorization: Digest username="joe", uri="/", response="{value}"',
    'Authorization: OAuth oauth_token="a", oauth_signature="{value}"',
    # Behind a scheme that nobody knows, and in what shows headers and cookies
    *("authorization=SSWS {value}", "HTTP_AUTHORIZATION=NTLM {value}", "authorization = Api-Token {value}, x=1"),
    *("<SimpleCookie: sessionid='{value}'>", "<RequestsCookieJar[<Cookie sid={value} for x/>]>"),
    # In escapes
    *("Authorization=Bearer%20{value}", "%22password%22%3A%22{value}%22", "%2522token%2522%253A%2522{value}%2522"),
    *("\\u0022api_key\\u0022:\\u0022{value}\\u0022", "&quot;password&quot;:&quot;{value}&quot;"),
    *("password\\u003d{value}", "user%5Bpassword%5D={value}", "http:\\/\\/joe:{value}@h\\/x"),
    *("http%3A%2F%2Fjoe%3A{value}%40h", "Bearer%2520{value}{value}", "token&#61;{value}"),
    # In escapes of escapes, in letters of UTF-8, and with `+` for a space
    *(
        "password%E2%80%8B%3D{value}",
        "pass\\xadword={value}",
        "Bearer%5Cu0020{value}",
        "%D0%BF%D0%B0%D1%80%D0%BE%D0%BB%D1%8C%3D{value}",
    ),
    *(
        '\\\\\\\\"token\\\\\\\\": \\\\\\\\"{value}\\\\\\\\"',
        "/x?sort='Authorization':+'Splunk+{value}'",
        "token: !!str {value}",
    ),
    # In forms, tables, calls, comparisons and markup
    'name="password"\r\n\r\n{value}\r\n--boundary',
    'name="api_key"\\r\\nContent-Type: text/plain\\r\\n\\r\\n{value}\\r\\n--boundary',
    *('{{"key":"token","type":"string","value":"{value}"}}', '{{"value": "{value}", "name": "password"}}'),
    *("| password | {value} |", "|client_secret|{value}|", "password -> {value}", "[password] {value}"),
    *("set_password('{value}')", "password=SecretStr('{value}')", "token=Token(value='{value}')"),
    *("assert password != '{value}'", "set password to {value}", "password[0]={value}"),
    *('<password xsi:type="xsd:string">{value}</password>', "SET PASSWORD FOR x = '{value}'"),
    # In commands
    *("aws configure set aws_secret_access_key {value}", "setx client_secret {value}", "keytool -storepass {value}"),
    *("redis-cli -a {value} ping", "zip -P {value} a.zip", "http -a joe:{value} x", "vault login {value}"),
    *("sqlplus scott/{value}@orcl", "jdbc:oracle:thin:scott/{value}@h:1521:x", "ssh joe:{value}@h"),
    # Under names that begin like others
    *("otp_secret='{value}'", "session_password={value}", "psk={value}", "security_answer: {value}", "senha={value}"),
    *("client_assertion={value}", "grant_type=authorization_code&code={value}&x=1", "device_code={value}"),
    '{{"kty":"oct","k":"{value}{value}"}}',
]


_BEYOND_ASCII = (
    "contraseña={}",
    "\uff50\uff41\uff53\uff53word={}",
    "pass\u200bword: {}",
    "password\u2060={}",
    "пароль={}",
    "password \u2192 {}",
)


def beyond_ascii() -> list[Leak]:
    """Those whose names are not ASCII. Headers cannot carry them."""
    return [Leak("beyond", f"seen {each.format('hunter31x')} here", "hunter31x") for each in _BEYOND_ASCII]


def _values_apart() -> Iterator[Leak]:
    for notation in _APART:
        value = f"{_drawn(6)}7{_drawn(6)}"
        yield Leak("apart", f"seen\n{notation.format(value=value)}\nhere", value)


def _codes() -> Iterator[Leak]:
    for label in (
        "otp {}",
        "OTP is {}",
        "verification code={}",
        "one-time code: {}",
        "one-time password: {}",
        "otp_code={}",
        "mfa_code={}",
        "Your login code is {}.",
        "{} is your verification code",
    ):
        code = _drawn(8, string.digits)
        yield Leak("otp", f"sent {label.format(code)} to the phone", code)


def _cards_within() -> Iterator[Leak]:
    for sign in "._":
        shown = _grouped(_with_luhn("4", 16), sign)
        yield Leak("card", shown, shown)
        yield Leak("card", f"charged {shown} twice", shown)
    for start, size in (("4", 16), ("52", 16), ("2300", 16), ("37", 15), ("6011", 16)):
        number = _with_luhn(start, size)
        yield Leak("card", f"order of xx{number}xx", number)
        yield Leak("card", f"card{number}", number)
    number = _with_luhn("4", 16)
    yield Leak("card", f"track %B{number}^DOE/JOE^2912101", number)
    for sign in ("%2520", "%20"):
        shown = _grouped(number, sign)
        yield Leak("card", f"pan={shown}", shown)
    yield Leak("ssn", "social_security_number=536-22-8145", "536-22-8145")


def leaks() -> list[Leak]:
    """All of them, of every kind."""
    parts = (_cards, _accounts, _tokens, _credentials, _keys, _pairs, _addresses, _values_apart, _codes, _cards_within)
    return [leak for part in parts for leak in part()]

"""Ordinary values that must leave as they are: 2,000 lines as services log them, and values of attributes."""

from __future__ import annotations

import hashlib
import random
import uuid

_random = random.Random(7)
_TEMPLATES = [
    '{ip} - - [{day}/Nov/2026:{time} +0000] "GET /orders/{number}?page={small} HTTP/1.1" 200 {number} "-" "curl/8"',
    "INFO  [{thread}] c.e.shop.OrderService - order {order} placed, {small} items, total {price} EUR",
    '{iso} level=info msg="request done" route=/items/{{id}} status=200 duration={small}.{small}ms trace_id={trace}',
    "{iso} WARNING storefront.cart: stock of SKU-{number} is low ({small} left)",
    "Traceback (most recent call last):",
    '  File "/srv/app/storefront/checkout.py", line {small}, in charge',
    "    response = client.post(url, json=payload, timeout={small})",
    "    password = request.form.get(name)",
    "    if not check_password_hash(user.password_hash, password):",
    "    token = self.tokens.get(key)",
    "    return jwt.decode(token, settings.SECRET_KEY, algorithms=algorithms)",
    "KeyError: 'shipping_address'",
    "ValueError: invalid literal for int() with base 10: 'abc'",
    'psycopg.errors.UniqueViolation: duplicate key value violates unique constraint "orders_pkey"',
    "sqlalchemy.exc.OperationalError: (sqlite3.OperationalError) no such table: orders",
    "httpx.ReadTimeout: The read operation timed out after {small} seconds",
    "ConnectionRefusedError: [Errno 111] Connection refused",
    "worker {small} (pid {number}) booted in {price} s",
    "celery@worker-{small} ready. concurrency: {small} (prefork)",
    "Task orders.tasks.ship[{uuid}] succeeded in {price}s: None",
    "commit {sha} by build {number}: version {version} released",
    "image registry.example.com/shop/api:{version}@sha256:{sha256}",
    "pod storefront-{hex10}-{hex5} scheduled on node ip-10-0-{small}-{small}.eu-central-1.compute.internal",
    "GET /v1/customers/{uuid}/invoices?limit={small}&offset={number} -> 200 in {small} ms",
    "cache miss for key product:{number}:prices, loaded in {small} ms",
    "SELECT id, name FROM customers WHERE id = %(id)s -- {small} rows",
    "payment {uuid} authorised: amount={price} currency=EUR attempt={small}",
    "token expired, asking for a new one",
    "password reset requested for user {number}",
    "the session is valid for {small} minutes",
    "basic auth is disabled; bearer tokens are required",
    "CSRF verification failed. Request aborted.",
    "max_tokens={number} prompt_tokens={small} completion_tokens={small} model=small-{version}",
    "authentication of user {number} took {small} ms, method=oauth2 token_type=bearer",
    "tracking number {digits12} handed to the carrier",
    "invoice {digits16} has {small} positions",
    "epoch {epoch} nanos {nanos}",
    "memory 0x7f{hex10}{hex2} size {number} bytes, ratio 0.{digits16}",
    "loaded configuration from /etc/shop/config.d/{small}-defaults.yaml",
    "disk usage of /var/lib/postgresql/data is {small} %",
    "user-agent Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    'etag W/"{hex10}{hex10}" matched, 304',
    "locale=de_DE timezone=Europe/Berlin date={date}",
    "coordinates 52.{digits6}, 13.{digits6}; distance {price} km",
    "retry {small} of 5 in {small}.5 s: 503 Service Unavailable",
    "deprecated: use `pathlib.Path` in place of `os.path` ({small} uses)",
    "span exported: service.name=storefront, span_id={span}",
    "queue depth {small}, oldest {small} s, keys: 3, pass: {small}, fail: 0",
    "The quick brown fox ordered {small} lamps for {price} EUR on {date}",
    "fields = ['password', 'username', 'email']; loc=('body', 'password')",
    "{{'name': 'token', 'type': 'string', 'required': True}} of {{'name': 'session', 'value': {small}}}",
    'FATAL: password authentication failed for user "shop"; password for user shop: incorrect',
    "docker run -u 1000:1000 shop && curl -v https://api.example.com:8443/items/{number} -o items:{small}",
    "mysql --protocol=tcp -h db -P 3306 --port {small}; PWD={{pwd}}; cwd=/srv/app{small}",
    "security group {digits6} of otp-service-{small}, verification took {number} ms",
    "blob 4{hex10}{digits6} file_{digits16}.png img{digits16} 0x{digits16} IMG_20261126_{digits6}123.jpg",
    "naïve café №{number}: \uff34oken is missing, «key» — {small}",
    "TLSv1.3 TLS_AES_256_GCM_SHA384 with api.example.com:443",
]


def _digits(size: int) -> str:
    return "".join(_random.choice("0123456789") for _ in range(size))


def _hex(size: int) -> str:
    return "".join(_random.choice("0123456789abcdef") for _ in range(size))


def without_luhn(size: int) -> str:
    """Digits that are no card's: their last one is wrong."""
    digits = "4" + _digits(size - 2)
    total = sum(
        sum(divmod(int(digit) * (2 if index % 2 == 0 else 1), 10)) for index, digit in enumerate(reversed(digits))
    )
    return digits + str((-total + _random.randint(1, 9)) % 10)


def _values() -> dict[str, object]:
    drawn = _random.randint
    return {
        "ip": f"10.{drawn(0, 255)}.{drawn(0, 255)}.{drawn(1, 254)}",
        "day": f"{drawn(1, 28):02}",
        "time": f"{drawn(0, 23):02}:{drawn(0, 59):02}:{drawn(0, 59):02}",
        "iso": f"2026-11-{drawn(1, 28):02}T{drawn(0, 23):02}:{drawn(0, 59):02}:{drawn(0, 59):02}.{drawn(0, 999):03}Z",
        "date": f"2026-{drawn(1, 12):02}-{drawn(1, 28):02}",
        "number": drawn(100, 999_999),
        "small": drawn(1, 99),
        "order": f"A-{drawn(10_000, 99_999)}",
        "price": f"{drawn(1, 999)}.{drawn(0, 99):02}",
        "thread": f"http-nio-8080-exec-{drawn(1, 99)}",
        "version": f"{drawn(0, 9)}.{drawn(0, 30)}.{drawn(0, 30)}",
        "uuid": uuid.UUID(int=_random.getrandbits(128), version=4),
        "sha": hashlib.sha1(_digits(9).encode()).hexdigest(),
        "sha256": hashlib.sha256(_digits(9).encode()).hexdigest(),
        "trace": _hex(32),
        "span": _hex(16),
        "hex2": _hex(2),
        "hex5": _hex(5),
        "hex10": _hex(10),
        "digits6": _digits(6),
        "digits12": _digits(12),
        "digits16": without_luhn(16),
        "epoch": drawn(1_700_000_000, 1_800_000_000),
        "nanos": drawn(1_700_000_000_000_000_000, 1_800_000_000_000_000_000),
    }


def lines(count: int = 2000) -> list[str]:
    """Lines of logs."""
    return [_TEMPLATES[number % len(_TEMPLATES)].format(**_values()) for number in range(count)]


def values(count: int = 1000) -> list[str]:
    """Order numbers, UUIDs, numbers that no card has, versions, hashes, prices, dates, and paths."""
    shapes = [
        *("{order}", "{uuid}", "{digits16}", "{version}", "{sha}", "{sha256}", "{price}", "{date}", "{iso}", "{ip}"),
        *("{trace}", "/srv/app/storefront/{small}/checkout.py", "orders/{number}/items", "storefront-{hex10}-{hex5}"),
        *("v{version}-rc.{small}", "{number}", "SKU-{number}", "EUR {price}", "eu-central-{small}", 'W/"{hex10}"'),
    ]
    return [shapes[number % len(shapes)].format(**_values()) for number in range(count)]

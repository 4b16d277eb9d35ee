"""Addresses of people, and names and passwords in addresses of services."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tracemw.redaction.places import Stretch

_LONGEST_LOCAL: Final = 64
_DOMAIN: Final = re.compile(r"(?:@|%40)(?:[^\W_](?:\w|-){0,62}\.){1,8}[^\W\d_]{2,24}(?![\w-])")
_IN_LOCAL: Final = frozenset("._%+-'=&~")
_NO_PEOPLE: Final = frozenset({"git", "hg", "celery"})
"""What stands before the `@` of addresses that are those of repositories and workers."""

_USERINFO: Final = re.compile(r"(?<=//)[^\s/?#\"'<>@]{0,256}+(?:@[^\s/?#\"'<>@]{0,256}+)*(?=@)")
_SLASHED: Final = re.compile(r"(?<=//)[^\s/?#:@\"'<>]{0,64}+:(?![0-9]{1,5}(?:[/?#\s]|\Z))[^\s@\"'<>]{1,128}+(?=@)")
_ORACLE: Final = re.compile(
    r"(?:\boracle\S{0,20}//|:thin:|(?:\b|(?<=\\[nrt]))sqlplus\s)\w{1,64}/(?!/)([^\s@/]{1,128}+)@"
)
_BARE: Final = re.compile(
    r"(?<![\w.:/-])[\w.-]{1,64}:(?=[^\s@:/]{0,64}[0-9])(?=[^\s@:/]{0,64}[A-Za-z])([^\s@:/\"']{6,128}+)@(?!sha[0-9])[\w.-]"
)
_MYSQL: Final = re.compile(r"(?<![\w.-])[\w.-]{1,64}:([^\s@:/]{1,128}+)@(?:tcp|unix|udp)\(")

_CURL: Final = re.compile(
    r"curl\b[^\n|;]{0,200}?[ \"'](?:-u|--user|-U|--proxy-user)[\"']?[,= ]{0,2}[\"']?"
    r"[^\s:\"'=,-][^\s:\"']{0,64}:([^\s\"'$][^\s\"']{0,200})"
)


def emails(text: str) -> Iterator[Stretch]:
    """Find e-mail addresses, also with `%40` for `@`."""
    for sign in ("@", "%40"):
        at = text.find(sign)
        while at >= 0:
            found = _DOMAIN.match(text, at)
            if found is not None:
                start = at
                lowest = max(at - _LONGEST_LOCAL, 0)
                while start > lowest and (text[start - 1].isalnum() or text[start - 1] in _IN_LOCAL):
                    start -= 1
                local = text[start:at]
                # What precedes an address in a query or a pair is no part of it.
                for separator in ("=", "&", "%3D", "%3d", "%22", "%3A", "%3a", "%2C", "%2c"):
                    if separator in local:
                        start = at - len(local.rpartition(separator)[2])
                        local = text[start:at]
                if local.strip("._%+-'") and local.lower() not in _NO_PEOPLE:
                    yield Stretch(start, found.end(), "email")
            at = text.find(sign, at + 1)


def users(text: str) -> Iterator[Stretch]:
    """Find what stands for user and password in URLs and DSNs."""
    for pattern in (_USERINFO, _SLASHED):
        for found in pattern.finditer(text):
            if found.end() > found.start() and found[0] != "REDACTED:REDACTED":
                yield Stretch(found.start(), found.end(), "userinfo")
    for pattern in (_MYSQL, _ORACLE, _BARE):
        for found in pattern.finditer(text):
            yield Stretch(found.start(1), found.end(1), "userinfo")


def users_of_curl(text: str) -> Iterator[Stretch]:
    """Find passwords that a command gives to curl: `curl -u joe:x`."""
    for found in _CURL.finditer(text):
        yield Stretch(found.start(1), found.end(1), "userinfo")

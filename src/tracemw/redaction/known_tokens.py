"""Tokens that can be told by their shape: those of clouds, forges, and other services, JWTs, and private keys.

The shapes are those that the services document, and that gitleaks (https://github.com/gitleaks/gitleaks) looks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tracemw.redaction.places import BEGIN, Place

_SHAPES: Final = (
    # Clouds
    r"(?:AKIA|ASIA|ABIA|ACCA|AIDA|AIPA|AGPA|ANPA|ANVA|AROA)[A-Z0-9]{16,128}+",
    r"ABSK[A-Za-z0-9+/=]{32,}+",
    r"AIza[\w-]{30,}+",
    r"ya29\.[\w-]{16,}+",
    r"1//0[\w-]{24,}+",
    r"GOCSPX-[\w-]{16,}+",
    r"[\w~.]{3}8Q~[\w~.-]{24,}+",
    r"do[oprt]_v1_[0-9a-f]{32,}+",
    r"pscale_(?:tkn|pw|oauth)_[\w.=-]{16,}+",
    r"LTAI[A-Za-z0-9]{16,}+",
    r"fm[12][a-z]?_[\w+/=,-]{40,}+",
    r"HRKU-[\w-]{24,}+",
    # Forges, registries, and the building of software
    r"gh[pousr]_[A-Za-z0-9]{20,}+",
    r"github_pat_\w{20,}+",
    r"gl(?:pat|dt|rt|soat|ptt|ft|cbt|agent|imt|oas|ffct)-[\w.-]{16,}+",
    r"ATBB[A-Za-z0-9]{24,}+",
    r"AT(?:ATT|CTT)3[\w=+/-]{32,}+",
    r"npm_[A-Za-z0-9]{20,}+",
    r"pypi-[\w-]{16,}+",
    r"rubygems_[0-9a-f]{32,}+",
    r"cio[A-Za-z0-9]{32}(?![A-Za-z0-9])",
    r"dckr_(?:pat|oat)_[\w-]{20,}+",
    r"CCIPAT_\w{20,}+",
    r"sq[apu]_[0-9a-f]{40}",
    r"[A-Za-z0-9]{14}\.atlasv1\.[\w=-]{40,}+",
    r"hv[sbr]\.[\w-]{20,}+",
    r"dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.]{32,}+",
    r"pul-[0-9a-f]{32,}+",
    r"AGE-SECRET-KEY-1[A-Z0-9]{40,}+",
    r"ops_eyJ[\w-]{32,}+",
    # Payment
    r"[spr]k_(?:live|test|prod)_[A-Za-z0-9]{10,}+",
    r"whsec_[A-Za-z0-9+/=]{16,}+",
    r"sq0[a-z]{3}-[\w-]{22,}+",
    r"EAAA[\w-]{56,}+",
    r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}",
    r"FLW(?:SEC|PUB)K(?:_TEST)?-[\w-]{12,}+",
    r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{24,}+",
    # Models
    r"sk-(?:proj-|svcacct-|admin-|ant-|or-v1-|lf-)?[\w-]{20,}+",
    r"pk-lf-[\w-]{20,}+",
    r"hf_[A-Za-z0-9]{20,}+",
    r"gsk_[A-Za-z0-9]{20,}+",
    r"xai-[A-Za-z0-9]{20,}+",
    r"pplx-[A-Za-z0-9]{20,}+",
    r"r8_[A-Za-z0-9]{20,}+",
    r"lsv2_(?:pt|sk)_[\w]{20,}+",
    # Talk and mail
    r"xox[abceoprs][.-][A-Za-z0-9.-]{10,}+",
    r"xapp-[A-Za-z0-9-]{16,}+",
    r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/+-]{16,}+",
    r"discord(?:app)?\.com/api/webhooks/[0-9]{8,24}/[\w-]{16,}+",
    r"[\w-]{1,63}\.webhook\.office\.com/webhookb2/[\w@/-]{32,}+",
    r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}+",
    r"[0-9]{8,10}:AA[\w-]{30,}+",
    r"SG\.[\w-]{16,}+\.[\w-]{16,}+",
    r"(?:AC|SK|PK)[0-9a-f]{32}(?![A-Za-z0-9])",
    r"key-[0-9a-z]{32}(?![A-Za-z0-9])",
    r"[0-9a-f]{32}-us[0-9]{1,2}(?![A-Za-z0-9])",
    r"xkeysib-[0-9a-f]{40,}+(?:-\w{16})?",
    # What watches, plans, and others
    r"NRAK-[A-Z0-9]{20,}+",
    r"NRJS-[0-9a-f]{19}",
    r"gl(?:sa|c)_[\w+/=]{20,}+",
    r"sntr[yu]s?_[\w=+/-]{32,}+",
    r"phc_[A-Za-z0-9]{32,}+",
    r"dapi[0-9a-f]{32}(?:-[0-9])?",
    r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}+",
    r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",
    r"fig[dou]_[\w-]{32,}+",
    r"ntn_[A-Za-z0-9]{32,}+",
    r"pat[A-Za-z0-9]{14}\.[0-9a-f]{32,}+",
    r"sbp_[0-9a-f]{40}",
    r"sb_secret_[\w-]{20,}+",
    r"sl\.[\w-]{64,}+",
    r"EAA[A-Za-z0-9]{80,}+",
    r"shippo_(?:live|test)_[0-9a-f]{32,}+",
    r"duffel_(?:live|test)_[\w=-]{32,}+",
    r"EZ[AT]K[A-Za-z0-9]{54}",
    r"secret_[A-Za-z0-9]{40,}+",
    r"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{40,}+",
    r"tfp_[\w]{40,}+",
)
_TOKEN: Final = re.compile(f"{BEGIN}(?:{'|'.join(_SHAPES)})")
_LONG_WORD: Final = re.compile(r"(?<![\w-])(?!(?:[0-9a-f-]++|[a-z]++|[0-9_-]++)(?![\w.:-]))[\w-]{14,}").search
"""Finds a word that is long enough for a part of a token, and is neither hexadecimal alone nor a plain word."""
_HEXADECIMAL: Final = re.compile(r"(?<![\w-])[0-9a-f]{32}-us[0-9]|(?<![\w-])[0-9a-f]{32}\.").search

_JWT: Final = re.compile(BEGIN + r"eyJ[\w-]{7,}+(?:\.[\w-]*+){0,4}|" + BEGIN + r"eyJ[A-Za-z0-9+/]{24,}+={0,2}")

_OF_BLOCK: Final = "PRIVATE KEY"
_LONGEST_HEAD: Final = 64
_IN_BLOCK: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ \r\n\t"


def tokens(text: str) -> Iterator[Place]:
    """Find tokens of known shapes."""
    if _LONG_WORD(text) is None and _HEXADECIMAL(text) is None:
        return
    for found in _TOKEN.finditer(text):
        yield Place(found.start(), found.end(), "token")


def jwts(text: str) -> Iterator[Place]:
    """Find JSON Web Tokens, also the beginning of one that was cut off."""
    for found in _JWT.finditer(text):
        yield Place(found.start(), found.end(), "jwt")


def private_keys(text: str) -> Iterator[Place]:
    """Find blocks of private keys (RFC 7468, OpenPGP), also those that lack their beginning or their end."""
    at = 0
    while (begin := text.find("-----BEGIN", at)) >= 0:
        at = begin + 10
        if _OF_BLOCK not in text[begin : begin + _LONGEST_HEAD]:
            continue
        end = text.find("-----END", at)
        if end >= 0:
            end = text.find("-----", end + 8)
        at = len(text) if end < 0 else end + 5
        yield Place(begin, at, "private_key")
    if (end := text.find("-----END", at)) >= 0 and _OF_BLOCK in text[end : end + _LONGEST_HEAD]:
        yield Place(at + len(text[at:end].rstrip(_IN_BLOCK)), end, "private_key")

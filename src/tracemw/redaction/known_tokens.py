"""Tokens that can be told by their shape: those of clouds, forges, and other services, JWTs, and private keys.

The shapes are those that the services document, and that gitleaks (https://github.com/gitleaks/gitleaks) looks for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tracemw.redaction.places import BEGIN, Stretch

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
    r"FwoGZXIvYXdz[A-Za-z0-9+/=]{40,}+",
    r"IQoJb3JpZ2lu[A-Za-z0-9+/=]{40,}+",
    r"bedrock-api-key-[A-Za-z0-9+/=]{20,}+",
    r"fo1_[\w-]{40,}+",
    r"tk-us-[\w-]{40,}+",
    r"v1\.0-[0-9a-f]{24}-[0-9a-f]{100,}+",
    r"cf[ua]t_[A-Za-z0-9_-]{36,}+",
    r"nfp_[A-Za-z0-9]{30,}+",
    r"vc[acikpr]_[A-Za-z0-9]{24,}+",
    r"t1\.[\w-]{40,}+\.[\w-]{80,}+",
    r"AQVN[\w-]{35,}+",
    r"YC[\w-]{38}(?![\w-])",
    r"ddp_[A-Za-z0-9]{36}",
    r"napi_[a-z0-9]{40,}+",
    r"sha256~[\w-]{40,}+",
    # Forges, registries, and the building of software
    r"gh[pousr]_[A-Za-z0-9]{20,}+",
    r"github_pat_\w{20,}+",
    r"gl(?:pat|dt|rt|soat|ptt|ft|cbt|agent|imt|oas|ffct)-[\w.-]{16,}+",
    r"ATBB[A-Za-z0-9]{24,}+",
    r"AT(?:ATT|CTT)3[\w=+/-]{32,}+",
    r"npm_[A-Za-z0-9]{20,}+",
    r"oy2[a-z0-9]{43}(?![a-z0-9])",
    r"AKCp[A-Za-z0-9]{68,}+",
    r"cmVmdGtuOj[A-Za-z0-9]{50,}+",
    r"CLOJARS_[a-z0-9]{60}",
    r"cargo_[A-Za-z0-9]{32}(?![A-Za-z0-9])",
    r"GR1348941[\w-]{20,}+",
    r"bk[a-z]{2}_[A-Za-z0-9]{40}",
    r"sgp_(?:[0-9a-f]{16}_|local_)?[0-9a-f]{40}",
    r"API-[A-Z0-9]{25,32}(?![\w-])",
    r"snyk_[a-z]{2,4}\.\w{8}\.[\w.-]{32,}+",
    r"pat\.[\w-]{22}\.[0-9a-f]{24}\.\w{20}",
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
    r"pnu_[a-z0-9]{36}",
    r"tskey-[a-z]{3,9}-[A-Za-z0-9]{6,}+(?:-[A-Za-z0-9]{8,}+)?",
    r"dnkey-[a-z0-9=_-]{40,}+",
    r"sm_[ap]at_[A-Za-z0-9]{16,}+",
    r"endr\+[A-Za-z0-9-]{16,}+",
    r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}",
    r"s\.(?=[A-Za-z]*[0-9])[A-Za-z0-9]{24}(?![A-Za-z0-9.])",
    r"AGE-SECRET-KEY-(?:PQ-)?1[A-Z0-9]{40,}+",
    r"ops_eyJ[\w-]{32,}+",
    # Payment
    r"[spr]k_(?:live|test|prod)_[A-Za-z0-9]{10,}+",
    r"whsec_[A-Za-z0-9+/=]{16,}+",
    r"rzp_(?:live|test)_[A-Za-z0-9]{14,}+",
    r"(?:live|test)_[0-9a-f]{35}(?!\w)",
    r"live_(?=[\w-]{0,39}[A-Z])(?=[\w-]{0,39}[0-9])[\w-]{40}(?![\w-])",
    r"access-(?:production|development|sandbox)-[0-9a-f-]{36}",
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
    r"nvapi-[\w-]{40,}+",
    r"pcsk_\w{40,}+",
    r"jina_[A-Za-z0-9]{40,}+",
    r"tvly-(?:dev-|prod-)?[A-Za-z0-9]{24,}+",
    r"tgp_v1_[\w-]{40,}+",
    r"fw_[A-Za-z0-9]{24}(?![A-Za-z0-9])",
    r"e2b_[0-9a-f]{40}",
    r"fc-[0-9a-f]{32}(?![0-9a-f])",
    r"pa-(?=[A-Za-z_-]*[0-9])[\w-]{43}(?![\w-])",
    r"api_org_[A-Za-z]{34}",
    r"sk_(?=[\w-]{0,28}[A-Z])(?=[\w-]{0,28}[0-9])[\w-]{29}(?![\w-])",
    r"sk_[0-9a-f]{48}",
    r"p8e-[A-Za-z0-9]{32}(?![A-Za-z0-9])",
    r"pplx-[A-Za-z0-9]{20,}+",
    r"r8_[A-Za-z0-9]{20,}+",
    r"lsv2_(?:pt|sk)_[\w]{20,}+",
    # Talk and mail
    r"xox[abceoprs][.-][A-Za-z0-9.-]{10,}+",
    r"xapp-[A-Za-z0-9-]{16,}+",
    r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/+-]{16,}+",
    r"hooks\.zapier\.com/hooks/catch/[\w/-]{8,}+",
    r"discord(?:app)?\.com/api/webhooks/[0-9]{8,24}/[\w-]{16,}+",
    r"[\w-]{1,63}\.webhook\.office\.com/webhookb2/[\w@/-]{32,}+",
    r"[MNO][\w-]{23,27}\.[\w-]{6}\.[\w-]{27,}+",
    r"(?:bot)?[0-9]{8,10}:AA[\w-]{30,}+",
    r"SG\.[\w-]{16,}+\.[\w-]{16,}+",
    r"pubkey-[0-9a-z]{32}(?![A-Za-z0-9])",
    r"re_[A-Za-z0-9]{6,10}_[A-Za-z0-9]{20,28}(?![A-Za-z0-9])",
    r"dG9rO[A-Za-z0-9+/]{40,}+={0,2}",
    r"(?:AC|SK|PK)[0-9a-f]{32}(?![A-Za-z0-9])",
    r"key-[0-9a-z]{32}(?![A-Za-z0-9])",
    r"[0-9a-f]{32}-us[0-9]{1,2}(?![A-Za-z0-9])",
    r"xkeysib-[0-9a-f]{40,}+(?:-\w{16})?",
    # What watches, plans, and others
    r"NRAK-[A-Z0-9]{20,}+",
    r"NRJS-[0-9a-f]{19}",
    r"NRI[IQ]-[\w-]{32}",
    r"[0-9a-f]{36}FFFFNRAL",
    r"phx_[A-Za-z0-9]{32,}+",
    r"eyJrIjoi[A-Za-z0-9+/=]{40,}+",
    r"\w{6}_\w{29}_mmk(?!\w)",
    r"gl(?:sa|c)_[\w+/=]{20,}+",
    r"sntr[yu]s?_[\w=+/-]{32,}+",
    r"phc_[A-Za-z0-9]{32,}+",
    r"dapi[0-9a-f]{32}(?:-[0-9])?",
    r"lin_(?:api|oauth)_[A-Za-z0-9]{32,}+",
    r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}",
    r"CFPAT-[\w-]{40,}+",
    r"rdme_[a-z0-9]{60,}+",
    r"ico-[A-Za-z0-9]{32}(?![A-Za-z0-9])",
    r"s-s4t2(?:ud|af)-[0-9a-f]{64}",
    r"fio-u-[\w-]{60,}+",
    r"unkey_[A-Za-z0-9]{20,}+",
    r"tr_(?:dev|prod|stg|preview)_[A-Za-z0-9]{20,}+",
    r"(?:sdk|mob)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
    r"[ps]k\.[A-Za-z0-9]{40,}+\.[\w-]{20,}+",
    r"v[1-4]\.(?:local|public)\.[\w-]{40,}+(?:\.[\w-]++)?",
    r"[0-9]{15,16}\|[\w-]{27}(?![\w-])",
    r"2[A-Za-z0-9]{26}_[A-Za-z0-9]{19,22}(?![A-Za-z0-9])",
    r"fig[dou]_[\w-]{32,}+",
    r"ntn_[A-Za-z0-9]{32,}+",
    r"pat[A-Za-z0-9]{14}\.[0-9a-f]{32,}+",
    r"sbp_[0-9a-f]{40}",
    r"sb_secret_[\w-]{20,}+",
    r"sl\.(?:u\.)?[\w-]{64,}+",
    r"EAA[A-Za-z0-9]{80,}+",
    r"shippo_(?:live|test)_[0-9a-f]{32,}+",
    r"duffel_(?:live|test)_[\w=-]{32,}+",
    r"EZ[AT]K[A-Za-z0-9]{54}",
    r"secret_[A-Za-z0-9]{40,}+",
    r"dt0[a-z][0-9]{2}\.[A-Z0-9]{24}\.[A-Z0-9]{40,}+",
    r"tfp_[\w-]{40,}+",
    # Hashes of passwords
    r"\$2[abxy]?\$[0-9]{2}\$[./A-Za-z0-9]{53}",
    r"\$argon2(?:id|i|d)\$[\w=,./+$-]{40,}+",
    r"\$(?:[156]|apr1|y)\$[\w./$=-]{22,}+",
    r"pbkdf2[_-]sha[0-9]{1,3}\$[0-9]+\$[^\s\"'\\]{40,}+",
)


def _by_letter(shapes: Iterable[str]) -> Iterator[str]:
    """Yield shapes, those that begin with the same letter as one: so most of them are passed over at once."""
    groups: dict[str, list[str]] = {}
    for shape in shapes:
        letter = shape[0] if shape[0].isalpha() and shape[1] not in "?*+{" else ""
        groups.setdefault(letter, []).append(shape[len(letter) :])
    for letter, rests in groups.items():
        yield f"{letter}(?:{'|'.join(rests)})"


_TOKEN: Final = re.compile(f"{BEGIN}(?:{'|'.join(_by_letter(_SHAPES))})")
_LONG_WORD: Final = re.compile(r"(?<![\w-])(?!(?:[0-9a-f-]++|[a-z]++|[0-9_-]++)(?![\w.:-]))[\w-]{14,}").search
"""Finds a word that is long enough for a part of a token, and is neither hexadecimal alone nor a plain word."""
_OTHER: Final = re.compile(
    r"(?<![\w-])(?:[0-9a-f]{32}(?:-us[0-9]|\.)|v1\.0-[0-9a-f]{24}-|fc-[0-9a-f]{32}|hooks\.zapier\.com/)"
).search
"""Finds where tokens begin that have no such word."""

_JWT: Final = re.compile(BEGIN + r"eyJ[\w-]{7,}+(?:\.[\w-]*+){0,4}|" + BEGIN + r"eyJ[A-Za-z0-9+/]{24,}+={0,2}")

_SECRET_OF_JWK: Final = re.compile(r"[\"'](?:d|k|p|q|dp|dq|qi)\\{0,3}[\"']\s?:\s?\\{0,3}[\"'](?P<value>[\w-]{20,}+)")
_OF_BLOCK: Final = "PRIVATE KEY"
_LONGEST_HEAD: Final = 64
_IN_BLOCK: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ \r\n\t"


def tokens(text: str) -> Iterator[Stretch]:
    """Find tokens of known shapes."""
    if _LONG_WORD(text) is None and _OTHER(text) is None:
        return
    for found in _TOKEN.finditer(text):
        yield Stretch(found.start(), found.end(), "token")


def secret_jwks(text: str) -> Iterator[Stretch]:
    """Find what is secret of JSON Web Keys (RFC 7518, 6)."""
    for found in _SECRET_OF_JWK.finditer(text):
        yield Stretch(found.start("value"), found.end("value"), "private_key")


def jwts(text: str) -> Iterator[Stretch]:
    """Find JSON Web Tokens, also the beginning of one that was cut off."""
    for found in _JWT.finditer(text):
        yield Stretch(found.start(), found.end(), "jwt")


def private_keys(text: str) -> Iterator[Stretch]:
    """Find blocks of private keys (RFC 7468, OpenPGP), also those that lack their beginning or their end."""
    at = 0
    while (begin := text.find("-----BEGIN", at)) >= 0:
        at = begin + 10
        if _OF_BLOCK not in text[begin : begin + _LONGEST_HEAD].replace("+", " "):
            continue
        end = text.find("-----END", at)
        if end >= 0:
            end = text.find("-----", end + 8)
        at = len(text) if end < 0 else end + 5
        yield Stretch(begin, at, "private_key")
    if (end := text.find("-----END", at)) >= 0 and _OF_BLOCK in text[end : end + _LONGEST_HEAD]:
        yield Stretch(at + len(text[at:end].rstrip(_IN_BLOCK)), end, "private_key")

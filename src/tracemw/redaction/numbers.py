"""Numbers of people and their money: cards, their security codes, bank accounts, phones."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from tracemw.redaction.places import BEGIN, Stretch

# As cards show them: in one piece, in fours, or 4-6-5 and 4-6-4. No more of a number stands before or after.
_CARD: Final = re.compile(
    BEGIN + r"(?<!\d[.,])(?<![-_.]\d)(?:[2-6][0-9]{12,18}"
    r"|[2-6][0-9]{3}(?P<a>[ \-+._]|%20)[0-9]{4}(?P=a)[0-9]{4}(?P=a)[0-9]{1,4}(?:(?P=a)[0-9]{1,3})?"
    r"|[2-6][0-9]{3}(?P<b>[ \-+._]|%20)[0-9]{6}(?P=b)[0-9]{4,5}"
    r"|[2-6][0-9]{7}(?P<c>[ \-+]|%20)[0-9]{8})(?![0-9A-Za-z_]|\.[0-9])"
)
_DOUBLED: Final = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_ISSUERS: Final = re.compile(r"4|5[0-8]|6|3[0-9]|2[2-7]")
"""The first digits of cards for payment (ISO/IEC 7812), as far as networks use them."""

_GLUED: Final = re.compile(
    r"[2-6](?<![0-9].)(?<![0-9][.,].)(?:(?<=4)[0-9]{15}|(?<=5)[1-5][0-9]{14}|(?<=3)[47][0-9]{13}"
    r"|(?<=2)(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}"
    r"|(?<=6)(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12})(?![0-9])"
)
"""Numbers of the largest issuers, in their usual length."""
_WORD_BEFORE: Final = re.compile(r"[A-Za-z_]{1,32}\Z")
_WORD_AFTER: Final = re.compile(r"[A-Za-z_]{0,32}+")
_IN_HEXADECIMAL: Final = re.compile(r"(?:0x)?[0-9a-fA-F]*")

_CODE: Final = re.compile(
    r"(?:(?i:(?:\b|(?<=_))(?:cvv2?|cvc2?|cvn2?|csc))(?![a-z])[^0-9\n]{0,16}?|(?<=[a-z])C[Vv][CcVvNn]2?(?![a-z])[^0-9\n]{0,8}?"
    r"|(?i:\b(?:card[\s_-]?)?(?:security|verification)[\s_-]?(?:code|number|value))(?![A-Za-z])"
    r"(?:[^\w\n]|\b(?:is|was|code|number|value)\b){0,12}?)(?<![0-9])([0-9]{3,4})(?![0-9])"
)
_ONE_TIME: Final = re.compile(
    r"(?i:(?<![A-Za-z0-9])(?:t?otp|(?:one[ _-]?time|verification|security|login|mfa|2fa|sms|auth|access|pin"
    r"|confirmation)[ _-]?(?:pass)?(?:code|pin|word)))(?i:[ _-](?:code|pin|token))?[\"'\\]{0,3}"
    r"(?:\s{0,3}(?:[:=]|=>)\s{0,3}|\s{1,3}(?i:(?:is|was):?\s{1,3})?)[\"'\\]{0,3}"
    r"([0-9]{5,8}|[0-9]{3}[ -][0-9]{3})(?![\w:-]|\.[0-9])"
)
_ONE_TIME_BEFORE: Final = re.compile(
    r"(?<![\w.:-])([0-9]{4,8}|[0-9]{3}[ -][0-9]{3})(?i: is (?:your|the) (?:[\w-]{1,20} ){0,3}?"
    r"(?:(?:one-time |verification |security |login |access |auth\w{0,14} |confirmation |sms |(?:2|m)fa[ _])"
    r"(?:pass)?code|t?otp|pin|passcode)\b)"
)
_SOCIAL: Final = re.compile(
    r"(?i:\bsocial[ _-]?security(?:[ _-]?(?:number|no|nr))?)[\"'\\]{0,3}(?:\s{0,3}(?:[:=]|=>|is)\s{0,3}|\s)[\"'\\]{0,3}"
    r"([0-9]{3}[- ]?[0-9]{2}[- ]?[0-9]{4})(?![\w-])"
)
_TRACK: Final = re.compile(r"(?<![A-Za-z0-9])B([0-9]{13,19})\^")
"""A number of a card on the first track of a magnetic stripe (ISO/IEC 7813)."""
_IBAN: Final = re.compile(
    BEGIN
    + r"[A-Za-z]{2}[0-9]{2}(?:(?:[ \-+]|%20)?[A-Za-z0-9]{4}){2,7}(?:(?:[ \-+]|%20)?[A-Za-z0-9]{1,3}(?![A-Za-z0-9]))?"
)
_SEPARATORS: Final = re.compile(r"%20|[ \-+._]")
_LENGTHS: Final = {
    code: int(length)
    for length, codes in {
        "15": "NO",
        "16": "BE",
        "18": "DK FK FO FI GL NL SD",
        "19": "MK SI",
        "20": "AT BA EE KZ LT LU MN XK",
        "21": "CH HR LI LV",
        "22": "BG BH CR DE GB GE IE ME RS VA",
        "23": "AE GI IL IQ OM SO TL",
        "24": "AD CZ ES MD PK RO SA SE SK TN VG",
        "25": "LY PT ST",
        "26": "IS TR",
        "27": "BI DJ FR GR IT MC MR SM",
        "28": "AL AZ BY CY DO GT HN HU LB NI PL SV",
        "29": "BR EG PS QA UA",
        "30": "JO KW MU YE",
        "31": "MT SC",
        "33": "LC RU",
    }.items()
    for code in codes.split()
}
"""How long an IBAN is, by country (the SWIFT registry of IBANs)."""
_VALUES: Final = str.maketrans({chr(ord("A") + value - 10): str(value) for value in range(10, 36)})
"""What letters count for in the checksum."""

_PHONE: Final = re.compile(
    r"(?i:\b(?:tele)?phone|\bmobile|\bmsisdn|\bcell(?=[ _-]?(?:phone|number|no\b)|\W)|\bfax|\bwhatsapp|\btel"
    r"|\bt[e\u00e9]l[e\u00e9](?:ph|f)on"
    r"|\b(?:contact|caller|callback|recipient|customer|from|to|sms)[ _-]?(?:number|no\b)"
    r"|\bcelular|\bm[o\u00f3]vil|\bhandy(?=nummer|[\"']?\s?[:=]))"
    r"[A-Za-z_ -]{0,16}+\.?[\"'\\\]]{0,4}\s{0,4}(?:[:=]|%3[AaDd]|=>)?\s{0,4}[\"'\\]{0,4}"
    r"((?:\+|%2[Bb]|00)?\(?[0-9](?:[ ()./+-]{0,2}[0-9]){5,16})(?![0-9])"
)


def is_card(digits: str) -> bool:
    """Tell whether digits make the number of a card: by its issuer, and by the last digit (Luhn, ISO/IEC 7812-1)."""
    if _ISSUERS.match(digits) is None or len(set(digits)) < 2:
        return False
    last_first = [int(digit) for digit in reversed(digits)]
    return (sum(last_first[::2]) + sum([_DOUBLED[digit] for digit in last_first[1::2]])) % 10 == 0


def cards(text: str) -> Iterator[Stretch]:
    """Find numbers of payment cards, of 13 to 19 digits."""
    at = 0
    while (found := _CARD.search(text, at)) is not None:
        if is_card(_SEPARATORS.sub("", found[0])):
            yield Stretch(found.start(), found.end(), "card")
            at = found.end()
        else:
            at = found.start() + 1
    for found in _TRACK.finditer(text):
        if is_card(found[1]):
            yield Stretch(found.start(1), found.end(1), "card")
    for found in _GLUED.finditer(text):
        if is_card(found[0]) and _is_glued(text, found.start(), found.end()):
            yield Stretch(found.start(), found.end(), "card")


def _is_glued(text: str, start: int, end: int) -> bool:
    """Tell whether letters stand before or after a number, as in `card4111`, and are none of a hexadecimal number."""
    before, after = _WORD_BEFORE.search(text, max(start - 32, 0), start), _WORD_AFTER.match(text, end)
    letters = ("" if before is None else before[0]) + ("" if after is None else after[0])
    return letters.lower() != "x" and _IN_HEXADECIMAL.fullmatch(letters) is None


def security_codes(text: str) -> Iterator[Stretch]:
    """Find security codes of cards, which only their label tells."""
    for found in _CODE.finditer(text):
        yield Stretch(found.start(1), found.end(1), "cvv")


def one_time_codes(text: str) -> Iterator[Stretch]:
    """Find codes that are good once, such as `otp 123456`, which only their label tells."""
    for pattern in (_ONE_TIME, _ONE_TIME_BEFORE):
        for found in pattern.finditer(text):
            yield Stretch(found.start(1), found.end(1), "otp")


def social_security_numbers(text: str) -> Iterator[Stretch]:
    """Find numbers of the social security of the United States, which only their label tells."""
    for found in _SOCIAL.finditer(text):
        yield Stretch(found.start(1), found.end(1), "pair")


def ibans(text: str) -> Iterator[Stretch]:
    """Find numbers of bank accounts, by country, length and checksum (ISO 13616)."""
    at = 0
    while (found := _IBAN.search(text, at)) is not None:
        at = found.start() + 1
        length = _LENGTHS.get(found[0][:2].upper(), 99)
        account = _SEPARATORS.sub("", found[0]).upper()[:length]
        if len(account) == length and int((account[4:] + account[:4]).translate(_VALUES)) % 97 == 1:
            for each in re.finditer(r"%20|.", found[0]):
                length -= _SEPARATORS.fullmatch(each[0]) is None
                if not length:
                    at = found.start() + each.end()
                    yield Stretch(found.start(), at, "iban")
                    break


def phones(text: str) -> Iterator[Stretch]:
    """Find phone numbers that a label precedes."""
    for found in _PHONE.finditer(text):
        yield Stretch(found.start(1), found.end(1), "phone")

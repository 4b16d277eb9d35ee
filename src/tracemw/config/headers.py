"""The headers of an export: an authorization, the tenant, and whatever else a backend wants to see."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Final

from tracemw.config.environment import of_signal, read
from tracemw.config.parsers import pairs, wrong_secret

_TENANT: Final = "x-scope-orgid"
"""The header by which Grafana's backends tell tenants apart."""

_NAMES: Final = {
    "http/protobuf": (re.compile(r"[!#$%&'*+.^_`|~0-9a-z-]+").fullmatch, "header names that are tokens (RFC 9110)"),
    "grpc": (
        re.compile(r"[0-9a-z_.-]+(?<!-bin)").fullmatch,
        "header names of letters, digits, _, - and . that do not end in -bin",
    ),
}
_VALUES: Final = {
    "http/protobuf": re.compile(r"[\x20-\x7e\t]*").fullmatch,
    "grpc": re.compile(r"[\x20-\x7e]*").fullmatch,
}


def headers_for(signal: str, protocol: str, argument: Mapping[str, str] | None, tenant: str | None) -> dict[str, str]:
    """Return all headers of a signal's exports, by their names in lower case.

    The tenant wins over the argument. The argument wins over the variables.

    Raises:
        ValueError: for a header that the protocol cannot carry. The error shows no value, since values are secrets.
        TypeError: for anything but strings.
    """
    given: object = argument or {}
    if not (isinstance(given, Mapping) and all(isinstance(name, str) for name in given)):
        raise TypeError("headers takes a mapping of names to values, such as {'authorization': 'Bearer ...'}")
    checked = partial(_checked, protocol)

    def listed(name: str, value: str) -> dict[str, str]:
        return checked(name, pairs(name, value, is_secret=True))

    def of_tenant(name: str, value: str) -> dict[str, str]:
        return checked(name, {_TENANT: value})

    headers = of_signal(signal, "HEADERS", None, listed) or {}
    headers |= read("TRACEMW_TENANT", of_tenant) or {}
    headers |= checked("headers", argument or {})
    if tenant is not None:
        headers |= of_tenant("tenant", tenant)
    return headers


def _checked(protocol: str, source: str, headers: Mapping[str, str]) -> dict[str, str]:
    (is_name, accepted), is_value = _NAMES[protocol], _VALUES[protocol]
    checked = {}
    for key, value in headers.items():
        name = key.lower()
        if not is_name(name):  # the error does not show the name, which may be a value in the wrong place
            raise wrong_secret(source, accepted)
        if not isinstance(value, str):
            raise TypeError(f"{source} takes a string as the value of {name}, not {type(value).__name__}")
        if not is_value(value):
            raise wrong_secret(source, f"printable ASCII as the value of the header {name}")
        checked[name] = value
    return checked

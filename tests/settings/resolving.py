"""How tests make a configuration, and read it."""

from __future__ import annotations

from typing import Any

from tracemw.config import Arguments, Config
from tracemw.config.proxy import Proxy


def resolve(**arguments: Any) -> Config:
    """The configuration of a process, as `init` makes it of its arguments and the environment."""
    return Config.resolve(Arguments(**arguments))


def url_of(proxy: Proxy | None) -> str | None:
    return None if proxy is None else proxy.url

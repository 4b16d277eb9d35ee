"""What is known of an engine before anything is executed: its system, database and server."""

from __future__ import annotations

from sqlalchemy.engine import URL, Engine

from tracemw._db.systems import system_name


class EngineFacts:
    """The attributes that all spans of an engine share, and the name of its pool.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        url = engine.url
        self.system = system_name(engine.dialect.name)
        """`db.system.name`."""
        self.attributes: dict[str, str | int] = {"db.system.name": self.system}
        """The attributes of every call to the database."""
        database = url.database or (":memory:" if self.system == "sqlite" else None)
        host, port = _server(url)
        if database is not None:
            self.attributes["db.namespace"] = database
        if host is not None:
            self.attributes["server.address"] = host
        if port is not None:
            self.attributes["server.port"] = port
        server = f"{host}:{port}" if host and port else host
        self.pool_name = "/".join([part for part in (server, database) if part]) or self.system
        """`db.client.connection.pool.name`, as the conventions have it: address, port and namespace."""


def _server(url: URL) -> tuple[str | None, int | None]:
    """Return the host and port of a URL. Drivers of PostgreSQL take them in the query, too: a socket's directory."""
    host, port = url.host, url.port
    given = url.query.get("host")
    if host is None and isinstance(given, str):
        host = given
    given = url.query.get("port")
    if port is None and isinstance(given, str) and given.isdecimal():
        port = int(given)
    return host, port

"""The attributes of a database span by the conventions v1.44, whoever has made the span.

Most instrumentations still write the former names, and some write literals. So this is done to every span on its way
out: names are those of now, the text has no literals, and the summary names the span. Parameters, users and connection
strings go. Of statements that are not SQL, such as those of Redis, only the command stays: their grammar does not tell
keys from values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from tracemw._db.statements import Parameterised, Statements
from tracemw._db.systems import grammar_of, system_name

_NAMES: Final[dict[str, str | None]] = {
    "db.system": "db.system.name",
    "db.statement": "db.query.text",
    "db.operation": "db.operation.name",
    "db.name": "db.namespace",
    "db.sql.table": "db.collection.name",
    "db.mongodb.collection": "db.collection.name",
    "db.cassandra.table": "db.collection.name",
    "db.cosmosdb.container": "db.collection.name",
    "db.redis.database_index": "db.namespace",
    "db.connection_string": None,
    "db.user": None,
    "db.statement.parameters": None,
    "net.transport": None,
    "net.peer.name": "server.address",
    "net.peer.port": "server.port",
}
"""Former names -> the names of the conventions; None for what goes."""

_PARAMETERS: Final = ("db.query.parameter.", "db.operation.parameter.", "db.statement.parameters.")

_MOST_KEYS: Final = 4096
_MOST_SYSTEMS: Final = 64
"""Keys and names of systems that are remembered."""

_COMMAND: Final = re.compile(r"\s*([A-Za-z][\w.]{0,63})(?=\s|\(|\Z)")
_CLEAN_COMMANDS: Final = re.compile(r"(?:[A-Z][A-Z.]{1,31}+(?: \?)*+(?:\n|\Z))++")


class _Keys(dict[str, str | None]):
    """The keys of attributes -> the keys of the conventions; None for what goes."""

    def __missing__(self, key: str) -> str | None:
        new = None if key.startswith(_PARAMETERS) else _NAMES.get(key, key)
        if len(self) >= _MOST_KEYS:
            self.clear()
        self[key] = new
        return new


class _Systems(dict[str, tuple[str, Statements | None]]):
    """The names of systems -> the names of the conventions, and the statements of each that has SQL."""

    def __missing__(self, given: str) -> tuple[str, Statements | None]:
        name = system_name(given)
        grammar = grammar_of(name)
        if len(self) >= _MOST_SYSTEMS:
            self.clear()
        return self.setdefault(given, (name, None if grammar is None else Statements(grammar)))


class Conformed(NamedTuple):
    """A database span, as the conventions have it."""

    name: str
    attributes: dict[str, Any]
    is_trivial: bool
    """Whether the statement only steers a transaction, or only asks whether anybody is there."""


_keys: Final = _Keys()
_systems: Final = _Systems()


def is_of_database(attributes: Mapping[str, Any]) -> bool:
    """Tell whether attributes are those of a database span."""
    return "db.system.name" in attributes or "db.system" in attributes


def conformed(name: str, attributes: Mapping[str, Any]) -> Conformed:
    """Return a database span, as the conventions have it.

    Args:
        name: The span's name.
        attributes: The span's attributes. They stay as they are.
    """
    made: dict[str, Any] = {}
    for key, value in attributes.items():
        new = _keys[key]
        if new is not None:
            made[new] = value
    statements, is_trivial = None, False
    system = made.get("db.system.name")
    if type(system) is str:
        made["db.system.name"], statements = _systems[system]
    namespace = made.get("db.namespace")
    if type(namespace) is int:  # the number of a Redis database
        made["db.namespace"] = str(namespace)
    text = made.get("db.query.text")
    if text is None:
        return Conformed(name, made, False)
    if type(text) is Parameterised:  # a door of ours has made the span, by the conventions
        return Conformed(name, made, False)
    if type(text) is not str:
        del made["db.query.text"]
    elif statements is None:
        made["db.query.text"] = command = _command(text)
        if command is None:
            del made["db.query.text"]
    else:
        statement = statements[text]
        is_trivial = statement.is_trivial
        batch = made.get("db.operation.batch.size")
        of_batch = "BATCH " if type(batch) is int and batch > 1 else ""
        made["db.query.text"] = statement.parameterised
        if statement.operation is not None:  # others write the operation along with the database, or in lower case
            made["db.operation.name"] = of_batch + statement.operation
        if statement.table is not None:
            made.setdefault("db.collection.name", statement.table)
        if statement.summary:
            made["db.query.summary"] = name = of_batch + statement.summary
    return Conformed(name, made, is_trivial)


def shape_of(name: str, attributes: Mapping[str, Any]) -> tuple[str, str | None] | None:
    """Return what like database spans have in common: their names and statements, both without literals.

    None for a span that is not a database's.
    """
    system = attributes.get("db.system.name") or attributes.get("db.system")
    if type(system) is not str:
        return None
    text = attributes.get("db.query.text") or attributes.get("db.statement")
    if type(text) is not str and type(text) is not Parameterised:
        return name, None
    statements = _systems[system][1]
    if statements is None:
        return name, _command(text)
    statement = statements[text]
    of_batch = "BATCH " if "db.operation.batch.size" in attributes else ""
    return of_batch + (statement.summary or name), statement.text


def _command(text: str) -> str | None:
    """Return what may leave of a statement that is not SQL: its command; all of it, if it has placeholders only."""
    if len(text) <= 1024 and _CLEAN_COMMANDS.fullmatch(text):
        return text
    found = _COMMAND.match(text)
    if found is None:
        return None
    return found[1] if found.end() == len(text) else f"{found[1]} ?"

"""What makes two queries or calls alike: their shape, without the values that differ from one to the next."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final

from tracemw.analysis import conventions
from tracemw.analysis.model import CLIENT, CONSUMER, INTERNAL, SERVER, Span

Shape = tuple[Any, ...]
"""Its first item says what it is the shape of: `query`, `call`, or `wrapper` for a span around some."""

_OPENS: Final = frozenset(
    {
        *("connect", "pg-pool.connect", "pg.connect", "mongodb.connect", "redis-connect"),
        *("sql.connector.connect", "pool.acquire"),
    }
)
"""What instrumentations of Python, Node and Go call the wait for a connection, or the opening of one."""

_CONNECTS: Final = frozenset(
    {
        *_OPENS,
        *("pool wait", "ping", "commit", "rollback", "begin"),
        *("sql.conn.ping", "sql.conn.reset_session", "sql.conn.prepare", "sql.conn.begin_tx", "sql.rows"),
        *("sql.tx.commit", "sql.tx.rollback"),
    }
)
"""Names and operations of database spans that are no statement."""

OF_KEYS: Final = frozenset({"redis", "valkey", "memcached", "mongodb", "elasticsearch", "opensearch", "aws.dynamodb"})
"""Databases whose requests name keys and documents, where SQL has literals."""

_LONGEST_CONNECT: Final = max(map(len, _CONNECTS))
_COMMENT: Final = re.compile(r"/\*.*?\*/|--[^\n]*", re.DOTALL)
_LITERAL: Final = re.compile(
    r"""['$%:\d\-NnTtFf](?:  # a set of first characters, which `re` looks for fast
      (?<=')(?:[^']|'')*'
    | (?<=\$)\d+
    | (?<=%)(?:\(\w+\))?[sS]
    | (?<=:)(?<![\w:]:)\w+
    | (?<=-)(?<![\w.]-)\d+(?:\.\d+)?(?![\w.])
    | (?<=\d)(?<![\w.]\d)\d*(?:\.\d+)?(?![\w.])
    | (?<!\w[NnTtFf])(?:(?<=[Nn])[Uu][Ll][Ll]|(?<=[Tt])[Rr][Uu][Ee]|(?<=[Ff])[Aa][Ll][Ss][Ee])\b
    )""",
    re.VERBOSE,
)
_LIST: Final = re.compile(r"\(\s*\?(?:\s*,\s*\?)+\s*\)(?:\s*,\s*\(\s*\?(?:\s*,\s*\?)*\s*\))*")
_TABLE: Final = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+[\"`\[]?([\w.]+)", re.IGNORECASE)
_VARIABLE: Final = re.compile(
    r"[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}|(?=[0-9a-fA-F]*\d)[0-9a-fA-F]{12,}"
    r"|(?<!/v)(?<!/v\d)\d+"  # not the version of an API
)
_MOST: Final = 2000
_HOLLOW: Final = 0.8


@lru_cache(maxsize=10_000)
def statement(text: str) -> str:
    """Return the text of a query without comments and literals; a list of literals counts as one."""
    if "/*" in text or "--" in text:
        text = _COMMENT.sub(" ", text)
    text = _LITERAL.sub("?", text)
    if "?," in text or "? ," in text:
        text = _LIST.sub("(?)", text)
    return " ".join(text.split())


@lru_cache(maxsize=10_000)
def without_numbers(text: str) -> str:
    """Return a path or a name with its numbers, UUIDs and hashes replaced."""
    return _VARIABLE.sub("{}", text)


def is_statement(span: Span) -> bool:
    """Return whether this is a statement to a database, and not a connect or the like."""
    attributes = span.attributes
    if "db.system.name" not in attributes or (span.kind != CLIENT and span.kind != INTERNAL):
        return False
    name = span.name
    if len(name) <= _LONGEST_CONNECT and name.lower() in _CONNECTS:
        return False
    operation = attributes.get("db.operation.name")
    return operation is None or str(operation).lower() not in _CONNECTS


def is_connect(span: Span) -> bool:
    """Return whether this is a wait for a connection of a pool, or the opening of one."""
    name = span.name.lower()
    if name == "pool wait" or name.endswith("datasource.getconnection"):  # the latter is JDBC's
        return True
    return name in _OPENS and span.is_database and "db.query.text" not in span.attributes


def query_label(span: Span) -> str:
    """Return what a reader calls a query: its summary, else what and of which table, else the span's name."""
    attributes = span.attributes
    summary, text = attributes.get("db.query.summary"), attributes.get("db.query.text")
    system = attributes.get("db.system.name")
    if isinstance(system, str) and system in OF_KEYS and not summary and span.name.isalpha():
        return f"{system} {span.name}"  # a GET of Redis is none of HTTP
    if summary or not text or system is None:
        return str(summary or span.name)
    words = _COMMENT.sub(" ", str(text)[:_MOST]).split(None, 1)
    table = _TABLE.search(str(text)[:_MOST])
    return f"{words[0].upper()} {table[1]}" if words and table else span.name


def call_label(span: Span) -> str:
    """Return what a reader calls a call: method, host and route or path; or the span's name."""
    shape = shape_of_one(span) if span.is_call else None
    if shape is None or not shape[1]:
        return query_label(span)
    return " ".join(filter(None, (str(shape[1]), f"{shape[2]}{shape[3]}")))


def shape_of_one(span: Span) -> Shape | None:
    """Return the shape of a query or call; None for any other span."""
    attributes = span.attributes
    if "db.system.name" in attributes:
        if not is_statement(span):
            return None
        text, summary = attributes.get("db.query.text"), attributes.get("db.query.summary")
        if text is None and summary is None:
            summary = (
                f"{attributes.get('db.operation.name', '')} {attributes.get('db.collection.name', '')} {span.name}"
            )
        text = None if text is None else statement(str(text)[:_MOST])
        system, database = str(attributes["db.system.name"]), str(attributes.get("db.namespace") or "")
        if text is not None and system in OF_KEYS:
            text = without_numbers(text)
        return ("query", system, database, None if summary is None else str(summary), text)
    if span.kind == CLIENT:
        served = next((child for child in span.children if child.kind == SERVER), None)
        method = str(attributes.get("http.request.method") or "")
        if not method:
            name = f"{attributes.get('rpc.service', '')}/{attributes.get('rpc.method', '')}"
            return ("call", "", conventions.peer(attributes), name if name != "/" else without_numbers(span.name))
        route = served.attributes.get("http.route") if served else attributes.get("url.template")
        path = str(route) if route else without_numbers(conventions.path(attributes))
        return ("call", method, conventions.peer(attributes), path)
    return None


def asked(span: Span) -> str:
    """Return what exactly a query or call asked: its text or path with all values, else the span's name."""
    text = span.attributes.get("db.query.text")
    return str(text) if text else conventions.path(span.attributes) or span.name


def target(span: Span) -> Shape:
    """Return whom and what exactly a query or call asked: two with the same target are attempts of one."""
    return (shape_of_one(span), asked(span))


class Shapes:
    """The shapes of one trace's spans. A span around queries and calls has the shape of all that is beneath."""

    def __init__(self) -> None:
        self._known: dict[Span, Shape | None] = {}

    def of(self, span: Span) -> Shape | None:
        """Return the shape of a span; None if no query or call is there."""
        known = self._known
        if span in known:
            return known[span]
        pending = [span]
        while pending:
            each = pending[-1]
            shape = shape_of_one(each)
            if (shape is None and each.kind == INTERNAL) or each.kind in (SERVER, CONSUMER):
                missing = [child for child in each.children if child not in known]
                if missing:
                    pending.extend(missing)
                    continue
                shape = self._around(each)
            known[each] = shape
            pending.pop()
        return known[span]

    def _around(self, span: Span) -> Shape | None:
        beneath = {shape for child in span.children if (shape := self._known[child]) is not None}
        return ("wrapper", without_numbers(span.name), frozenset(beneath)) if beneath else None


def lone_call(span: Span) -> Span:
    """Return the one call or query that a span is around, however long the span goes on; else the span."""
    while span.kind == INTERNAL and not span.is_database and len(span.children) == 1:
        (span,) = span.children
    return span


def inner_call(span: Span) -> Span:
    """Return the one call or query that a span is around, if that takes nearly all of its time; else the span."""
    while span.kind == INTERNAL and not span.is_database and len(span.children) == 1:
        (child,) = span.children
        if child.duration < _HOLLOW * span.duration:
            break
        span = child
    return span

"""The summary of a statement: its operations and tables, in their order, as in `INSERT orders SELECT carts`.

The conventions say what a summary is (docs/db/database-spans.md, "Generating a summary of the query"). The reader here
goes once over the words of the statement. It knows where a table may stand, and no more of the grammar: what it does
not know it leaves out. A statement that creates, alters or drops something is summed up by that alone.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_LONGEST: Final = 255
"""Characters of a summary (semantic conventions)."""
_MOST_WORDS: Final = 2000
"""Words and signs of a statement that are read: what follows is values, as a rule."""

# A quoted name has a bound: many quotes that are never closed would each be read up to the end.
_PART: Final = r'(?:"[^"]{0,128}+"|`[^`]{0,128}+`|\[[^\]]{0,128}+\]|\#{0,2}[^\W\d][\w$#]*+)'
_WORDS: Final = re.compile(
    rf"(?P<value>%\(\w*+\)s|%s|[@:$]+\w++|[?*])|(?P<word>{_PART}(?:\.{_PART}?)*+)|(?P<sign>[(),;])"
)

_MODIFYING: Final = frozenset({"DELETE", "INSERT", "MERGE", "REPLACE", "UPDATE", "UPSERT"})
_DEFINING: Final = frozenset({"ALTER", "CREATE", "DROP", "REFRESH", "REINDEX", "TRUNCATE"})
_CALLING: Final = frozenset({"CALL", "EXEC", "EXECUTE", "USE"})
_EXPLAINING: Final = frozenset({"ANALYSE", "ANALYZE", "DESC", "DESCRIBE", "EXPLAIN"})
_JOINING: Final = frozenset({"ALL", "DISTINCT", "EXCEPT", "INTERSECT", "MINUS", "UNION"})
"""Before a SELECT, one of these makes it part of the SELECT that came before."""
_BEFORE_MODIFYING: Final = frozenset({"(", ")", "AS"})

_BEFORE_TABLE: Final = frozenset(
    {
        *("ABORT", "DELAYED", "FAIL", "HIGH_PRIORITY", "IGNORE", "INTO", "LATERAL", "LOW_PRIORITY", "ONLY", "OR"),
        *("OVERWRITE", "QUICK", "REPLACE", "ROLLBACK"),
    }
)
"""What may stand between an operation, or FROM and JOIN, and the table."""
_AFTER_TABLES: Final = frozenset(
    {
        *("CONNECT", "EXCEPT", "FETCH", "FOR", "GROUP", "HAVING", "INTERSECT", "LIMIT", "MINUS", "OFFSET", "ORDER"),
        *("QUALIFY", "RETURNING", "SET", "START", "UNION", "VALUES", "WHERE", "WINDOW"),
    }
)
_BEFORE_OBJECT: Final = frozenset(
    {
        *("AND", "BITMAP", "CLUSTERED", "CONCURRENTLY", "EXISTS", "EXTERNAL", "FOREIGN", "FULLTEXT", "GLOBAL", "IF"),
        *("LOCAL", "MATERIALIZED", "NONCLUSTERED", "NOT", "ONLY", "OR", "RECURSIVE", "REPLACE", "SPATIAL", "TEMP"),
        *("TEMPORARY", "UNIQUE", "UNLOGGED", "VIRTUAL"),
    }
)
"""What may stand between CREATE, or its like, and the kind of the object, or between the kind and its name."""

_TRIVIAL: Final = re.compile(
    r"(?:abort|begin|commit|end|pragma|release|rollback|savepoint|xa|(?:prepare|save|set|start)\s+tran\w*+)\b[^;]*+;?"
    r"|select\s++(?:\?|[@:$]\w++|%s)(?:\s++from\s++dual)?\s*+;?"
    # What pools of PostgreSQL send when a connection is given back.
    r"|(?:(?:select\s++pg_advisory_unlock_all\(\)|close\s++all|unlisten\s++\*|(?:discard|reset)\s++all)\s*+(?:;\s*+|\Z))++",
    re.IGNORECASE,
)


class StatementSummary(NamedTuple):
    """The summary of a statement."""

    text: str
    """Operations and tables, as in `SELECT orders`; empty when there is no word to be read."""
    operation: str | None
    """The operation, if there is but one."""
    table: str | None
    """The table, if there is but one."""


def summary_of(text: str) -> StatementSummary:
    """Return the summary of a statement that is sanitized already."""
    reader = _Reader()
    for count, found in enumerate(_WORDS.finditer(text)):
        if count >= _MOST_WORDS or reader.is_full:
            break
        reader.read(found[0], found.lastgroup)
    operations, tables = reader.operations, reader.tables
    return StatementSummary(
        " ".join(reader.parts),
        operations[0] if len(operations) == 1 else None,
        tables[0] if len(operations) == 1 and len(tables) == 1 else None,
    )


def is_trivial(text: str) -> bool:
    """Tell whether a sanitized statement only steers a transaction or connection, or asks whether anybody is there."""
    return _TRIVIAL.fullmatch(text) is not None


class _Query:
    """What the reader knows of a query that stands between parentheses, or of the whole statement."""

    __slots__ = ("defines", "expects_from", "is_among_tables", "operation")

    def __init__(self) -> None:
        self.operation = ""
        self.defines = ""
        """The name that WITH defines just now."""
        self.expects_from = False
        self.is_among_tables = False
        """Whether a comma is followed by one more table."""


class _Reader:
    """Reads a statement, word by word."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.operations: list[str] = []
        self.tables: list[str] = []
        self.is_full = False
        self._size = -1
        self._begin()

    def _begin(self) -> None:
        """Begin a statement."""
        self._query = _Query()
        self._around: list[_Query] = []
        self._is_recursive = False
        self._defined: set[str] = set()
        """The names that WITH has defined, in capitals. They are no tables."""
        self._before = ""
        """The latest word in capitals, or the latest sign."""
        self._step = self._first

    def read(self, word: str, kind: str | None) -> None:
        """Read the next word or sign."""
        if kind == "word":
            before = word.upper()
            self._step(word, before)
            self._before = before
        elif kind == "sign":
            self._read_sign(word)
            self._before = word
        else:
            self._before = ""

    def _read_sign(self, sign: str) -> None:
        if sign == ";":
            if self._step != self._rest or self._query.operation not in _DEFINING:  # not in the body of a trigger
                self._begin()
        elif self._step == self._rest:
            return
        elif sign == "(":
            self._around.append(self._query)
            self._query = _Query()
            if self._step == self._table:
                self._step = self._any
        elif sign == ")":
            self._query = self._around.pop() if self._around else _Query()
        elif self._query.defines:
            self._end_definition()
            self._step = self._definition
        elif self._query.is_among_tables:
            self._step = self._table

    # Each of these reads a word at one place of the statement.

    def _first(self, word: str, upper: str) -> None:
        if upper == "WITH":
            self._step = self._definition
        elif upper == "SELECT":
            self._select(word)
        elif upper in _MODIFYING:
            self._modify(word, upper)
        elif upper in _EXPLAINING:
            self._add(word, self.operations)
            self._step = self._explained
        elif upper in _DEFINING:
            self._query.operation = upper
            self._step = self._object
            self._add(word, self.operations)
        else:
            self._add(word, self.operations)
            self._step = self._name if upper in _CALLING else self._rest

    def _explained(self, word: str, upper: str) -> None:
        if upper in ("SELECT", "WITH") or upper in _MODIFYING:
            self._first(word, upper)

    def _definition(self, word: str, upper: str) -> None:
        if upper == "RECURSIVE":
            self._is_recursive = True
            return
        self._query.defines = _unquoted(word).upper()
        if self._is_recursive:
            self._defined.add(self._query.defines)
        self._step = self._any

    def _end_definition(self) -> None:
        """Know the name from here on: within its own definition, it is a table's unless that is recursive."""
        if self._query.defines:
            self._defined.add(self._query.defines)
            self._query.defines = ""

    def _any(self, word: str, upper: str) -> None:
        query = self._query
        if upper == "SELECT":
            if self._before in _JOINING:
                query.expects_from = True
            else:
                self._select(word)
        elif upper == "WITH" and (self._before == "(" or query.operation == "INSERT"):
            self._step = self._definition
        elif upper == "FROM":
            if query.expects_from and self._before != "DISTINCT":  # as in IS DISTINCT FROM
                query.expects_from = False
                query.is_among_tables = True
                self._step = self._table
        elif upper in ("JOIN", "STRAIGHT_JOIN") or (upper == "USING" and query.operation in ("DELETE", "MERGE")):
            query.is_among_tables = True
            self._step = self._table
        elif upper in _AFTER_TABLES:
            query.is_among_tables = False
        elif upper in _MODIFYING and self._before in _BEFORE_MODIFYING:
            self._modify(word, upper)

    def _select(self, word: str) -> None:
        self._end_definition()
        self._query.expects_from = True
        self._query.is_among_tables = False
        self._step = self._any
        self._add(word, self.operations)

    def _modify(self, word: str, upper: str) -> None:
        self._end_definition()
        self._query.operation = upper
        self._query.expects_from = upper in ("DELETE", "UPDATE")
        self._step = self._any if upper == "DELETE" else self._table
        self._add(word, self.operations)

    def _table(self, word: str, upper: str) -> None:
        if upper not in _BEFORE_TABLE:
            self._step = self._any
            if _unquoted(upper) not in self._defined:
                self._add(word, self.tables)

    def _object(self, word: str, upper: str) -> None:
        if upper in _BEFORE_OBJECT:
            return
        if self._query.operation == "TRUNCATE" and upper != "TABLE":
            self._name(word, upper)
            return
        self._add(word, [])
        self.operations[-1] += f" {word}"
        self._step = self._name

    def _name(self, word: str, upper: str) -> None:
        if upper in _BEFORE_OBJECT:
            return
        self._step = self._rest
        if upper != "ON":  # as in CREATE INDEX ON orders (id), which leaves the name to the database
            self._add(word, self.tables if self._before in ("TABLE", "EXISTS", "TRUNCATE") else [])

    def _rest(self, word: str, upper: str) -> None:
        """Read over what tells no more."""

    def _add(self, word: str, among: list[str]) -> None:
        size = self._size + 1 + len(word)
        if self.is_full or size > _LONGEST:
            self.is_full = True
            return
        self._size = size
        self.parts.append(word)
        among.append(word)


def _unquoted(name: str) -> str:
    return name.strip('"`[]')

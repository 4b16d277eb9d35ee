"""Statements that are made up, for comparison with a real parser: the same ones each time."""

from __future__ import annotations

from random import Random

_TABLES = ("orders", "shop.items", '"song list"', "t1", "Customers", "public.parts")


class Maker:
    """Makes up statements of PostgreSQL from a seed."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)

    def statement(self) -> str:
        made = self._random.choice((self._select, self._select, self._insert, self._update, self._delete, self._with))()
        return made + self._random.choice(("", ";", " -- the end", " /* the end */"))

    def _table(self) -> str:
        return self._random.choice(_TABLES)

    def _literal(self) -> str:
        return self._random.choice(
            (
                "1",
                "-2.5",
                "1e-3",
                "'it''s a secret'",
                "'--'",
                "'/*'",
                "$$secret$$",
                "E'a\\'b'",
                "TRUE",
                "%(id)s",
                "$1",
                "NULL",
            )
        )

    def _value(self, depth: int) -> str:
        column = self._random.choice(("a", "b.c", '"a b"', "x1"))
        kinds = ("literal", "column", "call", "extract", "trim", "case", "cast", "window")
        match self._random.choice(kinds if depth else (*kinds, "query")):
            case "literal":
                return self._literal()
            case "call":
                return f"coalesce({column}, {self._literal()})"
            case "extract":
                return f"EXTRACT(YEAR FROM {column})"
            case "trim":
                return f"TRIM(BOTH 'x' FROM {column})"
            case "case":
                return f"CASE WHEN {column} = {self._literal()} THEN 1 ELSE 2 END"
            case "cast":
                return f"CAST({column} AS varchar(20))"
            case "window":
                return f"count(*) OVER (PARTITION BY {column} ORDER BY x1)"
            case "query":
                return f"({self._select(depth + 1)})"
        return column

    def _condition(self, depth: int) -> str:
        column = self._random.choice(("a", "b.c", "x1"))
        kinds = ("=", "in", "between", "distinct", "like")
        match self._random.choice(kinds if depth else (*kinds, "query", "exists")):
            case "in":
                return f"{column} IN ({', '.join(self._literal() for _ in range(3))})"
            case "between":
                return f"{column} BETWEEN 1 AND {self._literal()}"
            case "distinct":
                return f"{column} IS DISTINCT FROM {self._literal()}"
            case "like":
                return f"{column} LIKE '%secret%'"
            case "query":
                return f"{column} IN ({self._select(depth + 1)})"
            case "exists":
                return f"EXISTS ({self._select(depth + 1)})"
        return f"{column} = {self._literal()}"

    def _source(self, depth: int) -> str:
        if not depth and self._random.random() < 0.2:
            return f"({self._select(depth + 1)}) AS s"
        if self._random.random() < 0.1:
            return "generate_series(1, 10) AS g"
        return self._table() + self._random.choice(("", " AS x", " y"))

    def _select(self, depth: int = 0) -> str:
        values = ", ".join(self._value(depth) for _ in range(self._random.randint(1, 3)))
        text = f"SELECT {self._random.choice(('', '', 'DISTINCT '))}{values}"
        if self._random.random() < 0.1:
            return text
        text += f" FROM {self._source(depth)}"
        for _ in range(self._random.randint(0, 2)):
            join = self._random.choice((",", " JOIN", " LEFT OUTER JOIN", " CROSS JOIN"))
            on = f" ON {self._condition(1)}" if join in (" JOIN", " LEFT OUTER JOIN") else ""
            text += f"{join} {self._source(depth)}{on}"
        if self._random.random() < 0.7:
            text += f" WHERE {self._condition(depth)}"
        if self._random.random() < 0.2:
            text += " GROUP BY a HAVING count(*) > 1"
        if not depth and self._random.random() < 0.15:
            text += f" UNION ALL {self._select(1)}"
        if not depth and self._random.random() < 0.3:
            text += f" ORDER BY a LIMIT 10{self._random.choice(('', ' OFFSET 5', ' FOR UPDATE'))}"
        return text

    def _insert(self) -> str:
        text = f"INSERT INTO {self._table()} (a, b) "
        if self._random.random() < 0.3:
            return text + self._select(1)
        text += f"VALUES ({self._literal()}, {self._literal()})"
        return text + self._random.choice(
            ("", " RETURNING a", " ON CONFLICT (a) DO NOTHING", " ON CONFLICT (a) DO UPDATE SET b = 2")
        )

    def _update(self) -> str:
        text = f"UPDATE {self._table()} SET a = {self._value(0)}"
        if self._random.random() < 0.3:
            text += f" FROM {self._table()}"
        return f"{text} WHERE {self._condition(0)}"

    def _delete(self) -> str:
        text = f"DELETE FROM {self._table()}"
        if self._random.random() < 0.3:
            text += f" USING {self._table()}"
        return f"{text} WHERE {self._condition(0)}"

    def _with(self) -> str:
        return f"WITH recent AS ({self._select(1)}) SELECT a FROM recent JOIN {self._table()} ON {self._condition(1)}"

"""Statements: their text without literals, and their summary."""

from __future__ import annotations

import time

import pytest

from db.convention_cases import FIRST, LATER, Case
from tracemw._db.statements import Statement, Statements
from tracemw._db.systems import grammar_of, system_name


def read(text: str, system: str = "other_sql") -> Statement:
    grammar = grammar_of(system)
    assert grammar is not None
    return Statement.read(text, grammar)


@pytest.mark.parametrize("case", [*FIRST, *LATER], ids=lambda case: case.query[:40])
def test_the_cases_of_the_conventions_hold(case: Case) -> None:
    statement = read(case.query, case.system)
    assert statement.text == (case.query if case.text is None else case.text)
    assert statement.summary == case.summary


@pytest.mark.parametrize(
    ("text", "summary"),
    [
        ("UPDATE orders SET paid = 1 WHERE id = 7", "UPDATE orders"),  # the conventions' own case has no table here
        ("UPDATE a SET x = b.x FROM b WHERE a.id = b.id", "UPDATE a b"),
        ("DELETE FROM a USING b WHERE a.id = b.id", "DELETE a b"),
        ("INSERT OR REPLACE INTO a VALUES (1)", "INSERT a"),
        ("INSERT INTO a (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET x = 2", "INSERT a"),
        ("INSERT INTO a VALUES (1) ON DUPLICATE KEY UPDATE x = 2", "INSERT a"),
        ("MERGE INTO a USING b ON a.id = b.id WHEN MATCHED THEN UPDATE SET x = 1", "MERGE a b"),
        ("SELECT * FROM a WHERE id IN (SELECT id FROM b) FOR UPDATE", "SELECT a SELECT b"),
        ("SELECT EXTRACT(YEAR FROM made), TRIM(BOTH 'x' FROM y) FROM a", "SELECT a"),
        ("SELECT x IS DISTINCT FROM y FROM a", "SELECT a"),
        ("SELECT DISTINCT 1 FROM a", "SELECT a"),
        ("SELECT DISTINCT * FROM a", "SELECT a"),
        ("SELECT * FROM a JOIN LATERAL (SELECT * FROM b) l ON true, c", "SELECT a SELECT b c"),
        ("WITH recent AS (SELECT * FROM a) SELECT * FROM recent", "SELECT a SELECT"),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM A", "SELECT a SELECT"),
        (
            "WITH c (x, y) AS (SELECT * FROM a), d AS (SELECT * FROM c) SELECT * FROM c, d, e",
            "SELECT a SELECT SELECT e",
        ),
        (
            'WITH RECURSIVE up AS (SELECT * FROM a UNION ALL SELECT * FROM a JOIN up ON true) SELECT * FROM "up"',
            "SELECT a a SELECT",
        ),
        ("SELECT * FROM (WITH c AS MATERIALIZED (SELECT * FROM a) SELECT * FROM c) x", "SELECT SELECT a SELECT"),
        ("INSERT INTO b (x) WITH c AS (SELECT * FROM a) SELECT x FROM c", "INSERT b SELECT a SELECT"),
        ("SELECT CAST(x AS timestamp WITH time zone) FROM a, b", "SELECT a b"),
        ("WITH c AS (SELECT 1) SELECT * FROM c; SELECT * FROM c", "SELECT SELECT SELECT c"),
        (
            "WITH gone AS (DELETE FROM a RETURNING id) INSERT INTO b SELECT id FROM gone",
            "DELETE a INSERT b SELECT",
        ),
        ("EXPLAIN (ANALYZE, BUFFERS) SELECT * FROM a", "EXPLAIN SELECT a"),
        ("EXPLAIN QUERY PLAN SELECT * FROM a", "EXPLAIN SELECT a"),
        ("SELECT 1; DELETE FROM a", "SELECT DELETE a"),
        ("TRUNCATE TABLE a", "TRUNCATE TABLE a"),
        ("TRUNCATE a", "TRUNCATE a"),
        ("CREATE OR REPLACE MATERIALIZED VIEW v AS SELECT * FROM a", "CREATE VIEW v"),
        ("CREATE INDEX ON a (id)", "CREATE INDEX"),
        ("CALL move_orders(1, 'x')", "CALL move_orders"),
        ("SET search_path TO shop", "SET"),
        ("VALUES (1), (2)", "VALUES"),
        ('SELECT * FROM "song list", `other list`', 'SELECT "song list" `other list`'),
        ("SELECT * FROM [dbo].[Song List]", "SELECT [dbo].[Song List]"),
        ('SELECT "song list".id FROM public."song list"', 'SELECT public."song list"'),
        ("/* request 7 */ select * from a -- the end", "select a"),
        ("", ""),
        ("?? 'x'", ""),
    ],
)
def test_a_summary_has_the_operations_and_tables_in_their_order(text: str, summary: str) -> None:
    assert read(text, "sqlite").summary == summary


def test_an_operation_and_a_table_that_are_alone_are_told_by_themselves() -> None:
    statement = read("SELECT * FROM orders WHERE id = 1")
    assert (statement.operation, statement.table) == ("SELECT", "orders")
    statement = read("SELECT * FROM orders JOIN items ON true")
    assert (statement.operation, statement.table) == ("SELECT", None)
    statement = read("INSERT INTO a SELECT * FROM b")
    assert (statement.operation, statement.table) == (None, None)
    statement = read("CREATE TABLE IF NOT EXISTS a (id int)")
    assert (statement.operation, statement.table) == ("CREATE TABLE", "a")
    assert read("CREATE INDEX i ON a (id)").table is None


@pytest.mark.parametrize(
    ("system", "text", "sanitized"),
    [
        ("postgresql", "SELECT $1, $2::text, %s, %(id)s, :id, ?, @p1", None),
        ("postgresql", r"SELECT E'it\'s secret', 'a\', 1", "SELECT ?, ?, ?"),
        ("postgresql", "SELECT $$it's secret$$, $x$ a $$ 'b' $x$, 2", "SELECT ?, ?, ?"),
        ("postgresql", "SELECT $$secret", "SELECT ?"),
        ("postgresql", "SELECT a$1b FROM t", None),
        ("postgresql", "SELECT B'01', X'1F', U&'d\\0061t', N'name'", "SELECT ?, ?, ?, ?"),
        ("postgresql", "SELECT tags[1], ARRAY['secret'] FROM t", "SELECT tags[?], ARRAY[?] FROM t"),
        ("postgresql", "SELECT DATE '2026-01-02', INTERVAL '3 days', TRUE", "SELECT DATE ?, INTERVAL ?, ?"),
        ("postgresql", "SELECT true_name, is_true IS FALSE", "SELECT true_name, is_true IS ?"),
        ("postgresql", 'SELECT "column 1" FROM t', None),
        ("postgresql", 'SELECT "never closed secret', "SELECT ?"),
        ("postgresql", "SELECT 'never closed secret", "SELECT ?"),
        ("postgresql", "SELECT x+1, x-.5, (x)-1, a[1]+2, $1+3, :x-1", "SELECT x+?, x-?, (x)-?, a[?]+?, $1+?, :x-?"),
        ("postgresql", 'SELECT "x"+1, %s+1, x = -1, (-1), 99-1', 'SELECT "x"+?, %s+?, x = ?, (?), ??'),
        ("postgresql", "SELECT -1 LIMIT -1", "SELECT ? LIMIT ?"),
        ("postgresql", "SELECT 1 /* never closed secret", "SELECT ?"),
        ("postgresql", "SELECT 1 /* a /* b */ 'secret' */", "SELECT ?  ? */"),
        ("postgresql", "SELECT '--', a -- 'secret'", "SELECT ?, a"),
        ("mysql", r"SELECT 'it\'s secret', ''", "SELECT ?, ?"),
        ("mysql", r'SELECT "it\"s secret"', "SELECT ?"),
        ("mysql", "SELECT a # 'secret'\nFROM `t 1`", "SELECT a \nFROM `t 1`"),
        ("mysql", r"SELECT 'never closed \ ", "SELECT ?"),
        ("microsoft.sql_server", "SELECT [column 1], N'secret' FROM #made", "SELECT [column 1], ? FROM #made"),
        ("sqlite", "SELECT x'00ff', ?1, ?2", "SELECT ?, ?1, ?2"),
        ("sqlite", 'SELECT "a" FROM "t" WHERE "a" = "hunter2dq"', 'SELECT "a" FROM "t" WHERE "a" = ?'),
        ("sqlite", 'SELECT a FROM t WHERE a<>"x""y" OR b LIKE "x%"', "SELECT a FROM t WHERE a<>? OR b LIKE ?"),
        ("sqlite", 'SELECT a FROM t WHERE a in ("x", \'y\', "z")', "SELECT a FROM t WHERE a in (?, ?, ?)"),
        ("sqlite", 'SELECT a FROM t WHERE a IN (SELECT "b" FROM "u")', None),
        ("sqlite", 'SELECT a WHERE a BETWEEN "x" AND "y" AND "b"', 'SELECT a WHERE a BETWEEN ? AND ? AND "b"'),
        ("sqlite", 'INSERT INTO "t" ("a") VALUES (f("y")), ("z", ?)', 'INSERT INTO "t" ("a") VALUES (f(?)), (?, ?)'),
        ("sqlite", 'SELECT "t"."a" FROM "t" JOIN "u" ON "t"."a" = "u"."a" ORDER BY "a", "b"', None),
        ("sqlite", 'UPDATE "t" SET "a" = "x", "b" = "y"', 'UPDATE "t" SET "a" = ?, "b" = ?'),
        ("sqlite", 'PRAGMA key = "hunter2"', "PRAGMA key = ?"),
        ("postgresql", 'SELECT a FROM t WHERE a = "b"', None),
        ("oracle.db", "SELECT :1, :id FROM dual WHERE a = 1.5e+3", "SELECT :1, :id FROM dual WHERE a = ?"),
    ],
)  # fmt: skip
def test_a_literal_becomes_a_question_mark_as_the_system_writes_it(
    system: str, text: str, sanitized: str | None
) -> None:
    assert read(text, system).text == (text if sanitized is None else sanitized)


@pytest.mark.parametrize(
    "text",
    [
        *("BEGIN", "begin;", "BEGIN ISOLATION LEVEL SERIALIZABLE", "START TRANSACTION", "COMMIT", "ROLLBACK;", "END"),
        *("SAVEPOINT a", "RELEASE SAVEPOINT a", "ROLLBACK TO SAVEPOINT a", "PRAGMA foreign_keys = ON", "SELECT 1"),
        *("select 1;", "SELECT 1 FROM DUAL", "PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'", "XA START 'x'"),
        *("SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;", "RESET ALL", "DISCARD ALL"),
        *("SET TRANSACTION READ ONLY", "/* ping */ SELECT 1", "SELECT $1"),
    ],
)
def test_a_statement_that_only_steers_is_trivial(text: str) -> None:
    assert read(text).is_trivial


@pytest.mark.parametrize(
    "text",
    [
        *("SELECT pg_advisory_unlock_all(), 1", "RESET ALL; DELETE FROM orders", "RESET ALL DELETE"),
        *("SELECT 1, 2", "SELECT 1 FROM orders", "BEGIN charge(1); END;", "PREPARE find AS SELECT 1", "SET x = 1"),
        *("SELECT count(*)", "beginning", "COMMIT; DELETE FROM orders", ""),
    ],
)
def test_a_statement_that_does_something_is_not_trivial(text: str) -> None:
    assert not read(text).is_trivial


def test_a_long_statement_is_cut_before_it_is_read_and_says_so() -> None:
    statement = read("SELECT * FROM a WHERE name = '" + "secret " * 100_000 + "'")
    assert statement.text == "SELECT * FROM a WHERE name = ? ..."
    assert statement.summary == "SELECT a"


@pytest.mark.parametrize(
    "piece", ["'", '"', "/*", "$a$ ", "((", "1e", "a.", "--", "\\'", "E'", "[", "`", "select(", "- 1"]
)
def test_no_text_takes_more_than_linear_time(piece: str) -> None:
    def took(times: int) -> float:
        text = piece * times
        best = float("inf")
        for _ in range(3):
            began = time.thread_time()
            read(text, "mysql")
            read(text, "postgresql")
            best = min(best, time.thread_time() - began)
        return best

    size = 16_000 // len(piece)
    assert took(size) < 40 * took(size // 8) + 0.005  # it would be 64 times with a square


def test_what_is_remembered_has_a_bound() -> None:
    grammar = grammar_of("postgresql")
    assert grammar is not None
    statements = Statements(grammar)
    for number in range(2000):
        assert statements[f"SELECT * FROM a WHERE id = {number}"].text == "SELECT * FROM a WHERE id = ?"
    assert len(statements) <= 512
    long = "SELECT " + "a, " * 20_000
    assert statements[long] == statements[long]
    assert long not in statements


def test_former_names_of_systems_become_those_of_the_conventions() -> None:
    assert system_name("mssql") == "microsoft.sql_server"
    assert system_name("PostgreSQL") == "postgresql"
    assert system_name("something_new") == "something_new"
    assert grammar_of("redis") is None

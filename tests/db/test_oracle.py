"""Summaries and sanitized texts beside those of a real parser, sqlglot, on statements that are made up.

The differences are listed, each with its reason. There are no others.
"""

from __future__ import annotations

import re

import sqlglot
from sqlglot import TokenType, exp

from db.generated_statements import Maker
from tracemw._db.statements import Statement
from tracemw._db.systems import grammar_of

STATEMENTS = [Maker(seed).statement() for seed in range(300)]

OPERATIONS = {"SELECT", "INSERT", "UPDATE", "DELETE"}

DIFFERENCES = {
    "generate_series": "a function that makes rows stands where a table does, and is told as one; sqlglot knows better",
}
"""What a summary has that sqlglot does not take for a table -> why."""


def read(text: str) -> Statement:
    grammar = grammar_of("postgresql")
    assert grammar is not None
    return Statement.read(text, grammar)


def words(summary: str) -> list[str]:
    return re.findall(r'(?:"[^"]*"|[^\s"])+', summary)


def tables_and_selects(text: str) -> tuple[list[str], int]:
    """What sqlglot finds in a statement. The second SELECT of a union does not count, by the conventions.

    Names that WITH defines are no tables.
    """
    (parsed,) = sqlglot.parse(text, dialect="postgres")
    assert parsed is not None
    defined = {each.alias for each in parsed.find_all(exp.CTE)}
    tables = sorted(
        ".".join(part.sql() for part in table.parts)
        for table in parsed.find_all(exp.Table)
        if not isinstance(table.this, exp.Func) and table.name not in defined
    )
    return tables, len(list(parsed.find_all(exp.Select))) - len(list(parsed.find_all(exp.SetOperation)))


def test_summaries_have_the_tables_and_selects_that_a_parser_finds() -> None:
    differences = []
    for text in STATEMENTS:
        told = words(read(text).summary)
        tables = sorted(each for each in told if each not in OPERATIONS and each not in DIFFERENCES)
        if (tables, told.count("SELECT")) != tables_and_selects(text):
            differences.append((text, " ".join(told)))
    assert differences == []


def test_sanitized_texts_have_no_literal_that_a_parser_finds() -> None:
    literals = {TokenType.NUMBER, TokenType.STRING, TokenType.TRUE, TokenType.FALSE, TokenType.HEREDOC_STRING}
    differences = []
    for text in STATEMENTS:
        sanitized = read(text).text
        tokens = sqlglot.tokenize(sanitized.replace("%(id)s", ":id").replace("$1", ":one"), dialect="postgres")
        if "secret" in sanitized or any(token.comments or token.token_type in literals for token in tokens):
            differences.append((text, sanitized))
    assert differences == []

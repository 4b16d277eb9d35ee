"""Values are taken out of what databases say of an error, within a text such as an exception's message.

These texts repeat values: the statement, which SQLAlchemy and PostgreSQL show; SQLAlchemy's list of the parameters;
PostgreSQL's lines DETAIL and CONTEXT; the token at which a parser stopped; and messages about a value that has the
wrong form, is too large, or is there already. Names of tables, columns and constraints stay. What pydantic says of a
value that is not valid repeats that value, too.
"""

from __future__ import annotations

import re
from typing import Final

from tracemw.redaction.places import MASK

_SIGNS: Final = (
    *("[SQL: ", "[parameters: ", "DETAIL: ", "LINE ", "Duplicate entry '", "invalid input ", "ncorrect ", "near "),
    *(
        "unrecognized token",
        "out of range",
        "malformed ",
        "unterminated ",
        "ORA-",
        " value",
        "bad JSON path",
        "character string '",
        "CONTEXT: ",
        "STATEMENT: ",
        "QUERY: ",
        "dup key: ",
        "keyValue",
        "caused error: ",
        "beginning with: ",
        "or input string: ",
        "before: '",
        "onvert string '",
        "constant (",
        "expected a number but got ",
        "input",
    ),
)
"""A text without any of these has no value to redact."""

_STATEMENT: Final = re.compile(r"\[SQL: .*?(?:\](?=\s*(?:\[parameters: |\(Background on |\Z))|\Z)", re.DOTALL)
_LINE: Final = re.compile(r"\bLINE \d{1,9}+: .*")
_LITERAL: Final = re.compile(
    r"""'(?:[^'\\]++|\\.|'')*+(?:'|\Z)|"(?:[^"\\]++|\\.|"")*+(?:"|\Z)|\$(\w*+)\$.*?(?:\$\1\$|\Z)|(?<![\w$:?%.])\d[\w.]*+""",
    re.DOTALL,
)
_PARAMETERS: Final = re.compile(r"\[parameters: .*")
_DETAIL: Final = re.compile(r"\bDETAIL: .*")
_INVALID: Final = re.compile(r"\b(invalid input (?:syntax |value )?for [^:\n]{1,80}+: ).*")
_ORACLE: Final = re.compile(r"\b(ORA-\d{1,5}+: [^'\n]*+)'.*")

_IN_PARENTHESES: Final = re.compile(r"\b(duplicate key value is |row with column values )\(.*")
_NUMBER: Final = re.compile(r"\b(data type \w{1,20}+, value = )[^\s.]++(?:\.\d++)?")
_TOO_LARGE: Final = re.compile(r"\b(value )\"[^\"\n]{0,512}+\"(?= is out of range)")

_CONTEXT: Final = re.compile(
    r"\b(CONTEXT: +(?:COPY [^\n:]{1,200}|JSON data, line \d{1,9}|(?:unnamed )?portal [^\n=]{0,160}?(?==)|SQL \w{1,20})"
    r"[:=]?).*"
)
_LOGGED: Final = re.compile(
    r"\b(?:STATEMENT|QUERY): +(?i:select|insert|update|delete|with|merge|call|copy|do|alter|create|values)\b.*?"
    r"(?=\n[A-Z]{4,10}:|\Z)",
    re.DOTALL,
)
_OF_MONGO: Final = re.compile(r"(\bdup key: |[\"']keyValue[\"']: )\{[^{}\n]*+(?:\}|\Z)")
_OF_REDIS: Final = re.compile(r"(Command # \d{1,9} \(\w{1,40})(?:.{0,4000}?(?=\) of pipeline caused error: )|.*)")
_ARGUMENTS: Final = re.compile(r"(\bwith args beginning with: ).*")
_CONSTANT: Final = re.compile(r"(\bInvalid \w{1,20} constant )\((?:.{0,512}?\)(?= for )|.*)")
_INPUT: Final = re.compile(
    r"(\binput_value=|(?<=[\"']input[\"'])(?<!\w): ?)"
    r"(?:.*?(?=, input_type=|,? ?[\"'](?:ctx|url|loc|msg|type)[\"']: ?)|[^\n]*?(?=\}(?:\]|\Z|, \{))|[^\n]*+)"
)
"""A value that was not valid (pydantic v2), in a message or among `errors()`."""

_FOLLOWED: Final = re.compile(
    r"(\bDuplicate entry |\b[Ii]ncorrect \w{1,20}+ value: |\bright syntax to use near "  # MySQL
    r"|\b(?:converting|conversion of) the \w{1,20}+ value "  # SQL Server
    r"|\b[Nn]umeric value |\b[Cc]ould not convert string )"  # Snowflake, DuckDB
    r"'.*?(?:'(?= for (?:key|column|function)\b| at line \d| to [\w ]{1,20}| overflowed\b| is not recognized"
    r"|\"?\)?(?:\n(?:\n|\[SQL: |\(Background )|\Z))|\Z)",
    re.DOTALL,
)
"""A value in quotes, of messages that go on after the value."""

_LAST: Final = re.compile(
    r"(\bvalue is out of range in "  # MySQL
    r"|\bIncorrect syntax near |\bafter the character string |\bTruncated value: "  # SQL Server
    r"|\bvalue out of range: |\bmalformed \w{1,20}+ literal: |\bunterminated [\w ]{1,40}? at or near "  # PostgreSQL
    r"|\bPreview of field's value: |\b[Ff]or input string: "  # Elasticsearch
    r"|\bCannot parse input: expected [^\n]{1,40}? before: |\bexpected a number but got "  # ClickHouse, Django
    r"|\binvalid value for parameter \"[^\"\n]{1,80}+\": "
    r"|\bunrecognized token: |\bfts5: syntax error near |\bJSON path error near |\bbad JSON path: "  # SQLite
    r"|\bnear (?=[\"'](?:[\w&]{0,2}[\"']|[\d$.])))"  # a token at which a parser stopped, if that is a literal
    r"([\"']).*?(?:\2(?=(?:(?!\2)[^\n]){0,80}(?:\n|\Z))|\Z)",
    re.DOTALL,
)
"""A value in quotes, of messages in which it comes last. So the quote that ends it is the last one of a line: values
may have quotes of their own."""


def redact_values(text: str) -> str:
    """Replace the values that a database's error repeats.

    Literals of a statement become `?`. Everything else becomes `[REDACTED]`, some of it up to the end of its line.
    """
    for sign in _SIGNS:
        if sign in text:
            break
    else:
        return text
    text = _STATEMENT.sub(_without_literals, text)
    text = _LINE.sub(_without_literals, text)
    text = _PARAMETERS.sub(f"[parameters: {MASK}]", text)
    text = _DETAIL.sub(f"DETAIL:  {MASK}", text)
    text = _CONTEXT.sub(rf"\1 {MASK}", text)
    text = _LOGGED.sub(_without_literals, text)
    text = _OF_MONGO.sub(rf"\1{{ {MASK} }}", text)
    text = _OF_REDIS.sub(rf"\1 {MASK}", text)
    text = _ARGUMENTS.sub(rf"\1{MASK}", text)
    text = _CONSTANT.sub(rf"\1({MASK})", text)
    if "input_type=" in text or "loc" in text:
        text = _INPUT.sub(rf"\1{MASK}", text)
    text = _INVALID.sub(rf"\1{MASK}", text)
    text = _ORACLE.sub(rf"\1'{MASK}'", text)
    text = _IN_PARENTHESES.sub(rf"\1({MASK})", text)
    text = _NUMBER.sub(rf"\1{MASK}", text)
    text = _TOO_LARGE.sub(rf'\1"{MASK}"', text)
    text = _FOLLOWED.sub(rf"\1'{MASK}'", text)
    return _LAST.sub(rf"\1\2{MASK}\2", text)


def without_literals(statement: str) -> str:
    """Return a statement with `?` for its literals, whatever its grammar: a quoted name becomes `?`, too."""
    return _LITERAL.sub("?", statement)


def _without_literals(statement: re.Match[str]) -> str:
    """Return a statement with `?` for its literals. A quoted name becomes `?`, too: some databases quote values so."""
    begin, shown = statement[0].split(": ", 1)
    return f"{begin}: {without_literals(shown)}"

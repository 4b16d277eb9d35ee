"""The names of database systems (`db.system.name`), and how the SQL of each is written."""

from __future__ import annotations

from typing import Final, NamedTuple

_NAMES: Final = {
    "adabas": "softwareag.adabas",
    "cache": "intersystems.cache",
    "cosmosdb": "azure.cosmosdb",
    "db2": "ibm.db2",
    "dynamodb": "aws.dynamodb",
    "firebird": "firebirdsql",
    "h2": "h2database",
    "hana": "sap.hana",
    "hanadb": "sap.hana",
    "ibm_db_sa": "ibm.db2",
    "informix": "ibm.informix",
    "ingres": "actian.ingres",
    "maxdb": "sap.maxdb",
    "mssql": "microsoft.sql_server",
    "netezza": "ibm.netezza",
    "oracle": "oracle.db",
    "oracledb": "oracle.db",
    "postgres": "postgresql",
    "redshift": "aws.redshift",
    "spanner": "gcp.spanner",
    "sqlserver": "microsoft.sql_server",
}
"""The names that the former conventions, or drivers, give to systems -> the names of the conventions."""

_WITHOUT_SQL: Final = frozenset(
    {
        *("aws.dynamodb", "azure.cosmosdb", "cassandra", "couchbase", "couchdb", "elasticsearch", "geode", "hbase"),
        *("influxdb", "memcached", "mongodb", "neo4j", "opensearch", "redis", "valkey"),
    }
)


class Grammar(NamedTuple):
    """How the SQL of a system differs from the standard's."""

    has_backslashes: bool = False
    """Whether a backslash in a string escapes the next character."""
    has_double_quoted_strings: bool = False
    """Whether `"text"` is a string. In the standard it is an identifier."""
    has_hash_comments: bool = False
    """Whether a comment may begin with `#`."""
    has_brackets: bool = False
    """Whether `[name]` is an identifier."""
    has_lenient_quotes: bool = False
    """Whether `"text"` is a string where no column has this name, as in SQLite."""


_STANDARD: Final = Grammar()
_MYSQL: Final = Grammar(has_backslashes=True, has_double_quoted_strings=True, has_hash_comments=True)
_BACKSLASHES: Final = Grammar(has_backslashes=True)
_BRACKETS: Final = Grammar(has_brackets=True)
_SQLITE: Final = Grammar(has_brackets=True, has_lenient_quotes=True)

_GRAMMARS: Final = {
    "mysql": _MYSQL,
    "mariadb": _MYSQL,
    "bigquery": _MYSQL,
    "databricks": _MYSQL,
    "hive": _MYSQL,
    "gcp.spanner": _MYSQL,
    "clickhouse": _BACKSLASHES,
    "snowflake": _BACKSLASHES,
    "microsoft.sql_server": _BRACKETS,
    "sqlite": _SQLITE,
}


def system_name(name: str) -> str:
    """Return the conventions' name for a system: of a former name, of a dialect, or of itself."""
    name = name.lower()
    return _NAMES.get(name, name)


def grammar_of(system: str) -> Grammar | None:
    """Return how a system's SQL is written; None when its statements are not SQL.

    A system that nobody knows is taken for one with standard SQL.
    """
    return None if system in _WITHOUT_SQL else _GRAMMARS.get(system, _STANDARD)

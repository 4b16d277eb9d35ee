"""What a driver's exception tells of an error, in the words of the database: never its message, which has values."""

from __future__ import annotations


def response_code(error: BaseException) -> str | None:
    """Return the database's own code of an error (`db.response.status_code`); None when the driver gives none.

    That is the SQLSTATE of PostgreSQL and others, the name of a result code of SQLite, and the number that MySQL and
    others put first.
    """
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        code = getattr(error, name, None)
        if isinstance(code, str) and code:
            return code
    first = error.args[0] if error.args else None
    if isinstance(first, int) and not isinstance(first, bool):
        return str(first)
    code = getattr(first, "full_code", None)  # oracledb
    return code if isinstance(code, str) else None

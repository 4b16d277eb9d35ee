"""What one database call means, free of I/O, of drivers and of the SDK.

The way through this room, from the bottom up:

1. `systems`: the names of database systems, and how the SQL of each is written.
2. `sanitizing`: the text of a statement without its literals and comments.
3. `summarizing`: the operations and tables of a statement, which name its span.
4. `statements`: the two together, remembered for statements that come again.
5. `conforming`: the attributes of anybody's database span, as the conventions have them.
6. `traced_statements`: the statements of one database, each with all that its spans have in common.

The rules are those of OpenTelemetry's semantic conventions v1.44 for database spans.
"""

"""Spans are kept in SQLite, in memory or in a file.

* ``store``         the store, as the rest of the viewer sees it
* ``writer``        the one thread that writes, in groups
* ``transaction``   spans go in, summaries of their traces follow, the oldest traces make room
* ``scopes``        resources and scopes, which every request repeats and the store keeps once
* ``vocabulary``    which words stand where, so that a search does not look everywhere
* ``pool``          the connections to the database
* ``database``      the file; ``schema`` has its tables

Three modules read, by conditions in ``sql``:

* ``summaries``     traces as lists show them
* ``candidates``    spans that may match a search
* ``slices``        a whole trace, in parts of bounded size
"""

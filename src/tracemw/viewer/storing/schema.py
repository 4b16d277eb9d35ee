"""The tables of the viewer's database.

``shares`` counts the spans that each trace has of each instrumentation scope. A scope belongs to one resource.
``stretches`` has the words of the spans from one row to another (see `Vocabulary`). So ``spans`` has an id of its own:
without one, VACUUM may give its rows other numbers.
"""

APPLICATION_ID = 0x74_6D_77_76  # "tmwv", in the file's header
SCHEMA_VERSION = 5
SCHEMA = """
CREATE TABLE traces (
    trace_id BLOB PRIMARY KEY, arrival INTEGER NOT NULL, start INTEGER NOT NULL, "end" INTEGER NOT NULL,
    duration INTEGER NOT NULL, spans INTEGER NOT NULL, errors INTEGER NOT NULL,
    bytes INTEGER NOT NULL, scope_bytes INTEGER NOT NULL,
    root_service TEXT, root_name TEXT, first_service TEXT NOT NULL, first_name TEXT NOT NULL
);
CREATE INDEX traces_by_start ON traces (start, trace_id);
CREATE INDEX traces_by_arrival ON traces (arrival);
CREATE TABLE resources (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, service TEXT NOT NULL, bytes INTEGER NOT NULL,
    schema_url TEXT NOT NULL, proto BLOB NOT NULL
);
CREATE TABLE scopes (
    id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, resource INTEGER NOT NULL, bytes INTEGER NOT NULL,
    schema_url TEXT NOT NULL, proto BLOB NOT NULL
);
CREATE INDEX scopes_by_resource ON scopes (resource);
CREATE TABLE spans (
    id INTEGER PRIMARY KEY, trace_id BLOB NOT NULL, span_id BLOB NOT NULL, parent_id BLOB, scope INTEGER NOT NULL,
    name TEXT NOT NULL, kind INTEGER NOT NULL, status INTEGER NOT NULL,
    start INTEGER NOT NULL, "end" INTEGER NOT NULL, bytes INTEGER NOT NULL, proto BLOB NOT NULL
);
CREATE UNIQUE INDEX spans_by_id ON spans (trace_id, span_id);
CREATE INDEX spans_by_start ON spans (trace_id, start, span_id);
CREATE INDEX spans_without_parent ON spans (trace_id, start, span_id) WHERE parent_id IS NULL;
CREATE TABLE shares (
    trace_id BLOB NOT NULL, scope INTEGER NOT NULL, spans INTEGER NOT NULL, errors INTEGER NOT NULL,
    PRIMARY KEY (trace_id, scope)
) WITHOUT ROWID;
CREATE INDEX shares_by_scope ON shares (scope);
CREATE TABLE stretches (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, words BLOB NOT NULL);
"""

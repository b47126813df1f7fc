"""SQL sanitising and summaries: what leaves the process, and what must not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spanwise.privacy.sql import TEXT_LIMIT, _lexer, collapse, describe, redact_message

SUMMARIES = [
    # statement, summary, operation, collection
    ("SELECT tracks.id FROM tracks WHERE tracks.id = ?", "SELECT tracks", "SELECT", "tracks"),
    ("select * from Songs", "select Songs", "select", "Songs"),
    ("SELECT 1", "SELECT", "SELECT", ""),
    ("INSERT INTO invoice (a, b) VALUES (?, ?)", "INSERT invoice", "INSERT", "invoice"),
    ("INSERT INTO a (x) SELECT x FROM b", "INSERT a SELECT b", "INSERT", ""),
    ("INSERT INTO t (a) VALUES (?) ON CONFLICT (a) DO UPDATE SET a = 1", "INSERT t", "INSERT", "t"),
    ("REPLACE INTO t VALUES (1)", "REPLACE t", "REPLACE", "t"),
    ('UPDATE "s"."t" SET a=?', "UPDATE s.t", "UPDATE", "s.t"),
    ('UPDATE "my t" SET a=?', 'UPDATE "my t"', "UPDATE", "my t"),
    ("DELETE FROM t WHERE a IN (SELECT b FROM c FOR UPDATE)", "DELETE t SELECT c", "DELETE", ""),
    ("SELECT * FROM songs, artists AS a", "SELECT songs artists", "SELECT", ""),
    (
        "SELECT a FROM t1, t2 LEFT JOIN t3 ON f(t1.a, t2.b), t4 ORDER BY a, b",
        "SELECT t1 t2 t3 t4",
        "SELECT",
        "",
    ),
    ("SELECT a FROM (t JOIN u ON t.a=u.a)", "SELECT t u", "SELECT", ""),
    ("SELECT a FROM t AS x JOIN t AS y ON x.a=y.b", "SELECT t", "SELECT", "t"),
    (
        "SELECT * FROM (SELECT * FROM orders o JOIN items i ON 1=1) q",
        "SELECT SELECT orders items",
        "SELECT",
        "",
    ),
    ("SELECT * FROM (SELECT * FROM orders) q", "SELECT SELECT orders", "SELECT", "orders"),
    ("SELECT a FROM t UNION SELECT a FROM u", "SELECT t SELECT u", "SELECT", ""),
    ("SELECT EXTRACT(year FROM d), trim(both FROM e) FROM t", "SELECT t", "SELECT", "t"),
    ("SELECT a FROM b WHERE c IS DISTINCT FROM d", "SELECT b", "SELECT", "b"),
    ("SELECT * FROM generate_series(1, 10)", "SELECT", "SELECT", ""),
    ("WITH x AS (SELECT a FROM t) SELECT * FROM x", "SELECT SELECT t", "SELECT", "t"),
    (
        "WITH RECURSIVE x(a) AS (SELECT a FROM t UNION SELECT a FROM x) DELETE FROM u USING x",
        "DELETE u SELECT t SELECT",
        "DELETE",
        "",
    ),
    ("CREATE TABLE IF NOT EXISTS artists (id INTEGER)", "CREATE TABLE artists", "CREATE TABLE", "artists"),
    ("CREATE UNIQUE INDEX ix ON tracks (name)", "CREATE INDEX ix tracks", "CREATE INDEX", "tracks"),
    ("DROP TABLE t", "DROP TABLE t", "DROP TABLE", "t"),
    ("TRUNCATE t", "TRUNCATE t", "TRUNCATE", "t"),
    ("MERGE INTO t USING s ON t.a=s.a WHEN MATCHED THEN UPDATE SET a=1", "MERGE t s", "MERGE", ""),
    ("CALL make_it(1)", "CALL make_it", "CALL", ""),
    ("EXPLAIN SELECT * FROM t", "EXPLAIN SELECT t", "EXPLAIN", "t"),
    # Their names count up, so they'd be a new span name each time.
    ("SAVEPOINT sa_savepoint_1", "SAVEPOINT", "SAVEPOINT", ""),
    ('PRAGMA main.table_info("tracks")', "PRAGMA", "PRAGMA", ""),
    ("SELECT a FROM t; DELETE FROM u", "SELECT t DELETE u", "SELECT", ""),
    ("-- why\n/* who */ SELECT a FROM t", "SELECT t", "SELECT", "t"),
    # Not SQL: its first word is the user's, and must not become a span's name.
    ("frobnicate FROM x", "", "", ""),
    ("", "", "", ""),
    ("   ", "", "", ""),
    ("(SELECT a FROM t) UNION (SELECT b FROM u)", "SELECT t SELECT u", "", ""),
]


@pytest.mark.parametrize(("statement", "summary", "operation", "collection"), SUMMARIES)
def test_summary(statement: str, summary: str, operation: str, collection: str) -> None:
    found = describe(statement)
    assert (found.summary, found.operation, found.collection) == (summary, operation, collection)


TEXTS = [
    # system, statement, text
    ("", "SELECT 'a', 12, 1.5e-3, 0xFF, -3, .5", "SELECT ?, ?, ?, ?, -?, ?"),
    ("", "SELECT 'it''s', N'x', DATE '2020-01-01'", "SELECT ?, ?, DATE ?"),
    ("", "SELECT t1.anon_1, a2 FROM t1", "SELECT t1.anon_1, a2 FROM t1"),
    (
        "",
        "WHERE a=? AND b=:b_1 AND c=%(c_1)s AND d=%s AND e=$1 AND f=@P1 AND g=?1",
        "WHERE a=? AND b=:b_1 AND c=%(c_1)s AND d=%s AND e=$1 AND f=@P1 AND g=?1",
    ),
    ("", "SELECT a /* bob's */ FROM t -- 'x", "SELECT a   FROM t"),
    ("", "SELECT '-- no comment' FROM t", "SELECT ? FROM t"),
    ("", 'SELECT "it\'s" FROM "t"', 'SELECT "it\'s" FROM "t"'),
    ("", "SELECT 'unfinished secret", "SELECT ?"),
    ("oracle.db", "SELECT q'[unfinished ' secret", "SELECT ?"),
    ("sqlite", "SELECT 'C:\\' AND x = 'secret'", "SELECT ? AND x = ?"),
    ("mysql", "SELECT 'it\\'s secret', \"top secret\" FROM `t` # secret", "SELECT ?, ? FROM `t`"),
    ("mysql", "SELECT 5--3", "SELECT ?--?"),
    ("mariadb", "SELECT _utf8'secret' FROM t", "SELECT ? FROM t"),
    (
        "postgresql",
        "SELECT $$it's secret$$, $a$ $$ secret $a$, E'a\\'secret', x::int4",
        "SELECT ?, ?, ?, x::int4",
    ),
    ("oracle.db", "SELECT q'[it's secret]', Q'!it's secret!' FROM dual", "SELECT ?, ? FROM dual"),
    (
        "microsoft.sql_server",
        "SELECT [it's] FROM [dbo].[t] WHERE a = N'secret'",
        "SELECT [it's] FROM [dbo].[t] WHERE a = ?",
    ),
]


TEXTS += [
    # A text in double quotes in a value's place, where a system may take it for one.
    (
        "sqlite",
        'SELECT "a" FROM "t" WHERE "b" = "secret" AND c LIKE "%secret"',
        'SELECT "a" FROM "t" WHERE "b" = ? AND c LIKE ?',
    ),
    (
        "sqlite",
        'INSERT INTO "t" ("a", "b") VALUES ("secret", 1), ("secret", 2) ON CONFLICT ("a") DO NOTHING',
        'INSERT INTO "t" ("a", "b") VALUES (?, ?), ... ON CONFLICT ("a") DO NOTHING',
    ),
    ("sqlite", 'x IN ("secret", "secret")', "x IN (?)"),
    (
        "sqlite",
        'x BETWEEN "secret" AND "secret" AND "a" < /* why */ "secret"',
        'x BETWEEN ? AND ? AND "a" <   ?',
    ),
    ("sqlite", 'a JOIN b ON a.x = "my b"."x"', 'a JOIN b ON a.x = "my b"."x"'),
    ("microsoft.sql_server", 'SELECT a FROM t WHERE b <> "secret"', "SELECT a FROM t WHERE b <> ?"),
    ("postgresql", 'SELECT a FROM t WHERE t.b = "B"', 'SELECT a FROM t WHERE t.b = "B"'),
    ("bigquery", "SELECT '''it's secret''', r\"secret\" FROM `t`", "SELECT ?, r? FROM `t`"),
    # Passwords that are written as names are.
    ("oracle.db", "CREATE USER scott IDENTIFIED BY tiger", "CREATE USER scott IDENTIFIED BY ?"),
    (
        "oracle.db",
        'ALTER USER scott IDENTIFIED BY "Pa$$word" REPLACE tiger',
        "ALTER USER scott IDENTIFIED BY ? REPLACE ?",
    ),
    # Whether the backslash escapes the quote is not known: all that follows may be in the literal.
    ("other_sql", "SELECT 'it\\'s secret' FROM t", "SELECT ?"),
    ("other_sql", "SELECT 'a''b', 'C:\\x' FROM t", "SELECT ?, ? FROM t"),
]


@pytest.mark.parametrize(("system", "statement", "text"), TEXTS)
def test_text_without_literals(system: str, statement: str, text: str) -> None:
    assert describe(statement, system).text == text


@pytest.mark.parametrize(
    "item",
    [
        "?",
        "%s",
        "%(id_1_{})s",
        ":id_1_{}",
        "${}",
        "${}::INTEGER",
        "${}::TIMESTAMP WITHOUT TIME ZONE",
        "{}",
        "'{}'",
    ],
)
def test_lists_of_any_length_are_one_text(item: str) -> None:
    def told(length: int) -> str:
        values = ", ".join(item.replace("{}", str(n)) for n in range(length))
        return describe(f"SELECT a FROM t WHERE b IN ({values}) AND c = :c").text

    assert told(1) == told(2) == told(200) == "SELECT a FROM t WHERE b IN (?) AND c = :c"


def test_rows_of_any_number_are_one_text() -> None:
    def told(rows: int) -> str:
        values = ", ".join(f"(%(a__{n})s, {n}, NULL)" for n in range(rows))
        return describe(f"INSERT INTO t (a, b, c) VALUES {values} RETURNING t.id").text

    assert told(2) == told(200) == "INSERT INTO t (a, b, c) VALUES (%(a__0)s, ?, NULL), ... RETURNING t.id"
    assert told(1) == "INSERT INTO t (a, b, c) VALUES (%(a__0)s, ?, NULL) RETURNING t.id"


def test_many_literals_are_cut() -> None:
    found = describe("INSERT INTO t VALUES " + ", ".join(["(1, 'secret', f(2))"] * 350))
    assert found.summary == "INSERT t"
    assert found.text.endswith("…")
    assert "secret" not in found.text


@given(
    st.lists(
        st.sampled_from(
            ["IN", "(", ")", ",", "?", "1", "''", "'", '"', "--", "/*", "*/", "$1", ":a", "%s", "NULL\n"]
        ),
        max_size=40,
    )
)
def test_taking_lists_together_tells_no_literal(parts: list[str]) -> None:
    """Quotes and comments begin and end where they did: what was in a literal is still in it."""
    before = " ".join([*parts, "secret"])
    for system in ("sqlite", "postgresql", "mysql"):
        plain = [m.lastgroup for m in _lexer(system).finditer(before) if "secret" in m.group()]
        taken = [m.lastgroup for m in _lexer(system).finditer(collapse(before)) if "secret" in m.group()]
        assert plain == taken or taken == ["comment"]


@given(
    secret=st.text(st.characters(codec="utf-8", exclude_characters="\\"), min_size=4, max_size=30),
    system=st.sampled_from(["", "sqlite", "postgresql", "mysql", "oracle.db", "microsoft.sql_server"]),
)
def test_a_quoted_literal_never_appears(secret: str, system: str) -> None:
    marked = f"zq{secret}zq"
    literal = marked.replace("'", "''")
    statement = f"SELECT a FROM t WHERE b = '{literal}' AND c = ?"
    assert describe(statement, system).text == "SELECT a FROM t WHERE b = ? AND c = ?"


@given(
    statement=st.text(max_size=300),
    system=st.sampled_from(["", "mysql", "postgresql", "oracle.db", "sqlite"]),
)
def test_any_text_is_described(statement: str, system: str) -> None:
    found = describe(statement, system)
    assert len(found.summary) <= 255
    assert len(found.text) <= len(statement) + 1


def test_a_long_statement_is_cut_and_marked() -> None:
    found = describe("SELECT a FROM t WHERE b = f(" + "tracks.nr, " * 10_000 + "'secret')")
    assert TEXT_LIMIT / 2 < len(found.text) <= TEXT_LIMIT + 1
    assert found.text.endswith("…")
    assert found.summary == "SELECT t"


def test_a_literal_across_the_cut_does_not_leak() -> None:
    found = describe("SELECT a FROM t WHERE b = '" + "secret" * 3000 + "'")
    assert "secret" not in found.text
    assert found.text == "SELECT a FROM t WHERE b = ?…"


def test_a_summary_is_cut_between_parts() -> None:
    summary = describe("SELECT a FROM " + ", ".join(f"table_number_{n:02}" for n in range(30))).summary
    assert 200 < len(summary) <= 255
    assert re.fullmatch(r"SELECT( table_number_\d\d)+", summary)


MESSAGES = [
    ("UNIQUE constraint failed: tracks.name", "UNIQUE constraint failed: tracks.name"),
    ("Duplicate entry 'bob@example.org' for key 'users.email'", "Duplicate entry ? for key ?"),
    ('relation "users" does not exist\nLINE 1: SELECT 1 FROM users', 'relation "users" does not exist'),
    ("duplicate key value\nDETAIL:  Key (email)=(bob@example.org) already exists.", "duplicate key value"),
    ('invalid input syntax for type integer: "secret"', "invalid input syntax for type integer: ?"),
    ("The duplicate key value is (bob@example.org).", "The duplicate key value is ?."),
    ("Key (email)=(bob@example.org) exists", "Key (email)=? exists"),
    ("near 'unfinished", "near ?"),
    # What PostgreSQL says of a value, as a server said it.
    ('value "4111111111111111" is out of range for type integer', "value ? is out of range for type integer"),
    (
        'trailing junk after numeric literal at or near "4111x"',
        "trailing junk after numeric literal at or near ?",
    ),
    ('syntax error at or near "secret"', "syntax error at or near ?"),
    ('time zone "secret-zone" not recognized', "time zone ? not recognized"),
    ('invalid value "se" for "HH24"', "invalid value ? for ?"),
    ('could not open server file "/home/secret": No such file', "could not open server file ?: No such file"),
    ('invalid source encoding name "secret"', "invalid source encoding name ?"),
    (
        'unrecognized configuration parameter "secret.name"',
        "unrecognized configuration parameter ?",
    ),
    ('"secret" is not a number', "? is not a number"),
    ('invalid input syntax for type integer: "it\'s secret"', "invalid input syntax for type integer: ?"),
    ('missing "=" after "secret" in connection info string', "missing ? after ? in connection info string"),
    (
        "invalid input for query argument $1: {'card': 4111} (expected str, got dict)",
        "invalid input for query argument ?",
    ),
    # Names stay.
    (
        'null value in column "email" of relation "users" violates not-null constraint',
        'null value in column "email" of relation "users" violates not-null constraint',
    ),
    (
        'duplicate key value violates unique constraint "users_email_key"',
        'duplicate key value violates unique constraint "users_email_key"',
    ),
    (
        'connection to server at "db.local", port 5432 failed: FATAL:  database "shop" does not exist',
        'connection to server at "db.local", port 5432 failed: FATAL:  database "shop" does not exist',
    ),
    # SQLite, MySQL, SQL Server, Oracle.
    ('near "secret": syntax error', "near ?: syntax error"),
    ('unrecognized token: "\'secret"', "unrecognized token: ?"),
    (
        "(1062, \"Duplicate entry 'secret' for key 'users.email'\")",
        '(1062, "Duplicate entry ? for key ?")',
    ),
    ("(1062, 'Duplicate entry \\'secret\\' for key')", "(1062, 'Duplicate entry \\? for key')"),
    (
        "(2627, b'Violation. The duplicate key value is (secret).')",
        "(2627, 'Violation. The duplicate key value is ?.')",
    ),
    (
        "('23000', '[23000] [Microsoft] The duplicate key value is (4111111111111111). (2601)')",
        "('23000', '[23000] [Microsoft] The duplicate key value is ?. (2601)')",
    ),
    (
        "Arithmetic overflow error for type int, value = 99999.000000.",
        "Arithmetic overflow error for type int, value =?.",
    ),
    ("number 99999999999 is out of range, as is -4111111111111111", "number ? is out of range, as is ?"),
    ("ORA-00942: table or view does not exist", "ORA-00942: table or view does not exist"),
    ("", ""),
]


@pytest.mark.parametrize(("message", "redacted"), MESSAGES)
def test_messages_lose_their_values(message: str, redacted: str) -> None:
    assert redact_message(message) == redacted

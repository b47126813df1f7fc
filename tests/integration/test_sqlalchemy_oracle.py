"""The same traffic on SQLAlchemy, told by contrib's instrumentor and by ours: every difference is meant.

On SQLAlchemy 2.0, the newest that contrib runs on, in an environment of its own.
"""

# ruff: noqa: E402  (the comparison is imported by path)

from __future__ import annotations

import functools
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
for folder in (HERE, HERE.parent):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from servers import postgres

from environments import environment, run
from oracle_compare import MODES, Intended, differences, unexplained

TRAFFIC = HERE / "sqlalchemy_traffic.py"
NEW, OLD, DUP, UNSET = "new", "old", "dup", "unset"
FAILING = "[af]*"  # asynchronous, fails: …


def verb(text: str | None) -> str:
    return str(text).partition(" ")[0].upper()


def same_verb(ours: Any, theirs: Any) -> bool:
    """Contrib's is the statement's first word and the database."""
    return verb(str(ours).removeprefix("BATCH ")) == verb(theirs)


def redacted(ours: Any, theirs: Any) -> bool:
    """Ours is theirs but for literals and comments of the application's; our own comment stays."""
    comment = re.compile(r" ?/\*.*?\*/ ?")
    bare = re.escape(comment.sub("", ours).strip().rstrip(";")).replace(r"\?", r"('[^']*'|\d+|\?)")
    return re.fullmatch(bare, comment.sub("", theirs).strip().rstrip(";")) is not None


def unescaped(ours: Any, theirs: Any) -> bool:
    return all(
        one in (other, other.replace("%%", "%")) or ("by hand" in one and one in other)
        for one, other in zip(ours, theirs, strict=True)
    )


def of_with(ours: Any, theirs: Any) -> bool:
    return str(ours).startswith("SELECT") and verb(theirs) == "WITH"


# The intended differences, each with its reason.
TABLE = [
    *(
        Intended(
            what,
            "WITH is no operation: what follows it is.",
            steps="common table expression",
            modes=modes,
            holds=of_with,
        )
        for what, modes in (
            ("span: name", ()),
            ("attribute changed: db.operation.name", (NEW, DUP)),
            ("attribute changed: db.operation", (OLD, DUP)),
        )
    ),
    Intended(
        "span missing: connect",
        "It times a pool check-out, says nothing of the statement, and doubles the spans.",
    ),
    Intended(
        "span: name",
        "The convention's name is the query summary; contrib's is the verb and the database.",
        holds=same_verb,
    ),
    Intended(
        "attribute changed: db.operation.name",
        "contrib's is its span's name, 'INSERT store'; meant is the verb.",
        modes=(NEW, DUP),
        holds=same_verb,
    ),
    Intended(
        "attribute changed: db.operation", "The same, under its old name.", modes=(OLD, DUP), holds=same_verb
    ),
    Intended(
        "attribute added: db.query.summary",
        "Recommended by the convention; the name is made of it.",
        modes=(NEW, DUP, UNSET),
    ),
    Intended(
        "attribute added: db.collection.name",
        "Which table is what one asks first; left out unless there is exactly one.",
        modes=(NEW, DUP, UNSET),
    ),
    Intended("attribute added: db.sql.table", "The same, under its old name.", modes=(OLD, DUP)),
    Intended(
        "attribute added: db.operation.batch.size",
        "The convention asks for it with executemany.",
        steps="batch",
        modes=(NEW, DUP, UNSET),
        holds=lambda ours, _: ours == 2,
    ),
    Intended(
        "attribute changed: db.query.text",
        "Literals in a statement that isn't parametrised may be personal data.",
        modes=(NEW, DUP),
        holds=redacted,
    ),
    Intended(
        "attribute changed: db.statement", "The same, under its old name.", modes=(OLD, DUP), holds=redacted
    ),
    Intended(
        "attribute added: error.type", "Required by the convention when the operation failed.", steps=FAILING
    ),
    Intended(
        "attribute added: db.response.status_code",
        "Required by the convention when the database told one.",
        steps=FAILING,
    ),
    Intended(
        "event added: exception",
        "The exception's class, which error.type hides behind the database's code.",
        steps=FAILING,
    ),
    Intended(
        "attribute added: spanwise.db.repeated.*",
        "Ours: a request that runs a statement many times is flagged.",
        steps="many in one request",
    ),
    Intended(
        "note changed: executed",
        "A statement with a comment is left alone, as sqlcommenter asks; a percent sign is doubled only where"
        " the driver reads it as a parameter.",
        steps="*comments*",
        holds=unescaped,
    ),
    Intended(
        "metric added: db.client.operation.duration",
        "Required by the convention; contrib has no duration.",
        modes=(NEW, DUP, UNSET),
    ),
    Intended(
        "metric added: db.client.connection.*",
        "The convention's pool metrics; contrib has the usage alone, under its old name.",
        modes=(NEW, DUP, UNSET),
    ),
    Intended(
        "metric missing: db.client.connections.usage",
        "db.client.connection.count has replaced it.",
        modes=(NEW, UNSET),
    ),
    Intended(
        "metric added: db.client.connection.down", "Ours: whether the database can be reached.", modes=(OLD,)
    ),
    Intended(
        "db.client.connections.usage: points",
        "contrib goes on telling of pools that are gone, and of engines it was switched off for.",
        steps="asynchronous",
        modes=(OLD, DUP),
    ),
    # Unset: the stable names are this distribution's default, contrib's are the old ones.
    *(
        Intended(f"attribute added: {name}", "The stable names are the default here.", modes=(UNSET,))
        for name in ("db.system.name", "db.namespace", "db.operation.name", "db.query.text")
    ),
    *(
        Intended(f"attribute missing: {name}", "The stable names are the default here.", modes=(UNSET,))
        for name in ("db.system", "db.name", "db.operation", "db.statement")
    ),
]


@functools.cache
def python() -> str:
    return environment(
        "sqlalchemy-oracle",
        ["aiosqlite>=0.19,<0.22", "sqlalchemy==2.0.*", "greenlet", "psycopg[binary]"],
    )


def told(whose: str, mode: str, url: str, asynchronous: str, secret: str) -> dict[str, Any]:
    """The steps, without what is never the same."""
    asked = MODES[mode]
    env = {} if asked is None else {"OTEL_SEMCONV_STABILITY_OPT_IN": asked}
    printed = run(python(), str(TRAFFIC), whose, url, asynchronous, env=env)
    steps: dict[str, Any] = json.loads(printed.replace(secret, "PLACE"))
    return steps


def on_sqlite(whose: str, mode: str, folder: Path) -> dict[str, Any]:
    place = folder / whose
    place.mkdir()
    return told(whose, mode, f"sqlite:///{place}/a.db", f"sqlite+aiosqlite:///{place}/a.db", str(place))


def connecting(span: Any) -> bool:
    return bool(span["name"] == "connect")


@pytest.mark.parametrize("mode", MODES)
def test_what_differs_is_meant(mode: str, tmp_path: Path) -> None:
    found = differences(on_sqlite("ours", mode, tmp_path), on_sqlite("contrib", mode, tmp_path), connecting)
    left = unexplained(found, TABLE, mode)
    assert not left, "\n".join(left)


def test_the_setting_switches_to_contrib(tmp_path: Path) -> None:
    switched, contrib = (on_sqlite(whose, NEW, tmp_path) for whose in ("switched", "contrib"))
    contrib = {step: contrib[step] for step in switched}
    assert "comments" not in switched
    assert differences(switched, contrib) == []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with postgres(tmp_path_factory.mktemp("postgres")) as url:
        yield url


# On PostgreSQL besides, and instead.
POSTGRES = [
    *(entry for entry in TABLE if entry.what != "db.client.connections.usage: points"),
    Intended(
        "db.client.connections.usage: value",
        "contrib still counts a connection of an engine that it was switched off for.",
        steps="asynchronous",
        modes=(DUP,),
        holds=lambda ours, theirs: (ours, theirs) == (1, 2),
    ),
    Intended(
        "span: description",
        "The first line of the server's message: the next ones quote the statement, or the row.",
        steps=FAILING,
        holds=lambda ours, theirs: ours == theirs.partition("\n")[0],
    ),
    Intended(
        "metric added: db.client.response.returned_rows",
        "The convention has it, and this driver knows the number without fetching.",
        modes=(NEW, DUP),
    ),
]


@pytest.mark.real
@pytest.mark.parametrize("mode", [NEW, DUP])
def test_what_differs_is_meant_on_postgres(mode: str, server: str) -> None:
    place = server.partition("@")[2]
    ours, theirs = (told(whose, mode, server, server, place) for whose in ("ours", "contrib"))
    found = differences(ours, theirs, connecting)
    left = unexplained(found, POSTGRES, mode)
    assert not left, "\n".join(left)

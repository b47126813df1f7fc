"""The same traffic on a real Redis under contrib's instrumentor and ours: every difference is meant.

In each mode of OTEL_SEMCONV_STABILITY_OPT_IN, one by one: names, kinds, parents, status, attributes, events,
metrics. A difference that is not in the list fails, and so does one in the list that no longer occurs.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from servers import ROOT, redis_server

from environments import run

sys.path.insert(0, str(ROOT / "tests"))

from oracle_compare import MODES, Difference, Intended, differences, unexplained

pytestmark = pytest.mark.real

STABLE = ("unset", "new", "dup")
TRAFFIC = str(ROOT / "tests" / "redis_traffic.py")
SECRETS = ("secret", "spoken")


def _says(*parts: str) -> Any:
    return lambda ours, _: all(part in str(ours) for part in parts)


INTENDED = [
    # -- the stable names -------------------------------------------------------------------------
    *(
        Intended(
            f"attribute {what}: {key}",
            "Unset means the stable names here, the old ones there.",
            modes=("unset",),
        )
        for what, keys in (
            ("added", ("db.system.name", "db.query.text", "server.address", "server.port")),
            (
                "missing",
                (
                    *("db.system", "db.statement", "db.redis.database_index"),
                    *("net.peer.name", "net.peer.port", "net.transport"),
                ),
            ),
        )
        for key in keys
    ),
    Intended("attribute added: db.operation.name", "Required by the convention.", modes=STABLE),
    Intended(
        "attribute added: db.namespace",
        "The database's index; contrib has no stable name for it.",
        modes=STABLE,
    ),
    Intended("attribute added: network.peer.*", "Recommended by the convention.", modes=STABLE),
    Intended(
        "attribute missing: network.transport",
        "Not in the convention's list; a socket is told by its path as the address.",
        modes=("new", "dup"),
    ),
    Intended(
        "attribute missing: db.redis.args_length",
        "In no convention; db.query.text has a ? for each argument. Written with the old names.",
        modes=("unset", "new"),
    ),
    Intended(
        "attribute missing: db.redis.pipeline_length",
        "In no convention, which has db.operation.batch.size. Written with the old names.",
        modes=("unset", "new"),
    ),
    Intended(
        "attribute added: db.stored_procedure.name",
        "Recommended by the convention for EVALSHA and FCALL.",
        steps="*script*",
        modes=STABLE,
    ),
    Intended(
        "attribute added: redis.client.operation.blocking",
        "A command that waits for data is not slow: thresholds and percentiles can leave it out.",
        modes=STABLE,
        holds=lambda ours, _: ours is True,
    ),
    Intended("metric added: db.client.operation.duration", "Required by the convention.", modes=STABLE),
    # -- pipelines --------------------------------------------------------------------------------
    Intended(
        "span: name",
        "The summary: each command once, however many there are; contrib's name grows with the pipeline.",
        steps="*pipeline*",
        holds=lambda ours, theirs: ours.split()[0] in ("PIPELINE", "MULTI") and ours.split()[1] in theirs,
    ),
    Intended(
        "span: name",
        "The same for a transaction.",
        steps="*transaction*",
        holds=_says("MULTI INCRBY EXPIRE"),
    ),
    Intended("attribute added: db.query.summary", "Recommended; the name is made of it.", modes=STABLE),
    Intended(
        "attribute added: db.operation.batch.size", "Recommended for two operations and more.", modes=STABLE
    ),
    Intended(
        "attribute changed: db.query.text",
        "Commands that are alike are written once, says the convention.",
        steps="pipeline alike",
        modes=("new", "dup"),
        holds=lambda ours, theirs: f"{ours}\n{ours}" == theirs,
    ),
    Intended(
        "attribute changed: db.statement",
        "The same text under its old name.",
        steps="pipeline alike",
        modes=("old", "dup"),
        holds=lambda ours, theirs: f"{ours}\n{ours}" == theirs,
    ),
    Intended("span missing: redis", "An empty pipeline sends nothing.", steps="pipeline empty"),
    # -- names ------------------------------------------------------------------------------------
    Intended(
        "span: name",
        "The command as everywhere else; with contrib's name go the found documents, as attributes.",
        steps="fail search",
        holds=lambda ours, theirs: (ours, theirs) == ("FT.SEARCH", "redis.search"),
    ),
    Intended(
        "span: name",
        "redis-py splits one string into command and arguments: those may be secret.",
        steps="one string",
        holds=lambda ours, theirs: (ours, theirs) == ("SET", "SET spoken secret"),
    ),
    Intended(
        "attribute changed: db.query.text", "The same.", "one string", ("new", "dup"), holds=_says("SET ? ?")
    ),
    Intended(
        "attribute changed: db.statement", "The same.", "one string", ("old", "dup"), holds=_says("SET ? ?")
    ),
    # -- errors -----------------------------------------------------------------------------------
    Intended(
        "attribute added: error.type", "Required by the convention when the operation failed.", "*fail*"
    ),
    Intended("attribute added: error.type", "The same: a script that has to be loaded first.", "script"),
    Intended(
        "attribute added: db.response.status_code",
        "Required by the convention when Redis told one.",
        modes=STABLE,
        holds=lambda ours, _: ours.isupper(),
    ),
    Intended(
        "span: description",
        "Without the exception's class, which the event has, and without what Redis repeats of the command.",
        holds=lambda ours, _: not any(secret in ours for secret in SECRETS),
    ),
    Intended(
        "event attribute changed: exception.message",
        "Redis repeats the command's arguments in its messages, redis-py those of a pipeline.",
        holds=lambda ours, _: not any(secret in ours for secret in SECRETS),
    ),
    Intended("event attribute missing: exception.stacktrace", "It repeats the unredacted message."),
    Intended("event attribute missing: exception.escaped", "Deprecated by the convention."),
    Intended(
        "span: status",
        "A cancelled command has failed, as with our other instrumentors; contrib looks at Exception only.",
        steps="fail cancelled",
        holds=lambda ours, theirs: (ours, theirs) == ("ERROR", "UNSET"),
    ),
    Intended("event added: exception", "The same.", steps="fail cancelled"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as url:
        yield url.rpartition(":")[2].partition("/")[0]


@cache
def told(port: str, instrumentor: str, mode: str) -> Any:
    asked = MODES[mode]
    env = {} if asked is None else {"OTEL_SEMCONV_STABILITY_OPT_IN": asked}
    return json.loads(run(sys.executable, TRAFFIC, instrumentor, port, env=env))["steps"]


def found(port: str, mode: str) -> list[Difference]:
    return differences(told(port, "ours", mode), told(port, "contrib", mode))


@pytest.mark.parametrize("mode", MODES)
def test_each_difference_is_meant(server: str, mode: str) -> None:
    assert unexplained(found(server, mode), INTENDED, mode) == []


@pytest.mark.parametrize("mode", MODES)
def test_nothing_secret_is_told(server: str, mode: str) -> None:
    everything = json.dumps(told(server, "ours", mode))
    assert "SET ? ?" in everything
    assert [secret for secret in SECRETS if secret in everything] == []


def test_what_is_told_is_what_happened(server: str) -> None:
    # Against an oracle that tells nothing, no difference could be found.
    spans = [span for step in told(server, "contrib", "new").values() for span in step["spans"]]
    assert len(spans) > 50
    assert Path(TRAFFIC).exists()

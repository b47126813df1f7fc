"""Every supported version of redis-py gives the same spans, in clean environments, on real servers.

What is replaced in redis-py, and what of it has no public way (instrumentors/_redis_shape.py), holds for the
versions that are tested here.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
from redis_servers import redis_cluster, redis_sentinel
from servers import ROOT, redis_server

from environments import environment, run

sys.path.insert(0, str(ROOT / "tests"))

from oracle_compare import differences

pytestmark = pytest.mark.real

VERSIONS = ("4.6", "5.3", "6.4", "7.4")
NEWEST = "newest"
EVERY = [*VERSIONS, NEWEST]


class Ports(NamedTuple):
    server: str
    cluster: tuple[int, int]
    sentinel: str
    found: int


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ports]:
    folder = tmp_path_factory.mktemp
    with (
        redis_server(folder("redis")) as url,
        redis_cluster(folder("cluster")) as cluster,
        redis_sentinel(folder("sentinel")) as (sentinel, found),
    ):
        yield Ports(url.rpartition(":")[2].partition("/")[0], cluster, str(sentinel), found)


@cache
def told(version: str, program: str, *arguments: str) -> Any:
    wanted = "redis" if version == NEWEST else f"redis=={version}.*"
    python = environment(f"redis-{version}", [wanted])
    found = json.loads(run(python, str(ROOT / "tests" / program), *arguments))
    assert version == NEWEST or found["version"].startswith(version + ".")
    return found["steps"]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_gives_the_same_spans(ports: Ports, version: str) -> None:
    one, newest = (told(each, "redis_traffic.py", "ours", ports.server) for each in (version, NEWEST))
    assert differences(one, newest) == []
    assert [span["name"] for span in newest["watch"]["spans"]] == ["WATCH", "GET", "SET", "SET"]
    assert {span["status"] for span in newest["watch"]["spans"]} == {"UNSET"}
    assert newest["subscriber"]["spans"][0]["name"] == "PUBLISH"
    assert len(newest["subscriber"]["spans"]) == 1


FIRST, SECOND = 0, 1
# step, name, the nodes that answered
CLUSTER = (
    ("first node", "SET", [FIRST]),
    ("second node", "SET", [SECOND]),
    ("fail", "LPUSH", [SECOND]),
    ("pipeline", "PIPELINE SET GET", [SECOND]),
    ("async first node", "SET", [FIRST]),
    ("async second node", "SET", [SECOND]),
    ("async fail", "LPUSH", [SECOND]),
    ("async at once", "GET", [FIRST, SECOND]),
    ("async pipeline", "PIPELINE SET GET", [SECOND]),
    ("transaction", "MULTI SET GET", [SECOND]),
    ("async transaction", "MULTI SET GET", [SECOND]),
)
SINCE_6_1 = ("transaction", "async transaction")


@pytest.mark.parametrize("version", EVERY)
def test_a_cluster_s_node_is_told(ports: Ports, version: str) -> None:
    steps = told(version, "redis_topologies.py", "cluster", str(ports.cluster[0]))
    for step, name, nodes in CLUSTER:
        if step in SINCE_6_1 and version in ("4.6", "5.3"):
            assert step not in steps
            continue
        spans = steps[step]["spans"]
        answered = [ports.cluster[node] for node in nodes]
        assert [span["name"] for span in spans] == [name] * len(nodes), step
        for key in ("server.port", "network.peer.port"):
            assert [span["attributes"][key] for span in spans] == answered, step
        for key in ("server.address", "network.peer.address"):
            assert {span["attributes"][key] for span in spans} == {"127.0.0.1"}, step
        (metric,) = steps[step]["metrics"]
        assert [point["attributes"]["server.port"] for point in metric["points"]] == answered, step
    (span,) = steps["all nodes"]["spans"]
    assert span["attributes"]["server.port"] in ports.cluster
    assert steps["pipeline empty"]["spans"] == []


@pytest.mark.parametrize("version", EVERY)
def test_what_sentinel_found_is_told(ports: Ports, version: str) -> None:
    steps = told(version, "redis_topologies.py", "sentinel", ports.sentinel)
    for step, name in (("sentinel", "SET"), ("sentinel pipeline", "PIPELINE GET"), ("async sentinel", "SET")):
        (span,) = steps[step]["spans"]
        assert (span["name"], span["attributes"]["server.port"]) == (name, ports.found), step
        assert span["attributes"]["network.peer.address"] == "127.0.0.1"

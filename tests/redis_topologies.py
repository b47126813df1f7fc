"""Traffic on a Redis cluster and through Sentinel, as a program of its own.

``python redis_topologies.py cluster PORT`` and ``… sentinel PORT`` print what was told of each step, as JSON
(see oracle_compare).
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from oracle_compare import Recorder

recorder = Recorder()
import redis  # noqa: E402
import redis.asyncio  # noqa: E402

from spanwise.instrumentors.redis import RedisInstrumentor  # noqa: E402

RedisInstrumentor().instrument(
    tracer_provider=recorder.tracer_provider, meter_provider=recorder.meter_provider, info=len(sys.argv) > 3
)
PORT = int(sys.argv[2])
FIRST, LAST = "{06S}key", "{6ZJ}key"  # in the first and in the last slot: on the first and the second node


def cluster() -> None:
    client = redis.cluster.RedisCluster(host="127.0.0.1", port=PORT)
    client.get(FIRST)
    with recorder.step("first node"):
        client.set(FIRST, "secret")
    with recorder.step("second node"):
        client.set(LAST, "secret")
    with recorder.step("fail"), suppress(redis.ResponseError):
        client.lpush(LAST, "secret")
    with recorder.step("all nodes"):
        client.ping(target_nodes=redis.cluster.RedisCluster.ALL_NODES)
    with recorder.step("pipeline"):
        pipe = client.pipeline()
        pipe.set(LAST, "secret")
        pipe.get(LAST)
        pipe.execute()
    with recorder.step("pipeline empty"):
        client.pipeline().execute()


async def cluster_async() -> None:
    client = redis.asyncio.cluster.RedisCluster(host="127.0.0.1", port=PORT)
    await client.get(FIRST)
    with recorder.step("async first node"):
        await client.set(FIRST, "secret")
    with recorder.step("async second node"):
        await client.set(LAST, "secret")
    with recorder.step("async fail"), suppress(redis.ResponseError):
        await client.lpush(LAST, "secret")
    with recorder.step("async at once"):
        await asyncio.gather(client.get(FIRST), client.get(LAST))
    with recorder.step("async pipeline"):
        pipe = client.pipeline()
        pipe.set(LAST, "secret")
        pipe.get(LAST)
        await pipe.execute()
    await getattr(client, "aclose", client.close)()


def transactions() -> None:
    # redis-py has them since 6.1.
    client = redis.cluster.RedisCluster(host="127.0.0.1", port=PORT)
    with recorder.step("transaction"):
        pipe = client.pipeline(transaction=True)
        pipe.set(LAST, "secret")
        pipe.get(LAST)
        pipe.execute()


async def transactions_async() -> None:
    client = redis.asyncio.cluster.RedisCluster(host="127.0.0.1", port=PORT)
    await client.initialize()
    with recorder.step("async transaction"):
        pipe = client.pipeline(transaction=True)
        pipe.set(LAST, "secret")
        pipe.get(LAST)
        await pipe.execute()
    await getattr(client, "aclose", client.close)()


def sentinel() -> None:
    client = redis.Sentinel([("127.0.0.1", PORT)]).master_for("main")
    client.ping()
    with recorder.step("sentinel"):
        client.set("key", "secret")
    with recorder.step("sentinel pipeline"), client.pipeline(transaction=False) as pipe:
        pipe.get("key").get("key")
        pipe.execute()


async def sentinel_async() -> None:
    client = redis.asyncio.Sentinel([("127.0.0.1", PORT)]).master_for("main")
    await client.ping()
    with recorder.step("async sentinel"):
        await client.set("key", "secret")
    await getattr(client, "aclose", client.close)()


if sys.argv[1] == "cluster":
    cluster()
    asyncio.run(cluster_async())
    if redis.VERSION >= (6, 1):
        transactions()
        asyncio.run(transactions_async())
else:
    sentinel()
    asyncio.run(sentinel_async())
print(json.dumps({"version": redis.__version__, "steps": recorder.steps}))

"""Traffic for the Redis instrumentors, ours and contrib's, on a real server, as a program of its own.

``python redis_traffic.py ours|contrib PORT`` prints, as JSON, the version of redis-py and what was told of
each step (see oracle_compare). It needs the SDK, redis-py and the instrumentor, and no pytest.
"""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from oracle_compare import Recorder

recorder = Recorder()
import redis  # noqa: E402
import redis.asyncio  # noqa: E402
from opentelemetry.instrumentation.utils import suppress_instrumentation  # noqa: E402

PORT = int(sys.argv[2])
early = redis.Redis(host="127.0.0.1", port=PORT)  # made before instrumenting
if sys.argv[1] == "contrib":
    from opentelemetry.instrumentation.redis import RedisInstrumentor

    options: dict[str, Any] = {}
else:
    from spanwise.instrumentors.redis import RedisInstrumentor

    options = {"info": False}  # its figures change with each run; they have tests of their own
RedisInstrumentor().instrument(
    tracer_provider=recorder.tracer_provider, meter_provider=recorder.meter_provider, **options
)
late = redis.Redis(host="127.0.0.1", port=PORT, db=1)
tracer = recorder.tracer_provider.get_tracer("traffic")


def synchronous() -> None:
    early.flushall()
    early.script_flush()
    for name, client in (("early", early), ("late", late)):
        with recorder.step(f"{name} commands"), tracer.start_as_current_span("request"):
            client.set("key", "secret")
            client.get("key")
            client.get("key")
            client.mget("key", "other")
            client.config_get("maxmemory")
            client.execute_command("CLIENT", "GETNAME")
    with recorder.step("fail response"), suppress(redis.ResponseError):
        early.lpush("key", "secret")
    with recorder.step("fail unknown"), suppress(redis.ResponseError):
        early.execute_command("NONSENSE", "secret")
    with recorder.step("fail script missing"), suppress(redis.ResponseError):
        early.evalsha("0" * 40, 0)
    with recorder.step("fail search"), suppress(redis.ResponseError):
        early.execute_command("FT.SEARCH", "index", "secret")
    with recorder.step("fail connection"), suppress(redis.ConnectionError):
        redis.Redis(host="127.0.0.1", port=1, retry=None).get("key")
    with recorder.step("script"):
        early.eval("return ARGV[1]", 0, "secret")
        early.register_script("return 1")()
    with recorder.step("blocking"):
        early.blpop("empty", timeout=0.01)
    with recorder.step("suppressed"), suppress_instrumentation():
        early.get("key")
    with recorder.step("publish"):
        early.publish("channel", "secret")
    with recorder.step("one string"):
        early.execute_command("SET spoken secret")


def pipelines() -> None:
    with recorder.step("pipeline"), early.pipeline(transaction=False) as pipe:
        pipe.set("a", "secret").set("b", "secret").get("a")
        pipe.execute()
    with recorder.step("pipeline alike"), early.pipeline(transaction=False) as pipe:
        pipe.get("a").get("b")
        pipe.execute()
    with recorder.step("pipeline of one"), early.pipeline() as pipe:
        pipe.get("a")
        pipe.execute()
    with recorder.step("pipeline empty"), early.pipeline() as pipe:
        pipe.execute()
    with recorder.step("transaction"), early.pipeline() as pipe:
        pipe.incr("number").expire("number", 60)
        pipe.execute()
    with recorder.step("fail pipeline"), early.pipeline() as pipe, suppress(redis.ResponseError):
        pipe.set("a", "secret").lpush("a", "secret")
        pipe.execute()
    with recorder.step("pipeline keeps errors"), early.pipeline(transaction=False) as pipe:
        pipe.set("a", "secret").lpush("a", "secret")
        pipe.execute(raise_on_error=False)
    with recorder.step("watch"), early.pipeline() as pipe, suppress(redis.WatchError):
        pipe.watch("a")
        pipe.get("a")
        late_same = redis.Redis(host="127.0.0.1", port=PORT)
        late_same.set("a", "changed")
        pipe.multi()
        pipe.set("a", "secret")
        pipe.execute()


async def asynchronous() -> None:
    client = redis.asyncio.Redis(host="127.0.0.1", port=PORT)
    with recorder.step("async commands"), tracer.start_as_current_span("request"):
        await client.set("key", "secret")
        await client.get("key")
    with recorder.step("fail async"), suppress(redis.ResponseError):
        await client.lpush("key", "secret")
    with recorder.step("async pipeline"):
        async with client.pipeline(transaction=False) as pipe:
            pipe.set("a", "secret").get("a")
            await pipe.execute()
    with recorder.step("async transaction"):
        async with client.pipeline() as pipe:
            pipe.incr("number").expire("number", 60)
            await pipe.execute()
    with recorder.step("async watch"):
        async with client.pipeline() as pipe:
            with suppress(redis.WatchError):
                await pipe.watch("a")
                await client.set("a", "changed")
                pipe.multi()
                pipe.set("a", "secret")
                await pipe.execute()
    with recorder.step("async at once"):

        async def one(number: int) -> None:
            with tracer.start_as_current_span(f"request {number}"):
                await client.get("key")

        await asyncio.gather(*(one(number) for number in range(3)))
    with recorder.step("fail cancelled"):
        waiting = asyncio.ensure_future(client.blpop("empty", timeout=0))
        with suppress_instrumentation():
            while "blpop" not in str(early.client_list()):
                await asyncio.sleep(0.01)
        waiting.cancel()
        with suppress(asyncio.CancelledError):
            await waiting
    await getattr(client, "aclose", client.close)()


def subscriber() -> None:
    with recorder.step("subscriber"):
        pubsub = early.pubsub()
        pubsub.subscribe("channel")
        pubsub.get_message(timeout=1)
        early.publish("channel", "secret")
        while pubsub.get_message(timeout=1) is None:
            pass
        pubsub.close()


synchronous()
pipelines()
asyncio.run(asynchronous())
subscriber()
print(json.dumps({"version": redis.__version__, "steps": recorder.steps}))

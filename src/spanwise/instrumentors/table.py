"""The libraries that spanwise instruments itself, and the module each instrumentor waits for."""

from __future__ import annotations

__all__ = ["INSTRUMENTORS", "LIGHT", "STABLE_ONLY", "TRIGGERS"]

# By contrib's entry-point name, so that both answer to the same allow- and deny-list.
INSTRUMENTORS: dict[str, str] = {
    "cachetools": "spanwise.instrumentors.cachetools:CachetoolsInstrumentor",
    "circuitbreaker": "spanwise.instrumentors.circuitbreaker:CircuitbreakerInstrumentor",
    "diskcache": "spanwise.instrumentors.diskcache:DiskcacheInstrumentor",
    "flask": "spanwise.instrumentors.flask:FlaskInstrumentor",
    "flask_caching": "spanwise.instrumentors.flask_caching:FlaskCachingInstrumentor",
    "functools": "spanwise.instrumentors.functools:FunctoolsInstrumentor",
    "httpx": "spanwise.instrumentors.httpx:HTTPXClientInstrumentor",
    "logging": "spanwise.instrumentors.logging:LoggingInstrumentor",
    "pluggy": "spanwise.instrumentors.pluggy:PluggyInstrumentor",
    "pybreaker": "spanwise.instrumentors.pybreaker:PybreakerInstrumentor",
    "pymemcache": "spanwise.instrumentors.pymemcache:PymemcacheInstrumentor",
    "redis": "spanwise.instrumentors.redis:RedisInstrumentor",
    "requests": "spanwise.instrumentors.requests:RequestsInstrumentor",
    "sqlalchemy": "spanwise.instrumentors.sqlalchemy:SQLAlchemyInstrumentor",
    "urllib": "spanwise.instrumentors.urllib:URLLibInstrumentor",
    "urllib3": "spanwise.instrumentors.urllib3:URLLib3Instrumentor",
}

# Those that write the stable conventions' names and no others, with their part of the conventions. Where
# OTEL_SEMCONV_STABILITY_OPT_IN asks for the old names, or for both, contrib's is used.
STABLE_ONLY: dict[str, str] = {
    "flask": "http",
    "httpx": "http",
    "pymemcache": "database",
    "requests": "http",
    "urllib": "http",
    "urllib3": "http",
}

# Those of ours that attach without the rest of telemetry: it starts when they first have something to tell.
LIGHT: frozenset[str] = frozenset({"flask", "functools"})

# Entry-point name -> the module at whose import the instrumentor is loaded and attached. What the
# application never imports costs it nothing. One that is not here is attached at start-up. So are, on
# purpose: django (attaching reads the settings module, which may be the one that imports django),
# asyncio, functools, logging, system_metrics and threading (they watch the interpreter, there in any case).
TRIGGERS: dict[str, str] = {
    "aio-pika": "aio_pika",
    "aiohttp-client": "aiohttp",
    "aiohttp-server": "aiohttp",
    "aiokafka": "aiokafka",
    "aiopg": "aiopg",
    "anthropic": "anthropic",
    "asyncclick": "asyncclick",
    "asyncpg": "asyncpg",
    "boto": "boto",
    "boto3": "boto3",
    "botocore": "botocore",
    "cachetools": "cachetools",
    "cassandra": "cassandra",
    "celery": "celery",
    "circuitbreaker": "circuitbreaker",
    "click": "click",
    "confluent_kafka": "confluent_kafka",
    "diskcache": "diskcache",
    "elasticsearch": "elasticsearch",
    "falcon": "falcon",
    "fastapi": "fastapi",
    "flask": "flask",
    "flask_caching": "flask_caching",
    "google-genai": "google.genai",
    "grpc_aio_client": "grpc",
    "grpc_aio_server": "grpc",
    "grpc_client": "grpc",
    "grpc_server": "grpc",
    "httpx": "httpx",
    "httpx2": "httpx2",
    "jinja2": "jinja2",
    "kafka": "kafka",
    "mysql": "mysql.connector",
    "mysqlclient": "MySQLdb",
    "openai": "openai",
    "pika": "pika",
    "pluggy": "pluggy",
    "psycopg": "psycopg",
    "psycopg2": "psycopg2",
    "pybreaker": "pybreaker",
    "pymemcache": "pymemcache",
    "pymongo": "pymongo",
    "pymssql": "pymssql",
    "pymysql": "pymysql",
    "pyramid": "pyramid",
    "redis": "redis",
    "remoulade": "remoulade",
    "requests": "requests",
    "sqlalchemy": "sqlalchemy",
    "sqlite3": "sqlite3",
    "starlette": "starlette",
    "tornado": "tornado",
    "tortoiseorm": "tortoise",
    "urllib": "urllib.request",
    "urllib3": "urllib3",
}

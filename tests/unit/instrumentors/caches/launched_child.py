"""Run by test_launched in a process of its own: spanwise.configure() first, then an application with caches.

What it exports goes to standard output as JSON.
"""

from __future__ import annotations

import functools
import sys
import tempfile

import spanwise

spanwise.configure(
    metrics_exporter="console",
    traces_exporter="console",
    logs_exporter="none",
    enabled_instrumentations="cachetools,diskcache,flask_caching,functools,pymemcache",
)
assert not {"cachetools", "diskcache", "flask_caching", "pymemcache"} & set(sys.modules)

import cachetools  # noqa: E402
import diskcache  # noqa: E402
import flask  # noqa: E402
import flask_caching  # noqa: E402

tracks = cachetools.TTLCache(8, 60)
app = flask.Flask("shop")
pages = flask_caching.Cache(app, config={"CACHE_TYPE": "SimpleCache"})
files = diskcache.Cache(tempfile.mkdtemp())


@functools.lru_cache
def square(number: int) -> int:
    """Is worth remembering."""
    return number * number


tracks[1] = "one"
files[1] = "one"
with app.app_context():
    pages.set("1", "one")
    assert (tracks[1], files[1], pages.get("1"), square(2), square(2)) == ("one", "one", "one", 4, 4)

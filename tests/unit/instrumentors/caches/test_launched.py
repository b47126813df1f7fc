"""Caches in a process that was only told to spanwise.configure()."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from spanwise import names

CACHES = {
    ("__main__.tracks", "cachetools"): {("set", "stored"), ("get", "hit")},
    ("__main__.files", "diskcache"): {("set", "stored"), ("get", "hit")},
    ("SimpleCache", "flask_caching"): {("set", "stored"), ("get", "hit")},
    ("__main__.square", "functools"): {("get", "hit"), ("get", "miss")},
}


def exported(text: str) -> list[Any]:
    """The JSON documents, one after the other."""
    found, decoder = [], json.JSONDecoder()
    while text := text.lstrip():
        document, end = decoder.raw_decode(text)
        found.append(document)
        text = text[end:]
    return found


@pytest.mark.parametrize("spans", [False, True])
def test_every_cache_is_told_of(spans: bool, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "SPANWISE_CACHE_SPANS": str(int(spans))}
    child = Path(__file__).with_name("launched_child.py")
    done = subprocess.run(
        [sys.executable, child], capture_output=True, text=True, timeout=60, env=environment
    )
    assert (done.returncode, done.stderr) == (0, "")
    documents = exported(done.stdout)
    metrics = [document for document in documents if "resource_metrics" in document]
    operations: dict[Any, set[Any]] = {}
    for scope in metrics[-1]["resource_metrics"][0]["scope_metrics"]:
        for metric in scope["metrics"]:
            if metric["name"] == names.CACHE_OPERATIONS.name:
                for point in metric["data"]["data_points"]:
                    labels = point["attributes"]
                    key = (labels[names.CACHE_NAME], labels[names.CACHE_SYSTEM])
                    outcome = (labels[names.CACHE_OPERATION_NAME], labels[names.CACHE_OUTCOME])
                    operations.setdefault(key, set()).add(outcome)
    # Libraries remember too: their functions are told of as well.
    assert {key: operations.get(key) for key in CACHES} == CACHES
    traced = {document["name"] for document in documents if "resource_metrics" not in document}
    expected = {
        f"{operation} {name}"
        for name, system in CACHES
        if system != "functools"
        for operation in ("get", "set")
    }
    assert traced == (expected if spans else set())

"""elastic-apm: a root span is a transaction, attributes are labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import elasticapm

_client: Any = None


def start() -> None:
    """Makes the client; settings come from ELASTIC_APM_ variables. It instruments what it finds."""
    global _client
    _client = elasticapm.Client()
    elasticapm.instrument()


def instrument(app: Any, engine: Any) -> None:  # noqa: ARG001 - drivers are called alike
    """Puts it into the Flask application."""
    from elasticapm.contrib.flask import ElasticAPM

    ElasticAPM(app, client=_client)


def emit(name: str, trees: Sequence[Sequence[Sequence[tuple[str, Any]]]]) -> None:
    """Makes each tree: a transaction with its labels, and its spans."""
    span = elasticapm.capture_span
    for root, *children in trees:
        _client.begin_transaction("bench")
        if root:
            elasticapm.label(**dict(root))
        for attributes in children:
            with span(name, span_type="bench") as child:
                if attributes:
                    child.label(**dict(attributes))
        _client.end_transaction(name, "success")


def flush() -> None:
    """Sends all that waits. The client has no public way but closing, so this asks its transport."""
    _client._transport.flush()

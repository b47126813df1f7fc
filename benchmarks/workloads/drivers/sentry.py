"""sentry-sdk: a root span is a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sentry_sdk


def start() -> None:
    """Initialises it; its DSN comes from SENTRY_DSN. It instruments what it finds."""
    # The default queue holds 100 envelopes, and a transaction is one: it would drop most of a burst.
    sentry_sdk.init(traces_sample_rate=1.0, transport_queue_size=10_000)


def instrument(app: Any, engine: Any) -> None:
    """Done at the start."""


def emit(name: str, trees: Sequence[Sequence[Sequence[tuple[str, Any]]]]) -> None:
    """Makes each tree: a transaction with its data, and its spans."""
    begin = sentry_sdk.start_span
    for root, *children in trees:
        with sentry_sdk.start_transaction(name=name, op="bench") as span:
            for key, value in root:
                span.set_data(key, value)
            for attributes in children:
                with begin(name=name, op="bench") as child:
                    for key, value in attributes:
                        child.set_data(key, value)


def flush() -> None:
    """Sends all that waits."""
    sentry_sdk.flush(30)

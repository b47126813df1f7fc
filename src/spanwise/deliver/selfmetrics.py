"""The delivery's own metrics: recorded, delivered, dropped by reason, retried, bytes.

Names and attributes where the conventions have them:
https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from opentelemetry.metrics import CallbackOptions, Meter, Observation

from spanwise import names
from spanwise.deliver.account import Account
from spanwise.deliver.channel import Channel
from spanwise.encode.cut import cut_so_far
from spanwise.instruments import make

__all__ = ["observe"]

_PROCESSED = {"traces": names.SDK_SPANS_PROCESSED, "logs": names.SDK_LOGS_PROCESSED}
_EXPORTED = {"traces": names.SDK_SPANS_EXPORTED, "logs": names.SDK_LOGS_EXPORTED}
# Lost before it was given to the exporter; every other reason is an export that failed.
_BEFORE_EXPORT = ("queue_full", "encoding")

_Callback = Callable[[CallbackOptions], Iterable[Observation]]


def observe(meter: Meter, channels: Sequence[Channel]) -> None:
    """Makes the observable instruments of the channels' accounts.

    ``processed`` counts what the queue let through (or dropped, with ``error.type``); ``exported``
    counts what the exporter is done with. So the spans recorded are the sum of ``processed``, and
    those that arrived are ``exported`` without ``error.type``.
    """
    for channel in channels:
        account = channel.account
        if account.signal in _PROCESSED:
            for metric, callback in (
                (_PROCESSED[account.signal], _processed(channel)),
                (_EXPORTED[account.signal], _exported(account)),
            ):
                make(meter, metric, callback)
    accounts = [channel.account for channel in channels]
    for metric, read in (
        (names.DELIVERY_RETRIES, lambda account: account.retried),
        (names.DELIVERY_BYTES, lambda account: account.sent_bytes),
        (names.DELIVERY_ADOPTED, lambda account: account.adopted),
    ):
        make(meter, metric, _each(accounts, read))
    make(meter, names.DELIVERY_TRUNCATED, lambda _: [Observation(cut_so_far())])


def _attributes(signal: str, component: str, reason: str | None = None) -> dict[str, str]:
    attributes = {names.OTEL_COMPONENT_TYPE: component, names.OTEL_COMPONENT_NAME: f"spanwise/{signal}"}
    if reason:
        attributes[names.ERROR_TYPE] = reason
    return attributes


def _processed(channel: Channel) -> _Callback:
    account = channel.account
    component = "batching_span_processor" if account.signal == "traces" else "batching_log_processor"

    def callback(_: CallbackOptions) -> Iterable[Observation]:
        drops = account.drops()
        early = {reason: drops.pop(reason) for reason in _BEFORE_EXPORT if reason in drops}
        # What waits has been neither let through nor dropped yet.
        yield Observation(account.delivered + sum(drops.values()), _attributes(account.signal, component))
        for reason, count in early.items():
            yield Observation(count, _attributes(account.signal, component, reason))

    return callback


def _exported(account: Account) -> _Callback:
    component = f"otlp_{account.protocol}_{'span' if account.signal == 'traces' else 'log'}_exporter"

    def callback(_: CallbackOptions) -> Iterable[Observation]:
        yield Observation(account.delivered, _attributes(account.signal, component))
        for reason, count in account.drops().items():
            if reason not in _BEFORE_EXPORT:
                yield Observation(count, _attributes(account.signal, component, reason))

    return callback


def _each(accounts: Sequence[Account], read: Callable[[Account], int]) -> _Callback:
    def callback(_: CallbackOptions) -> Iterable[Observation]:
        return [
            Observation(read(account), {names.OTEL_COMPONENT_NAME: f"spanwise/{account.signal}"})
            for account in accounts
        ]

    return callback

"""The SDK's end of the logs' channel. Apart, since a process without logs need not import the SDK's."""

from __future__ import annotations

from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

from spanwise.deliver.channel import Channel
from spanwise.deliver.signals import Flush, seconds
from spanwise.forks import mark, noticed

__all__ = ["LogDelivery"]


class LogDelivery(LogRecordProcessor):
    """Hands log records to their channel. Arguments as for :class:`SpanDelivery`."""

    def __init__(self, channel: Channel, flush: Flush) -> None:
        self._offer = channel.offer
        self._flush = flush
        self._open = True

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Takes a record."""
        if not mark[0]:
            noticed()
        if self._open:
            self._offer(log_record)

    def shutdown(self) -> None:
        """Sends what waits; later records are not taken."""
        self._flush(2.0)
        self._open = False

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Sends what waits; tells whether nothing is left."""
        return self._flush(seconds(timeout_millis))

"""Builds the delivery of a process from its settings."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from spanwise.context import suppressed
from spanwise.deliver.account import Account
from spanwise.deliver.answer import Sender
from spanwise.deliver.channel import Channel
from spanwise.deliver.destinations import Destination, destination, spool_label
from spanwise.deliver.otlp_http import Client
from spanwise.deliver.reports import Outages, server_of
from spanwise.deliver.segment_file import spool_folder
from spanwise.deliver.signals import MetricDelivery, MetricSampling, SpanDelivery
from spanwise.deliver.source import Queue, Source
from spanwise.deliver.span_segment import SpanSegment
from spanwise.deliver.workers import Workers
from spanwise.encode.logs import encode_logs
from spanwise.encode.metrics import encode_metrics
from spanwise.encode.request import OnUnencodable
from spanwise.errors import ConfigurationError
from spanwise.forks import mark, noticed
from spanwise.settings import Settings

if TYPE_CHECKING:
    from spanwise.deliver.log_signal import LogDelivery

__all__ = ["Companion", "Pipeline"]

# Collections that wait for a destination that is down. Cumulative ones lose nothing when dropped;
# at the default interval this is an hour of delta ones.
METRIC_COLLECTIONS = 64


class Companion(Protocol):
    """What lives as long as the delivery."""

    def begin(self) -> None:
        """The process has started."""

    def after_fork(self) -> None:
        """This is a forked child."""

    def end(self) -> None:
        """The last collection of metrics comes next."""


class Pipeline:
    """The delivery of the signals that go out over OTLP.

    Args:
        settings: the process's settings.
        signals: those of ``traces``, ``logs`` and ``metrics`` that go this way.

    Attributes:
        unusable: the signals whose endpoint or certificate files cannot be used, with what is wrong: it
            costs only those.
    """

    def __init__(self, settings: Settings, signals: Sequence[str]) -> None:
        self._exit_timeout = settings.exit_timeout / 1000
        # In this order they are emptied at exit: the metrics, last, tell what became of the others.
        order = [signal for signal in ("traces", "logs", "metrics") if signal in signals]
        self._outages: dict[str, Outages] = {}  # by server
        self.channels: dict[str, Channel] = {}
        self.unusable: dict[str, str] = {}
        for signal in order:
            try:
                self.channels[signal] = self._channel(settings, signal)
            except ConfigurationError as error:
                self.unusable[signal] = str(error)
            except Exception as error:  # a fault of ours, or what nobody has thought of: the others go on
                self.unusable[signal] = f"{type(error).__name__}: {error}"
        self.span_processor = (
            SpanDelivery(self.channels["traces"], self._flush("traces"))
            if "traces" in self.channels
            else None
        )
        self.log_processor: LogDelivery | None = None
        if "logs" in self.channels:
            from spanwise.deliver.log_signal import LogDelivery

            self.log_processor = LogDelivery(self.channels["logs"], self._flush("logs"))
        self.metric_reader: MetricDelivery | None = None
        if "metrics" in self.channels:
            self.metric_reader = MetricDelivery(
                self.channels["metrics"],
                self._flush("metrics"),
                self._active,
                temporality=settings.metric_temporality,
                exponential=settings.metric_histogram == "base2_exponential_bucket_histogram",
            )
        self._workers = Workers(
            tuple(self.channels.values()),
            self.metric_reader.gather if self.metric_reader is not None else None,
            settings.metric_interval / 1000,
        )
        self.companions: list[Companion] = []

    def sampling(self) -> MetricSampling:
        """A reader whose metrics can be looked at at any time.

        The delivery's own where it can be: that costs a measurement nothing, and another one a sixth more.
        """
        own = self.metric_reader
        return own if own is not None and own.cumulative else MetricSampling()

    def start(self) -> None:
        """Starts the delivery threads and the companions."""
        self._workers.start()
        for companion in self.companions:
            companion.begin()

    def after_fork(self) -> None:
        """In a forked child: an empty delivery with threads of its own."""
        self._stand_by(False)
        for channel in self.channels.values():
            channel.reset()
        self._workers.reset()
        self._workers.start()
        for companion in self.companions:
            companion.after_fork()

    def deliver(self) -> bool:
        """Sends the spans and log records that wait, on the calling thread: where no other delivers.

        Returns:
            Whether nothing is left.
        """
        deadline = time.monotonic() + self._exit_timeout
        items = [channel for signal, channel in self.channels.items() if signal != "metrics"]
        with suppressed():
            left = [channel for channel in items if not channel.drain(deadline)]
        return not left

    def flush(self, timeout: float) -> bool:
        """Sends all that waits within ``timeout`` seconds; tells whether nothing is left."""
        return self._flush_worker(timeout)

    def _flush(self, signal: str) -> Callable[[float], bool]:
        # Of its own signal only: a flush of spans that also collected the metrics would cost as much as
        # recording a hundred spans.
        return lambda timeout: self._flush_worker(timeout, self.channels[signal])

    def _flush_worker(self, timeout: float, channel: Channel | None = None) -> bool:
        if not mark[0]:
            noticed()
        return self._workers.flush(timeout, channel)

    def shutdown(self) -> None:
        """Delivers what the exit time-out allows, counts the rest as dropped, and ends."""
        for companion in self.companions:
            companion.end()
        self._workers.shutdown(self._exit_timeout)

    def stand_by(self) -> None:
        """Forgets what was recorded so far: the process only supervises another that records it again."""
        self._stand_by(True)
        for channel in self.channels.values():
            channel.forget()

    def _stand_by(self, on: bool) -> None:
        if self.metric_reader is not None:
            self.metric_reader.standing_by = on

    def _active(self) -> bool:
        # Spans alone: a supervisor logs too ("Restarting with stat"), and is no instance for that.
        channel = self.channels.get("traces")
        return channel is not None and bool(channel.waiting or channel.account.finished)

    def _channel(self, settings: Settings, signal: str) -> Channel:
        to = destination(settings.exporter(signal), signal)
        source, delay = _source(settings, signal, to)
        sender: Sender
        if settings.exporter(signal).protocol == "grpc":
            from spanwise.deliver.otlp_grpc import GrpcClient

            sender = GrpcClient(to, signal)
        else:
            sender = Client(to)
        outages = self._outages.setdefault(server_of(to.url), Outages())
        return Channel(source, sender, address=to.url, delay=delay / 1000, outages=outages)


def _source(settings: Settings, signal: str, to: Destination) -> tuple[Source, int]:
    """Where a signal's items wait, and for how many milliseconds at most."""
    account = Account(signal, "grpc" if settings.exporter(signal).protocol == "grpc" else "http")
    if signal == "traces":
        spans = SpanSegment(
            account,
            capacity=settings.span_queue,
            batch=settings.span_batch,
            folder=spool_folder(settings.spool),
            label=spool_label(to, signal),
        )
        return spans, settings.span_delay
    if signal == "logs":
        logs = Queue(account, encode_logs, capacity=settings.log_queue, batch=settings.log_batch)
        return logs, settings.log_delay
    return Queue(account, _encode_metrics, capacity=METRIC_COLLECTIONS, batch=1), 0


def _encode_metrics(collections: Sequence[Any], _: OnUnencodable) -> bytes:
    return encode_metrics(collections[0])  # one collection is one request

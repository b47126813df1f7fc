"""Streams: begun, under way, completed, failed; waiting for data, bandwidth, bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.instruments import make
from spanwise.meters.weakly import WeakTable

__all__ = ["COMPLETED", "ERROR", "LEFT", "StreamMeter"]

COMPLETED: Final = "completed"
ERROR: Final = "error"
LEFT: Final = "left"  # whoever received it went away before its end


class StreamMeter:
    """The instruments of streams.

    Args:
        meter: makes them.

    Attributes:
        duration: for whoever times the stream.
    """

    def __init__(self, meter: Meter) -> None:
        self.duration = make(meter, names.STREAM_DURATION)
        self._started = make(meter, names.STREAM_STARTED)
        self._completed = make(meter, names.STREAM_COMPLETED)
        self._errors = make(meter, names.STREAM_ERRORS)
        self._waited = make(meter, names.STREAM_BUFFER_TIME)
        self._ratio = make(meter, names.STREAM_BUFFER_RATIO)
        self._bandwidth = make(meter, names.STREAM_BANDWIDTH)
        self._bytes = make(meter, names.STREAM_BYTES)
        # Weakly: a stream that nobody reads to its end is not under way for ever.
        self._under_way: WeakTable[bool] = WeakTable()
        self._used = False
        make(meter, names.STREAM_ACTIVE, self._active)

    def begin(self, stream: object, attributes: Mapping[str, AttributeValue]) -> None:
        """Counts a stream as begun and under way.

        Args:
            stream: stands for it; its death ends it.
            attributes: of its metrics.
        """
        self._used = True
        self._under_way.set(stream, True)
        self._started.add(1, attributes)
        # Prometheus sees no growth in a series that begins with its first error.
        self._errors.add(0, attributes)
        self._completed.add(0, attributes)

    def end(
        self,
        stream: object,
        outcome: str,
        seconds: float,
        waited: float,
        size: int,
        attributes: Mapping[str, AttributeValue],
    ) -> None:
        """Records a stream that ended.

        Args:
            stream: what :meth:`begin` was given.
            outcome: ``completed``, ``error`` or ``left``.
            seconds: how long it took.
            waited: how long of that it waited for data.
            size: bytes that were sent.
            attributes: of its metrics.
        """
        self._under_way.remove(stream)
        if outcome == COMPLETED:
            self._completed.add(1, attributes)
        elif outcome == ERROR:
            self._errors.add(1, attributes)
        self._waited.record(waited, attributes)
        if size:
            self._bytes.add(size, attributes)
        if seconds > 0:
            self._ratio.record(min(waited / seconds, 1.0), attributes)
            self._bandwidth.record(size / seconds, attributes)

    def _active(self, _: CallbackOptions) -> Iterator[Observation]:
        if self._used:
            yield Observation(len(self._under_way.values()))

"""Streams: media, or anything else that is sent piece by piece while somebody waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from time import perf_counter
from typing import Any, Final

from opentelemetry.trace import SpanKind
from opentelemetry.util.types import AttributeValue

from spanwise import names
from spanwise.instrumentors._call import NO_CALL
from spanwise.manual.items import Identified, IdOf, is_cancelled, size_of
from spanwise.manual.parts import parts
from spanwise.manual.told import guarded, is_amount, shown, tell, text
from spanwise.meters.streaming import COMPLETED, ERROR, LEFT

__all__ = ["Stream"]

_NAME: Final = "stream"


class Stream(Identified):
    """See :func:`spanwise.stream`, which makes them.

    Its span is the current one only within a decorated function: a ``with`` is mostly found inside a
    generator, and what that makes current it would make current for whoever asks for the next piece.
    """

    what = "stream"
    current = False

    def __init__(
        self,
        id: object,  # noqa: A002
        id_from: IdOf | None,
        quality: str | None,
        format: str | None,  # noqa: A002
    ) -> None:
        super().__init__(id, id_from)
        self._labels: dict[str, AttributeValue] = {}
        if quality is not None:
            self._labels[names.STREAM_QUALITY] = text(quality)
        if format is not None:
            self._labels[names.STREAM_FORMAT] = text(format)

    def _reset(self) -> None:
        super()._reset()
        self._size = 0
        self._waited = 0.0

    def _take(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self.current = True
        super()._take(function, args, kwargs)

    def sent(self, size: int) -> None:
        """Adds bytes that were sent. The pieces of a decorated generator are counted by themselves.

        Args:
            size: how many more, not negative.
        """
        if not (is_amount(size) and isinstance(size, int)):
            tell(f"a stream's size is a number of bytes, not {shown(size)}; it is not counted")
            return
        self._size += size

    def buffered(self, seconds: float) -> None:
        """Adds time for which the stream waited for data.

        Args:
            seconds: how much more, not negative.
        """
        guarded("add a stream's waiting", self._wait, seconds)

    def _wait(self, seconds: float) -> None:
        if not is_amount(seconds):
            raise ValueError(f"it is {shown(seconds)}: give seconds from 0 on")
        self._waited += seconds

    @contextmanager
    def buffering(self) -> Iterator[None]:
        """What happens within is waiting for data."""
        began = perf_counter()
        try:
            yield
        finally:
            self._waited += perf_counter() - began

    def close(self) -> None:
        """Ends it where it is under way still: the receiver went away. Neither completed nor failed."""
        self._leave()

    def _begin(self) -> None:
        attributes = {names.OPERATION_KIND: _NAME, names.STREAM_ID: self._id, **self._labels}
        self._call = parts().stream_calls.start(
            _NAME, attributes, kind=SpanKind.INTERNAL, metric_attributes=self._labels
        )
        if self._call is not NO_CALL:
            parts().streams.begin(self, self._labels)

    def _item(self, item: object) -> None:
        self._size += size_of(item)

    def _result(self, result: object) -> None:
        if not self._size:
            self._size = size_of(result)

    def _finish(self, error: BaseException | None, failed: bool, message: str) -> None:
        self._over(ERROR if failed else COMPLETED, error, message)

    def _leaves(self, error: BaseException) -> bool:
        # A server cancels the task that sends, when the receiver goes away.
        return super()._leaves(error) or is_cancelled(error)

    def _abandon(self) -> None:
        self._over(LEFT, None, "")

    def _over(self, outcome: str, error: BaseException | None, message: str) -> None:
        call = self._call
        if call is NO_CALL:
            return
        call.span.set_attributes(
            {
                names.STREAM_OUTCOME: outcome,
                names.STREAM_BYTES.name: self._size,
                names.STREAM_BUFFER_TIME.name: self._waited,
            }
        )
        seconds = call.fail(error, message=message or None) if outcome == ERROR else call.end()
        parts().streams.end(self, outcome, seconds, self._waited, self._size, self._labels)
